import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { DocumentError } from "@tenet/data";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../packages/align/test/pipeline/fixture.ts";
import { type Ran, reading, run, runWhole } from "../packages/align/test/pipeline/run.ts";
import { type FakeJob, rayServer } from "../packages/engine/test/ray-server.ts";
import { engineServer } from "../packages/train/test/engine-server.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 600_000, hookTimeout: 600_000 });

/*
 * A recipe with `engine:`, from its file to its scorecard, on a cluster whose Jobs API is a stand-in and whose job is the engine's verbs carried out by
 * the local model's own graph. What a real Ray does with the real program is in `npm run test:engine`.
 */

let folder: string;
let recipe: string;
let model: LocalModel;
let here: Ran;
let there: Ran;
let port: number;
let ray: Awaited<ReturnType<typeof rayServer>>;
let job: Awaited<ReturnType<typeof engineServer>> | undefined;
/** What the next job does to itself. */
let become: (job: Awaited<ReturnType<typeof engineServer>>) => void = () => undefined;
const home = process.env.TENET_HOME;
const environment = { RAY_AUTH_TOKEN: "the cluster's token" };

const store = (name: string) => join(folder, name);
const stop = () => {
  job?.close();
  job = undefined;
};

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-engine-run-"));
  process.env.TENET_HOME = folder;
  const local = await writeRecipe(join(folder, "recipe"), { recipe: reinforcedRecipe });
  const cacheDir = join(dirname(local), "cache");
  model = await openLocalModel(join(dirname(local), "model"), { device: "cpu", threads: 1, cacheDir });
  port = await freePort();
  ray = await rayServer({
    token: environment.RAY_AUTH_TOKEN,
    onSubmit: (submitted) => {
      void start(submitted);
    },
  });
  recipe = join(dirname(local), "on-engine.yaml");
  await writeFile(recipe, `${reinforcedRecipe}engine: { ray: "${ray.address}", gpus: 0, port: ${port} }\n`);
  here = await runWhole(local, store("here"));
  there = await runWhole(recipe, store("there"), { environment });
});
afterAll(async () => {
  stop();
  ray.close();
  await model.close();
  if (home === undefined) delete process.env.TENET_HOME;
  else process.env.TENET_HOME = home;
  await rm(folder, { recursive: true });
});

async function start(submitted: FakeJob): Promise<void> {
  stop();
  const { env_vars: given } = (submitted.request as { runtime_env: { env_vars: Record<string, string> } }).runtime_env;
  job = await engineServer(model, given.TENET_TOKEN!, { port: JSON.parse(given.TENET_SPEC!).port });
  become(job);
  submitted.status = "RUNNING";
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, "close");
  return port;
}

const messages = ({ events }: Ran) =>
  events.flatMap((event) => (event.type === "message" ? [event.message] : [])).join("\n");
const values = (name: string, { id }: Ran, stage: string, metric: string) =>
  reading(store(name), (reader) => reader.metrics(id, { stage, name: metric }).map(({ value }) => value));
const rows = (name: string, { id }: Ran, stage: string) =>
  reading(store(name), (reader) => [...reader.rows(reader.stage(id, stage)!.identity)]);
const artifact = (name: string, { id }: Ran, stage: string) =>
  reading(store(name), (reader) => reader.stage(id, stage)!.artifacts[0]);

