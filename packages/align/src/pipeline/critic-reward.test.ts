import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Fault, faultProxy } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type CriticServer, criticServer, isAmong } from "../../test/pipeline/critic-server.ts";
import { supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { RunProcess } from "../../test/pipeline/process.ts";
import { reading, results, run, runWhole, stagesThat } from "../../test/pipeline/run.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-critic-"));
const servers: { close(): Promise<void> }[] = [];
let path: string;
afterAll(async () => {
  for (const server of servers) await server.close();
  await rm(folder, { recursive: true });
});
beforeAll(async () => {
  path = await writeRecipe(join(folder, "recipe"));
});

const concurrency = 3;

/** A recipe whose policy a critic rewards, and another judges too where it is told to. */
async function recipeOf(name: string, url: string, policy = ""): Promise<string> {
  const text = supervisedRecipe
    .replace(/, heldOut: .*/, " }")
    .replace(/^evaluate.*\n/m, "")
    .replace("revisions: 2", "revisions: 1")
    .replace("critique: { critique:", "critique: { critiques: checks, critique:")
    .replace("epochs: 2", "epochs: 1");
  const recipe = join(path, "..", `${name}.yaml`);
  await writeFile(
    recipe,
    `${text}roles: { critic: { endpoint: "${url}", model: critic, concurrency: ${concurrency}, retries: { perRequest: 60, baseSeconds: 0.001, maxSeconds: 0.05 } } }
policy:
  algorithm: grpo
  reward: { preference: 0, constitution: { weight: 1, by: critic, principles: 2 }, missingEndPenalty: 0${policy} }
  iterations: 3
  learningRate: 0.005
  promptsPerIteration: 2
  samplesPerPrompt: 3
  maxTokens: 6
  microBatchTokens: 512
`,
  );
  return recipe;
}

async function critic(refuses?: (question: string) => boolean): Promise<CriticServer> {
  const server = await criticServer(refuses);
  servers.push(server);
  return server;
}

/** The reply that a question is about. */
const replyIn = (question: string) => /\n\nAssistant: ([\s\S]*?)\n\nThe principle is/.exec(question)![1]!;

/** What a run's policy stage kept of the critic, and what it took. */
function verdictsOf(store: string, id: string) {
  return reading(store, (reader) => {
    const stage = reader.stages(id).find(({ name }) => name === "policy")!;
    const usage = reader.usage(id).find(({ stage: name, role }) => name === "policy" && role === "critic");
    const metrics = reader.metrics(id).filter((metric) => metric.stage === "policy");
    return {
      stage,
      usage,
      metrics,
      rows: [...reader.rows<{ id: string; origin: never; breaks: number }>(stage.identity)],
    };
  });
}

