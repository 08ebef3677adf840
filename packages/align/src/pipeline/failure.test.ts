import { spawnSync } from "node:child_process";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { EndpointError } from "@tenet/lm";
import { RunBusyError } from "@tenet/runs";
import { DivergenceError } from "@tenet/train";
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { ChatServer } from "../../test/pipeline/chat-server.ts";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { RunProcess } from "../../test/pipeline/process.ts";
import { reading, results, run, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import type { Scorecard } from "../evaluate/index.ts";
import { GateError, NothingLeftError } from "./stages/index.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-failure-"));
const server = new ChatServer();
afterEach(() => server.stop());
afterAll(() => rm(folder, { recursive: true }));

function endpointRecipe(more = "concurrency: 4"): string {
  const endpoint = `{ endpoint: "${server.url}", model: m, dialect: openai, ${more}, retries: { perRequest: 1, baseSeconds: 0 } }`;
  return `${supervisedRecipe.replace("revisions: 2", "revisions: 1").replace("epochs: 2", "epochs: 1")}roles: { generator: ${endpoint}, critic: ${endpoint}, reviser: ${endpoint} }\n`;
}

test("an endpoint that dies stops the run; a further one asks nothing that was answered", async () => {
  await server.start({ dieAfter: 7 });
  const recipe = await writeRecipe(join(folder, "responses"), { recipe: endpointRecipe() });
  const store = join(folder, "responses", "store");
  const stopped = await run(recipe, store);
  expect(stopped.error).toBeInstanceOf(EndpointError);
  expect(stopped.events.at(-1)).toMatchObject({ type: "run", status: "failed" });
  reading(store, (reader) => {
    expect(reader.run(stopped.id)).toMatchObject({ status: "failed", error: (stopped.error as Error).message });
    expect(reader.stage(stopped.id, "responses")).toMatchObject({ status: "failed", items: 7, rows: 7 });
    expect(reader.usage(stopped.id)).toMatchObject([{ stage: "responses", role: "generator", calls: 7 }]);
  });

  await server.start();
  const { id, events } = await runWhole(recipe, store);
  expect(id).toBe(stopped.id);
  expect(stagesThat("continued", events)).toEqual(["responses"]);
  expect(new Set(server.answered).size).toBe(server.answered.length);
  reading(store, (reader) => {
    expect(reader.run(id)).toMatchObject({ status: "done" });
    expect(reader.run(id)).not.toHaveProperty("error");
    expect(reader.usage(id)[0]).toMatchObject({ stage: "responses", calls: 12 });
  });
});

test("an endpoint that dies among chains costs at most the chains that were under way", async () => {
  const prompts = 80;
  const before = server.answered.length;
  // The first 64 chains are whole, each of a critique and a revision; of the others there are critiques.
  await server.start({ dieAfter: prompts + 2 * 64 + 5 });
  const recipe = await writeRecipe(join(folder, "chains"), { recipe: endpointRecipe(), prompts });
  const store = join(folder, "chains", "store");
  const stopped = await run(recipe, store);
  expect(stopped.error).toBeInstanceOf(EndpointError);
  reading(store, (reader) => expect(reader.stage(stopped.id, "chains")).toMatchObject({ status: "failed", items: 64 }));

  await server.start();
  const { id } = await runWhole(recipe, store);
  expect(server.answered.length - before).toBe(prompts + 2 * 64 + 5 + 2 * 16);
  reading(store, (reader) => expect(reader.stage(id, "chains")).toMatchObject({ status: "done", rows: prompts }));
});

