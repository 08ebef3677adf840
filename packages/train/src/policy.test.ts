import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PreferenceRow, PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { adapterFactors, type LocalModel, loadAdapter, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { sampleItem, trainerOptions } from "./actor.ts";
import { bestOfN } from "./best-of-n.ts";
import { openLocalTrainer } from "./local-trainer.ts";
import { sumOf } from "./numbers.ts";
import { type TrainPolicyOptions, trainPolicy } from "./policy.ts";
import { isScored, type Reward, rewardOf } from "./reward/index.ts";
import { rlooSettingsSchema } from "./rloo.ts";
import { rewardRequest, rollout } from "./rollout.ts";

/*
 * A task with a known optimum: say the letter M, worth 1. The random model does so in about a third of its replies; a policy
 * that always does is at least log 3 ≈ 1.1 nats away from it.
 */

// Of a model this small a second thread only waits.
const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-policy-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const prompts: PromptRow[] = Array.from({ length: 8 }, (_, i) => ({
  id: `prompt-${i}`,
  origin: { parents: [] },
  prompt: [{ role: "user", content: `Say ${i}` }],
}));
const reward: Reward = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));
const maxTokens = 6;
const lora = { rank: 4, alpha: 8 };

async function run(options: Omit<TrainPolicyOptions, "model" | "folder">) {
  const events = trainPolicy({ ...options, model, folder: join(folder, `run-${runs++}`), ...cpu });
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
  }
}

/** Samples of the base, or of an adapter. */
async function sample(adapter: string | undefined, samplesPerPrompt: number, seed: number) {
  const factors = adapter === undefined ? undefined : adapterFactors(await loadAdapter(adapter, model.config));
  const speaker = await model.withAdapter(factors && { id: "trained", ...factors });
  return rollout(speaker, prompts, {
    text: model.text,
    seed,
    iteration: 0,
    samplesPerPrompt,
    maxTokens,
    temperature: 1,
  });
}

/** Mean reward of fresh samples of an adapter, and their KL to the base per response. */
async function assess(adapter: string, seed: number): Promise<{ mean: number; kl: number }> {
  const samples = await sample(adapter, 16, seed + 1000);
  const rewarded = (await reward.score(samples.map((sample) => rewardRequest(sample)))).filter(isScored);
  const settings = rlooSettingsSchema.parse({ algorithm: "rloo" });
  const options = await trainerOptions({ model, from: adapter, seed }, settings, { updates: 1 });
  const trainer = await openLocalTrainer({ ...options, model, ...cpu });
  const base = await trainer.frozen();
  for (const { name } of base.parameters.ranges) if (name.endsWith("lora_B.weight")) base.parameters.view(name).fill(0);
  const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
  const items = samples.map((sample) => sampleItem(sample));
  const [own, other] = [await forward.run(items), await forward.run(items, base)].map(({ logprobs }) =>
    sumOf(logprobs!, ([row]) => sumOf(row!, (logprob) => logprob)),
  );
  await trainer.close();
  return { mean: sumOf(rewarded, ({ reward }) => reward) / rewarded.length, kl: (own! - other!) / samples.length };
}

/** Pairs of samples of the base of which one has the letter and the other has not. */
async function preferences(seed: number): Promise<PreferenceRow[]> {
  const samples = await sample(undefined, 40, seed);
  const rewarded = (await reward.score(samples.map((sample) => rewardRequest(sample)))).filter(isScored);
  return prompts.flatMap((prompt, k) => {
    const own = samples.map((_, i) => i).filter((i) => samples[i]!.prompt === prompt);
    const [good, bad] = [1, 0].map((worth) => own.filter((i) => rewarded[i]!.reward === worth));
    return good!.map((i, pair): PreferenceRow => {
      const j = bad![pair % bad!.length]!;
      const swap = (pair + k) % 2 === 0;
      const [a, b] = swap ? [samples[j]!, samples[i]!] : [samples[i]!, samples[j]!];
      const shared = { id: `${i}-${j}`, origin: { parents: [] }, prompt: prompt.prompt, weight: 1 };
      return { ...shared, a: a.response, b: b.response, p: swap ? 0.01 : 0.99, label: "check", explanation: [] };
    });
  });
}

