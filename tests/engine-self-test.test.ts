import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LocalModel, openLocalModel, writeTinyModel } from "@tenet/lm";
import { run } from "tenet";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { surroundings } from "../packages/cli/test/project.ts";
import { type FakeJob, rayServer } from "../packages/engine/test/ray-server.ts";
import { engineServer } from "../packages/train/test/engine-server.ts";

vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

/* `tenet engine check --self-test` against a cluster whose job is the verbs carried out by a local model's graph: the right one, or another. */

const token = "the cluster's token";
let folder: string;
let models: Record<"same" | "other", LocalModel>;
let ray: Awaited<ReturnType<typeof rayServer>>;
let engine: Awaited<ReturnType<typeof engineServer>> | undefined;
let holds: "same" | "other" | "nothing" = "same";
const home = process.env.TENET_HOME;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-engine-self-test-"));
  process.env.TENET_HOME = folder;
  const open = async (name: string, seed: number) =>
    openLocalModel(await writeTinyModel(join(folder, name), { seed }), { device: "cpu", threads: 1, cacheDir: folder });
  models = { same: await open("same", 1), other: await open("other", 2) };
  ray = await rayServer({
    token,
    onSubmit: async (job: FakeJob) => {
      const { env_vars: given } = (job.request as { runtime_env: { env_vars: Record<string, string> } }).runtime_env;
      const { port, model } = JSON.parse(given.TENET_SPEC!);
      expect(model).toBe("self-test-model");
      if (holds === "nothing") return;
      engine = await engineServer(models[holds], given.TENET_TOKEN!, { port });
      job.status = "RUNNING";
    },
  });
});
afterEach(() => {
  holds = "same";
  engine?.close();
  engine = undefined;
  ray.jobs.clear();
});
afterAll(async () => {
  ray.close();
  for (const model of Object.values(models)) await model.close();
  if (home === undefined) delete process.env.TENET_HOME;
  else process.env.TENET_HOME = home;
  await rm(folder, { recursive: true });
});

async function check(...args: string[]) {
  const { io, written, interrupt } = surroundings({ env: { RAY_AUTH_TOKEN: token } });
  const port = String(20_000 + Math.floor(Math.random() * 20_000));
  const running = run(
    ["engine", "check", "--ray", ray.address, ...(args.length > 0 ? ["--port", port] : []), ...args],
    io,
  );
  return { ended: running.then((code) => ({ code, ...written })), interrupt };
}
const stopped = () => [...ray.jobs.values()].map(({ status }) => status);

describe("an engine's self-test", () => {
  it("sends the model along, compares trainings, and stops its job", async () => {
    const { ended } = await check("--self-test", "--gpus", "0", "--trainings", "sft,judge");
    const { code, stdout, stderr } = await ended;
    expect(stderr).toMatch(/sft: equal\njudge: equal/);
    expect(stdout).toMatch(/Ray 2\.60\.0 \(as tested\)/);
    expect(stdout).toMatch(/\nsft +6 +\d\.\de-\d\d? .* equal\njudge +3 .* equal\n\nAll 2 trainings come to the same/);
    expect(code).toBe(0);
    expect(stopped()).toEqual(["STOPPED"]);
    const [program] = [...ray.packages.values()];
    expect(program!.toString("latin1")).toContain("self-test-model/model.safetensors");
  });

  it("says which trainings differ, and ends with 1", async () => {
    holds = "other";
    const { ended } = await check("--self-test", "--gpus", "0", "--trainings", "dpo", "--json");
    const { code, stdout } = await ended;
    const report = JSON.parse(stdout);
    expect(report).toMatchObject({ equal: false, bounds: { loss: 1e-4 }, rows: [{ training: "dpo", equal: false }] });
    expect(report.rows[0].adapter).toBeGreaterThan(1e-3);
    expect(code).toBe(1);
    expect(stopped()).toEqual(["STOPPED"]);
  });

  it("stops its job where it is interrupted while that is pending", async () => {
    holds = "nothing";
    const { ended, interrupt } = await check("--self-test", "--gpus", "0");
    await vi.waitFor(() => expect(ray.jobs.size).toBe(1), { timeout: 60_000 });
    interrupt();
    expect((await ended).code).toBe(130);
    expect(stopped()).toEqual(["STOPPED"]);
  });

  it("is told what is wrong with how it was called", async () => {
    for (const [args, words] of [
      [["--workers", "2"], /--workers is for --self-test/],
      [["--self-test", "--local"], /give no recipe and no --ray/],
      [["--self-test", "--gpus", "-1"], /--gpus: /],
      [["--self-test", "--gpus", "0", "--trainings", "sgd"], /there is no "sgd"; expected some of sft, preference/],
    ] as const) {
      const { ended } = await check(...args);
      expect(await ended).toMatchObject({ code: 2, stderr: expect.stringMatching(words) });
    }
    const { io, written } = surroundings({ env: { TENET_ENGINE_PYTHON: "/nowhere/python" } });
    expect(await run(["engine", "check", "--self-test", "--local"], io)).toBe(2);
    expect(written.stderr).toMatch(/an engine needs Python with PyTorch: .*environment\.sh/);
  });
});