test("killed at any time, a run has counted every reply that it stored; a budget holds over all its starts", async () => {
  await server.start();
  const before = server.answered.length;
  // Each call costs 15 tokens.
  const budget = (calls: number) => endpointRecipe(`concurrency: 1, budget: { tokens: ${15 * calls} }`);
  const recipe = await writeRecipe(join(folder, "budget"), { recipe: budget(20) });
  const store = join(folder, "budget", "store");
  const child = new RunProcess(recipe, store);
  while (server.answered.length - before < 4) await sleep(2);
  await child.kill();
  const { id } = reading(store, (reader) => reader.runs()[0]!);
  reading(store, (reader) => {
    const { items } = reader.stage(id, "responses")!;
    expect(items).toBeGreaterThan(0);
    expect(reader.usage(id)[0]).toMatchObject({ role: "generator", calls: items, promptTokens: 10 * items });
  });
  // Beside what is answered, a server is asked for single tokens that tell what it can do.
  const tokens = () =>
    reading(store, (reader) => reader.usage(id)).reduce((sum, one) => sum + one.promptTokens + one.completionTokens, 0);
  const answered: number[] = [];
  for (const _ of ["again", "and again"]) {
    const stopped = await run(recipe, store);
    expect(stopped.id).toBe(id);
    expect(stopped.error).toMatchObject({
      name: "BudgetError",
      message: expect.stringContaining("300 tokens is spent"),
    });
    expect(tokens()).toBe(15 * 20);
    answered.push(server.answered.length);
  }
  expect(answered[1]).toBe(answered[0]);
  await writeRecipe(join(folder, "budget"), { recipe: budget(1000) });
  const { id: same } = await runWhole(recipe, store);
  expect(same).toBe(id);
  // One server plays three roles: what each asked is counted once, and as its own.
  const { rows } = reading(store, (reader) => reader.stage(id, "prompts")!);
  const spent = reading(store, (reader) => reader.usage(id)).filter(({ role }) =>
    /generator|critic|reviser/.test(role),
  );
  const calls = spent.filter(({ stage }) => /^(responses|chains)$/.test(stage)).map((one) => one.calls);
  expect(calls).toEqual([rows, expect.any(Number), rows]);
  expect(server.answered.length - before - calls.reduce((sum, one) => sum + one)).toBeLessThanOrEqual(2);
  expect(server.answered.length - before).toBeGreaterThanOrEqual(calls.reduce((sum, one) => sum + one));
});

test("a second run of the same in another process is refused, naming who writes it", async () => {
  const recipe = await writeRecipe(join(folder, "busy"), { recipe: supervisedRecipe });
  const store = join(folder, "busy", "store");
  const child = new RunProcess(recipe, store);
  try {
    await child.printed((line) => line.type === "stage");
    const refused = await run(recipe, store).catch((error: unknown) => error);
    expect(refused).toBeInstanceOf(RunBusyError);
    expect((refused as Error).message).toMatch(
      new RegExp(`process ${child.pid} on .* since .*continues where that one stopped`, "s"),
    );
    await child.ended();
    expect(child.lines.at(-1)).toMatchObject({ type: "run", status: "done" });
  } finally {
    await child.kill();
  }
});

describe("a run that is aborted", () => {
  let recipe: string;
  let expected: ReturnType<typeof results>;
  beforeAll(async () => {
    recipe = await writeRecipe(join(folder, "abort"), { recipe: reinforcedRecipe });
    const store = join(folder, "abort", "undisturbed");
    expected = results(store, (await runWhole(recipe, store)).id);
  });

  test.each(["responses", "chains", "supervised", "policy"])("in %s is interrupted and continues", async (where) => {
    const store = join(folder, "abort", where);
    const abort = new AbortController();
    const reason = new Error("enough");
    const stopped = await run(recipe, store, {
      signal: abort.signal,
      onEvent: (event) => {
        const inside = event.type === "metrics" || event.type === "progress" || where === "chains";
        if (inside && "stage" in event && event.stage === where) abort.abort(reason);
      },
    });
    expect(stopped.error).toBe(reason);
    expect(stopped.events.at(-1)).toMatchObject({ type: "run", status: "interrupted" });
    reading(store, (reader) => {
      expect(reader.run(stopped.id).status).toBe("interrupted");
      expect(reader.stages(stopped.id).filter(({ status }) => status !== "done")).toMatchObject([
        { name: where, status: "interrupted" },
      ]);
    });
    expect(results(store, (await runWhole(recipe, store)).id)).toEqual(expected);
  });
});