describe("a critic in the rollout", () => {
  it("is asked each question once behind a server that fails, and what it took is what the server counted", async () => {
    const server = await critic();
    const faults: (Fault | undefined)[] = [
      "429",
      undefined,
      "500",
      undefined,
      "cut",
      undefined,
      undefined,
      "malformed",
    ];
    const proxy = await faultProxy(server.url, (call) => (call < 60 ? faults[call % faults.length] : undefined));
    servers.push(proxy);
    const store = join(folder, "faulty");
    const { id } = await runWhole(await recipeOf("faulty", proxy.url), store);
    const asked = proxy.deliveredBodies.filter((body) => body.includes("break this principle?"));
    expect(new Set(asked).size).toBe(asked.length);
    const { rows, usage, metrics, stage } = verdictsOf(store, id);
    // Two orders of each: 3 iterations of 6 replies under 2 principles, fewer where replies are the same.
    expect(rows.length).toBe(asked.length / 2);
    expect(rows.length).toBeGreaterThan(10);
    expect(rows.length).toBeLessThanOrEqual(36);
    expect(stage.dataset!.rows).toBe(rows.length);
    for (const { breaks } of rows) expect(breaks > 0 && breaks < 1).toBe(true);
    expect(usage!.promptTokens).toBe(proxy.delivered.promptTokens);
    expect(usage!.calls).toBe(asked.length);
    expect(metrics.filter(({ name }) => name === "reward/constitution")).toHaveLength(3);
    expect(metrics.some(({ name }) => name === "reward/unanswered")).toBe(false);
  });

  it("is asked nothing twice by a run that was killed, which ends as if it had not been", async () => {
    const [whole, broken] = [await critic(), await critic()];
    const undisturbed = await runWhole(await recipeOf("whole", whole.url), join(folder, "whole"));
    const recipe = await recipeOf("whole", broken.url);
    const store = join(folder, "broken");
    const child = new RunProcess(recipe, store);
    await child.printed((line) => line.type === "metrics" && line.stage === "policy" && line.step === 1);
    const before = broken.asked.length;
    while (broken.asked.length === before) await new Promise((resolve) => setTimeout(resolve, 2));
    await child.kill();
    const { id } = await runWhole(recipe, store);
    // What was under way when it died is asked again; nothing that was answered is.
    expect(broken.asked.length - new Set(broken.asked).size).toBeLessThanOrEqual(2 * concurrency);
    expect(new Set(broken.asked)).toEqual(new Set(whole.asked));
    const [one, other] = [verdictsOf(join(folder, "whole"), undisturbed.id), verdictsOf(store, id)];
    expect(other.rows.map(({ origin: _, ...row }) => row)).toEqual(one.rows.map(({ origin: _, ...row }) => row));
    expect(results(store, id).policy!.artifacts).toEqual(
      results(join(folder, "whole"), undisturbed.id).policy!.artifacts,
    );
  });

  it("teaches nothing of a reply that it refuses, and says how many there were", async () => {
    const server = await critic((question) => isAmong(replyIn(question), 0.35));
    const store = join(folder, "refusing");
    const { id } = await runWhole(await recipeOf("refusing", server.url, ", failures: { most: 0.9 }"), store);
    const { metrics, stage } = verdictsOf(store, id);
    const unanswered = metrics.filter(({ name }) => name === "reward/unanswered");
    expect(unanswered.length).toBeGreaterThan(0);
    // No row for what was not answered: the next process may ask again.
    expect(stage.dataset!.aside).toBe(0);
  });

  it("stops the training where it refuses too many, and the same command goes on when it is mended", async () => {
    let broken = true;
    const server = await critic((question) => broken && isAmong(replyIn(question), 0.7));
    const recipe = await recipeOf("stopping", server.url);
    const store = join(folder, "stopping");
    const { error } = await run(recipe, store);
    expect(error).toMatchObject({ name: "RewardError", message: expect.stringMatching(/were not judged.*not for me/) });
    broken = false;
    const { events, id } = await runWhole(recipe, store);
    expect(stagesThat("continued", events)).toContain("policy");
    const { metrics } = verdictsOf(store, id);
    expect(metrics.some(({ name }) => name === "reward/unanswered")).toBe(false);
  });

  it("is asked for reward and bound at once, each question once, and so is who rates", async () => {
    const server = await critic();
    const both = await recipeOf("both", server.url, ", judge: { weight: 0.2 }, failures: { most: 1 }");
    const text = await readFile(both, "utf8");
    await writeFile(
      both,
      text.replace("  iterations: 3\n", "  iterations: 2\n  constraint: { cost: critic, bound: 0.5 }\n"),
    );
    const store = join(folder, "both");
    const { id } = await runWhole(both, store);
    expect(new Set(server.asked).size).toBe(server.asked.length);
    const { rows, metrics } = verdictsOf(store, id);
    const [verdicts, ratings] = [rows.filter((row) => "breaks" in row), rows.filter((row) => "score" in row)];
    expect(verdicts.length).toBe(server.asked.length / 2);
    expect(ratings.length).toBeGreaterThan(0);
    for (const name of ["reward/constitution", "reward/judge", "cost/violations"])
      expect(metrics.filter((metric) => metric.name === name)).toHaveLength(2);
  });
});