describe("a recipe that names an engine", () => {
  it("comes to the same as without one, to rounding", () => {
    const stages = (name: string, { id }: Ran) =>
      reading(store(name), (reader) => reader.stages(id).map(({ name, status }) => [name, status]));
    expect(stages("there", there)).toEqual(stages("here", here));
    expect(there.id).not.toBe(here.id);
    for (const [stage, metric] of [
      ["supervised", "loss"],
      ["preference model", "loss"],
      ["policy", "objective/scores"],
      ["policy", "objective/kl"],
    ] as const) {
      const [mine, theirs] = [values("here", here, stage, metric), values("there", there, stage, metric)];
      expect(mine.length, stage).toBeGreaterThan(1);
      expect(theirs, `${stage} ${metric}`).toHaveLength(mine.length);
      for (const [i, value] of mine.entries())
        expect(Math.abs(theirs[i]! - value) / Math.max(1e-2, Math.abs(value)), `${stage} ${metric} ${i}`).toBeLessThan(
          1e-3,
        );
    }
    // Rollouts and replies speak from the same weights.
    const replies = (name: string, ran: Ran, stage: string) =>
      rows(name, ran, stage).map((row) => (row as unknown as { response: string }).response);
    for (const stage of ["responses", "answers of base", "answers of rl"])
      expect(replies("there", there, stage), stage).toEqual(replies("here", here, stage));
  });

  it("scores there too: perplexity, divergence, the preference reward", () => {
    const asked = job!.asked.length;
    expect(asked).toBeGreaterThan(50);
    const surprise = (name: string, ran: Ran, stage: string) =>
      rows(name, ran, stage).map((row) => (row as unknown as { nll: number }).nll);
    for (const stage of ["texts under base", "texts under rl"]) {
      const [mine, theirs] = [surprise("here", here, stage), surprise("there", there, stage)];
      expect(theirs.length).toBe(mine.length);
      for (const [i, value] of mine.entries()) expect(theirs[i]).toBeCloseTo(value, 2);
    }
  });

  it("says what it does, ends its job, and keeps the token to itself", async () => {
    expect(messages(there)).toMatch(/is ready: 1 worker on 1 node, cpu/);
    expect(messages(there)).toMatch(/engine of 1: \d+ calls, \d+ updates, \d+ s, [\d.]+ MB there/);
    const [[id, { status, request }]] = [...ray.jobs] as [[string, FakeJob]];
    expect([status, id.startsWith(`tenet-${there.id}-`)]).toEqual(["STOPPED", true]);
    const token = (request as { runtime_env: { env_vars: { TENET_TOKEN: string } } }).runtime_env.env_vars.TENET_TOKEN;
    const events = reading(store("there"), (reader) => JSON.stringify(reader.run(there.id)));
    expect(events).not.toContain(token);
    expect(JSON.stringify(there.events)).not.toContain(token);
    expect(events).not.toContain(ray.address);
  });

  it("goes on where the workers were lost, in trainings and in scores, to the same bytes", async () => {
    // The group is lost in each of the first trainings, and again and again later on.
    become = (own) => {
      for (const call of [7, 40, 90, 170]) own.failures.set(call, 409);
    };
    const lost = await runWhole(recipe, store("lost"), { environment });
    become = () => undefined;
    expect(messages(lost)).toMatch(/on from the last checkpoint/);
    for (const stage of ["supervised", "preference model", "policy"])
      expect(artifact("lost", lost, stage), stage).toBe(artifact("there", there, stage));
  });

  it("fails in words where the job ended, or another token is wanted", async () => {
    become = (own) => {
      setTimeout(() => {
        const [running] = [...ray.jobs.values()].filter(({ status }) => status === "RUNNING");
        Object.assign(running!, { status: "FAILED", message: "the driver was killed", logs: "its last words\n" });
        own.close();
      }, 10);
    };
    const ended = await run(recipe, store("ended"), { environment });
    become = () => undefined;
    expect(String(ended.error)).toMatch(/has ended: the driver was killed[\s\S]*its last words/);
    const moved = join(dirname(recipe), "moved.yaml");
    const text = await readFile(recipe, "utf8");
    await writeFile(moved, text.replace("gpus: 0", "gpus: 0, workers: 3, model: /elsewhere"));
    const other = await run(moved, store("moved"), { environment: { RAY_AUTH_TOKEN: "another" } });
    expect(String(other.error)).toMatch(/does not take this token: set RAY_AUTH_TOKEN/);
  });

  it("holds no cluster while it waits, was refused or failed, and keeps it where it was interrupted", async () => {
    const stopping = join(dirname(recipe), "stopping.yaml");
    const text = await readFile(recipe, "utf8");
    const asked = / {2}label: .*\n {2}audit: .*\n/;
    for (const [name, from, to, error] of [
      ["refused", /gate: .*/, "gate: { chance: 1 }", /GateError/],
      ["waiting", asked, "  label: { method: people }\n  people: { pairs: 6 }\n", /WaitError/],
    ] as const) {
      expect(text).toMatch(from);
      await writeFile(stopping, text.replace(from, to));
      ray.jobs.clear();
      const ran = await run(stopping, store(name), { environment });
      expect(String((ran.error as Error).name), String(ran.error)).toMatch(error);
      expect(
        [...ray.jobs.values()].map(({ status }) => status),
        name,
      ).toEqual(["STOPPED"]);
    }
    ray.jobs.clear();
    const control = new AbortController();
    const { error } = await run(recipe, store("interrupted"), {
      ...{ environment, signal: control.signal },
      onEvent: (event) => {
        if (event.type === "metrics" && event.stage === "supervised") control.abort(new Error("enough"));
      },
    });
    expect(String(error)).toMatch(/enough/);
    expect([...ray.jobs.values()].map(({ status }) => status)).toEqual(["RUNNING"]);
  });

  it("is refused where no engine can do what it asks", async () => {
    const { openRecipe } = await import("@tenet/align");
    const text = await readFile(recipe, "utf8");
    const wrong = join(dirname(recipe), "wrong.yaml");
    for (const [from, to, words] of [
      ["supervised:\n", "supervised:\n  weights: all\n", /an engine trains adapters beside frozen weights/],
      ["gpus: 0", "gpus: 0, shard: true", /workers of at least 2 beside it/],
      ["gpus: 0", "gpus: 0, dtype: bfloat16", /generation beside it/],
      ["gpus: 0", "gpu: 0", /gpus/],
      ["model: ./model", "model: ./model.gguf", /a Hugging Face folder of safetensors/],
    ] as const) {
      await writeFile(wrong, text.replace(from, to));
      const opened = openRecipe(wrong);
      await expect(opened).rejects.toThrow(DocumentError);
      await expect(opened).rejects.toThrow(words);
    }
  });
});