test("a labeller that the audit refuses ends the run before a label is made; overridden, it goes on and says so", async () => {
  // The known answers are exchanged: what looks at the checks first is wrong each time.
  const known = Array.from({ length: 8 }, (_, i) => ({
    prompt: `Known ${i}`,
    chosen: "q".repeat(20),
    rejected: "Rest.",
  }));
  const recipe = await writeRecipe(join(folder, "gate"), { recipe: reinforcedRecipe, known });
  const store = join(folder, "gate", "store");
  const refused = await run(recipe, store);
  expect(refused.error).toBeInstanceOf(GateError);
  expect((refused.error as Error).message).toMatch(/the audit refuses the labeller: .*feedback\.audit\.override/);
  expect(refused.events.at(-1)).toMatchObject({ type: "run", status: "refused" });
  reading(store, (reader) => {
    expect(reader.run(refused.id).status).toBe("refused");
    expect(reader.stage(refused.id, "labels")).toBeUndefined();
  });

  const overridden = await writeRecipe(join(folder, "gate"), {
    recipe: reinforcedRecipe.replace("path: known.jsonl", "path: known.jsonl, override: true"),
    known,
  });
  const { id, events } = await runWhole(overridden, store);
  expect(stagesThat("reused", events)).toEqual(expect.arrayContaining(["known", "audit labels"]));
  expect(events).toContainEqual(
    expect.objectContaining({ type: "message", level: "warning", message: expect.stringContaining("overrides it") }),
  );
  reading(store, (reader) => {
    const { labelHealth } = reader.stage(id, "scorecard")!.output as Scorecard;
    expect(labelHealth?.[0]?.gate).toMatchObject({ passed: false, overridden: true });
  });
});

test("a run with nothing left to learn stops before it trains, and says at which stage everything was set aside", async () => {
  const text = supervisedRecipe.replace("revision: { maxTokens: 16 }, whenCut: trim", "revision: { maxTokens: 1 }");
  const recipe = await writeRecipe(join(folder, "nothing"), { recipe: text });
  const store = join(folder, "nothing", "store");
  const { id, error } = await run(recipe, store);
  expect(error).toBeInstanceOf(NothingLeftError);
  expect((error as Error).message).toMatch(
    /nothing is left to train on: stage "examples" .* gave no row\. Set aside: \d+ × no revision was accepted\. What was made before it is kept\. Read it \(tenet show latest chains --rows 20\), then give more prompts, or ask less/,
  );
  reading(store, (reader) => {
    expect(reader.run(id).status).toBe("failed");
    expect(reader.stage(id, "supervised")).toBeUndefined();
  });
});

test("a training that diverges fails its stage and is never reused; lower settings go on from what led to it", async () => {
  const place = join(folder, "diverged");
  const store = join(place, "store");
  const high = supervisedRecipe.replace("learningRate: 0.005", "learningRate: 1e300");
  for (let attempt = 1; attempt <= 2; attempt++) {
    const { id, error } = await run(await writeRecipe(place, { recipe: high }), store);
    expect(error).toBeInstanceOf(DivergenceError);
    expect((error as Error).message).toMatch(
      /^training diverged at step 1 .* Lower learningRate \(the rate was 1e\+300\)/,
    );
    reading(store, (reader) =>
      expect(reader.stage(id, "supervised")).toMatchObject({ status: "failed", error: (error as Error).message }),
    );
  }
  const { id, events } = await runWhole(await writeRecipe(place, { recipe: supervisedRecipe }), store);
  expect(stagesThat("reused", events)).toContain("examples");
  reading(store, (reader) => expect(reader.stage(id, "supervised")).toMatchObject({ status: "done" }));
});

const smallDisk = 'mount -t tmpfs -o size="$1" none "$0" && shift && exec "$@"';
const canMount =
  process.platform === "linux" &&
  spawnSync("unshare", ["-rm", "sh", "-c", smallDisk, tmpdir(), "1m", "true"]).status === 0;

test.skipIf(!canMount)(
  "a full disk stops a run wherever it fills, and the run continues once there is room (skipped where no small disk can be mounted)",
  async () => {
    const recipe = await writeRecipe(join(folder, "full"), { recipe: reinforcedRecipe });
    const [disk, undisturbed] = [join(folder, "full", "disk"), join(folder, "full", "undisturbed")];
    await mkdir(disk);
    const { id } = await runWhole(recipe, undisturbed);
    const script = fileURLToPath(new URL("../../test/pipeline/full-disk.ts", import.meta.url));
    const node = [process.execPath, "--conditions=source", "--import", "tsx", script, recipe, disk];
    const { stdout, stderr } = spawnSync("unshare", ["-rm", "sh", "-c", smallDisk, disk, "16m", ...node], {
      encoding: "utf8",
    });
    expect(stderr).toBe("");
    const { stopped, end } = JSON.parse(stdout) as { stopped: { error: string; stage: string }[]; end: unknown };
    expect(stopped.length).toBeGreaterThan(3);
    expect(new Set(stopped.map(({ error }) => error))).toEqual(new Set(["StoreFullError"]));
    expect(new Set(stopped.map(({ stage }) => stage)).size).toBeGreaterThan(2);
    expect(end).toEqual(results(undisturbed, id));
  },
);