it("dpo sets aside what prefers neither reply where labels are hard", async () => {
  const row = { origin: { parents: [] }, prompt: prompts[0]!.prompt, a: "M", b: "no", weight: 1, explanation: [] };
  const rows = [0.5, 0.7].map((p): PreferenceRow => ({ ...row, id: `p ${p}`, p, label: "ai" }));
  const asideOf = async (labels: "soft" | "hard") =>
    (await run({ settings: { algorithm: "dpo", labels, lora }, rows, seed: 1 })).report.aside;
  expect(await asideOf("hard")).toEqual([{ id: "p 0.5", reason: expect.stringContaining("prefers neither") }]);
  expect(await asideOf("soft")).toEqual([]);
});

// One seed in a quick run; set TENET_TEST_SEEDS=3 for the three that the figures in the docs come from.
const seeds = Array.from({ length: Number(process.env.TENET_TEST_SEEDS ?? 1) }, (_, i) => i + 1);
const online = { iterations: 7, maxTokens, learningRate: 1e-2, lora };

describe.each(seeds)("on a task with a known optimum, seed %i", (seed) => {
  it.each([
    ["ppo", { ...online, algorithm: "ppo", promptsPerIteration: 64, minibatches: 2, value: { learningRate: 1e-2 } }],
    ["grpo", { ...online, algorithm: "grpo", epochs: 2 }],
    ["rloo", { ...online, algorithm: "rloo", epochs: 2 }],
  ] as const)("%s reaches it within bounds of KL", async (_, settings) => {
    const { path, report } = await run({ settings, prompts, reward, seed });
    const { mean, kl } = await assess(path, seed);
    expect(report.history[0]!["objective/scores"]).toBeLessThan(0.6);
    expect(mean).toBeGreaterThanOrEqual(0.9);
    expect(kl).toBeLessThan(6);
  });

  it("dpo reaches it within bounds of KL", async () => {
    const rows = await preferences(seed);
    // The optimum of a target p is exact: π ∝ π_ref·exp(r/β) with rewards logit(p) apart, here 0.3 · 99 : 0.7, or 98 %.
    const settings = { algorithm: "dpo", beta: 1, learningRate: 5e-3, lora, epochs: 6, batchSize: 24 } as const;
    const { path, report } = await run({ settings, rows, seed });
    const { mean, kl } = await assess(path, seed);
    expect(report.history[0]!.loss).toBeCloseTo(Math.log(2), 4);
    expect(report.history.at(-1)!["rewards/accuracies"]).toBeGreaterThan(0.75);
    expect(mean).toBeGreaterThanOrEqual(0.9);
    expect(kl).toBeLessThan(6);
  });

  it("best-of-n tells no mean where nothing was judged or kept", async () => {
    const settings = { n: 2, maxTokens };
    const long = prompts
      .slice(0, 2)
      .map((row) => ({ ...row, prompt: [{ role: "user" as const, content: "x".repeat(4000) }] }));
    const events = bestOfN({
      ...{ model, prompts: long, reward, seed, settings, folder: join(folder, `run-${runs++}`) },
      ...cpu,
    });
    let next = await events.next();
    while (!next.done) next = await events.next();
    expect(next.value.rows).toEqual([]);
    const [metrics] = next.value.report.history;
    expect(metrics).toMatchObject({ "val/kept": 0 });
    expect(metrics).not.toHaveProperty("objective/best");
    expect(metrics).not.toHaveProperty("objective/scores");
  });

  it("best-of-n chooses it, and learns from what it chose", async () => {
    const settings = { n: 12, maxTokens };
    const events = bestOfN({ model, prompts, reward, seed, settings, folder: join(folder, `run-${runs++}`), ...cpu });
    let next = await events.next();
    while (!next.done) next = await events.next();
    expect(next.value.report.history[0]!["objective/best"]).toBeGreaterThanOrEqual(0.9);
    expect(next.value.rows.every(({ completion }) => completion.includes("M"))).toBe(true);
    // No end is taught behind a reply that the limit cut; of those that ended one is.
    for (const { completion, cut } of next.value.rows)
      expect(cut, completion).toBe(model.text.encode(completion).length < maxTokens ? undefined : true);
    const supervised = { learningRate: 1e-2, epochs: 8, batchSize: 8, lora };
    const { path } = await run({
      settings: { ...settings, algorithm: "best-of-n", supervised },
      prompts,
      reward,
      seed,
    });
    const { mean, kl } = await assess(path, seed);
    expect(mean).toBeGreaterThan(next.value.report.history[0]!["objective/scores"]! + 0.1);
    expect(kl).toBeLessThan(6);
  });
});
