import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import {
  adapterShapes,
  initialiseAdapter,
  type LocalModel,
  loadAdapter,
  openLocalModel,
  SCORE_WEIGHT,
  saveAdapter,
} from "@tenet/lm";
import { ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainingChild } from "../test/training-child.ts";
import { CheckpointMismatchError } from "./checkpoint.ts";
import type { MetricEvent } from "./loop.ts";
import { policySettingsSchema } from "./policy.ts";
import type { PolicyResult } from "./policy-options.ts";
import { type PpoOptions, trainPpo } from "./ppo.ts";
import { type RewardRequest, rewardOf } from "./reward/index.ts";
import { promptsOf, rollout } from "./rollout.ts";

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-ppo-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const prompts = Array.from({ length: 5 }, (_, i): PromptRow => {
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Say ${"1".repeat(i)}` }] };
});
const letter = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));
const small = { promptsPerIteration: 6, maxTokens: 5, lora: { rank: 2, alpha: 4 } };

async function train(options: Partial<PpoOptions> & Pick<PpoOptions, "settings">) {
  const run = trainPpo({
    ...{ model, prompts, reward: letter, seed: 1, folder: join(folder, `run-${runs++}`), ...cpu },
    ...options,
  });
  const events: MetricEvent[] = [];
  let next = await run.next();
  for (; !next.done; next = await run.next()) events.push(next.value);
  return { events, result: next.value };
}

describe("PPO", () => {
  it("begins on its own policy: the ratio of an iteration's first pass is 1, the KL to the reference 0", async () => {
    const { events } = await train({ settings: { ...small, iterations: 2, epochs: 1, minibatches: 1 } });
    const [first, second] = events.map(({ metrics }) => metrics);
    for (const metrics of [first!, second!]) {
      expect(Math.abs(metrics["val/ratio"]! - 1)).toBeLessThan(1e-4);
      expect(metrics["policy/approxkl_avg"]!).toBeLessThan(1e-8);
      expect(metrics["policy/clipfrac_avg"]).toBe(0);
      // Engine and training graph agree, on an adapter that was just changed too.
      expect(metrics["val/engine_gap"]).toBeLessThan(1e-4);
    }
    expect(Math.abs(first!["objective/kl"]!)).toBeLessThan(1e-5);
    expect(second!["objective/kl_k3"]).toBeGreaterThan(0);
  });

  it("reports the reward's parts, and rlhf_reward = scores − β·KL", async () => {
    const { events, result } = await train({
      settings: { ...small, iterations: 2, learningRate: 1e-2, kl: { coefficient: 0.3 } },
    });
    for (const { metrics, step, of } of events) {
      expect(of).toBe(2);
      expect(metrics["reward/letter"]).toBeCloseTo(metrics["objective/scores"]!, 9);
      expect(metrics["objective/rlhf_reward"]).toBeCloseTo(
        metrics["objective/scores"]! - 0.3 * metrics["objective/kl"]!,
        9,
      );
      expect(metrics.episode).toBe(6 * step);
      expect(metrics["policy/updates"]).toBe(16);
    }
    expect(result.report.history).toEqual(events.map(({ metrics }) => metrics));
  });

  it("steers β to the KL target, and ends an iteration's passes when it moves too far", async () => {
    const settings = { ...small, iterations: 2, learningRate: 2e-2, targetKl: 1e-6 };
    const { events } = await train({ settings: { ...settings, kl: { coefficient: 0.1, target: 5, horizon: 60 } } });
    const [first, second] = events.map(({ metrics }) => metrics);
    // KL 0 is below the target by more than a fifth: 0.1·(1 − 0.2·6/60).
    expect(second!["objective/kl_coefficient"]).toBeCloseTo(0.1 * (1 - (0.2 * 6) / 60), 12);
    expect(first!["policy/updates"]).toBe(4);
  });

  it("starts the value network from the preference model: its head, on the scale of its scores", async () => {
    const lora = { rank: 3, alpha: 6, targets: ["q_proj", "v_proj"] } as const;
    const parameters = new ParameterSet(adapterShapes(model.config, lora, { head: true }));
    initialiseAdapter(parameters, { seed: 9 });
    const settings = { ...small, iterations: 1, epochs: 1, minibatches: 1, lambda: 1, value: { learningRate: 1e-9 } };
    // With λ = γ = 1, no KL and reward R the returns are R on every token, so the loss is ½(R − V)².
    const reward = rewardOf("one", (requests) => requests.map(() => 1));
    const lossOf = async (name: string, head: number, normalisation?: object) => {
      parameters.view(SCORE_WEIGHT).fill(head);
      const valueFrom = join(folder, name);
      await saveAdapter(valueFrom, { lora, parameters, baseModel: undefined, config: model.config });
      if (normalisation) await writeFile(join(valueFrom, "preference.json"), JSON.stringify({ normalisation }));
      const { events } = await train({ settings: { ...settings, kl: { coefficient: 0 } }, reward, valueFrom });
      return events[0]!.metrics["loss/value_avg"]!;
    };
    expect(await lossOf("zero", 0)).toBeCloseTo(0.5, 5);
    // V = (0 + 6)/2 = 3
    expect(await lossOf("normalised", 0, { mean: -6, deviation: 2 })).toBeCloseTo(0.5 * (1 - 3) ** 2, 4);
    expect(Math.abs((await lossOf("head", 0.1)) - 0.5)).toBeGreaterThan(1e-2);
  });

  it("warms the value network up before the policy moves, and leaves the policy where it was", async () => {
    const reward = rewardOf("ten", (requests) => requests.map(() => 10));
    const explained = async (warmup?: number) => {
      const value = { learningRate: 1e-2, ...(warmup && { warmup }) };
      const settings = { ...small, iterations: 1, epochs: 1, minibatches: 1, learningRate: 1e-9, lambda: 1, value };
      const { events } = await train({ settings, reward });
      return events[0]!.metrics;
    };
    const [cold, warm] = [await explained(), await explained(30)];
    // Returns are 10 on every token: the loss is ½(10 − V)².
    expect(cold["loss/value_avg"]).toBeGreaterThan(30);
    expect(warm["loss/value_avg"]).toBeLessThan(cold["loss/value_avg"]! / 4);
    expect(warm["objective/scores"]).toBe(cold["objective/scores"]);
    expect(warm["val/ratio"]).toBeCloseTo(1, 4);
  });

  it("continues from an adapter, to which it is held", async () => {
    const first = await train({ settings: { ...small, iterations: 2, learningRate: 2e-2 } });
    const { events, result } = await train({ settings: { ...small, iterations: 1 }, from: first.result.path });
    expect(Math.abs(events[0]!.metrics["objective/kl"]!)).toBeLessThan(1e-5);
    expect((await loadAdapter(result.path, model.config)).lora.rank).toBe(2);
  });

  it("sets aside prompts that leave no room", async () => {
    const long: PromptRow = { ...prompts[0]!, id: "long", prompt: [{ role: "user", content: "x".repeat(600) }] };
    const { result } = await train({ settings: { ...small, iterations: 1 }, prompts: [...prompts, long] });
    expect(result.report.aside).toEqual([{ id: "long", reason: expect.stringMatching(/has \d+ tokens; at most 512/) }]);
    await expect(train({ settings: small, prompts: [long] })).rejects.toThrow(/none of 1 prompts/);
  });

  it("stops between calls when told to, and refuses the checkpoints of another training", async () => {
    const into = join(folder, `run-${runs++}`);
    const control = new AbortController();
    const seen: RewardRequest[] = [];
    const reward = rewardOf("stop", (requests) => {
      seen.push(...requests);
      if (seen.length > 6) control.abort(new Error("enough"));
      return requests.map(() => 0);
    });
    const settings = { ...small, iterations: 3, epochs: 1 };
    await expect(train({ settings, reward, folder: into, signal: control.signal })).rejects.toThrow("enough");
    expect(await readdir(join(into, "checkpoints"))).toEqual(["step-00000001"]);
    await expect(train({ settings: { ...settings, learningRate: 1 }, folder: into })).rejects.toThrow(
      CheckpointMismatchError,
    );
  });

  it("killed at any moment, ends with the bits of an undisturbed training", async () => {
    const [whole, broken] = [join(folder, "whole"), join(folder, "broken")];
    const undisturbed = (await child(whole))!;
    await child(broken, { lines: 2, delay: 60 });
    const resumed = (await child(broken))!;
    expect(await hashOf(resumed.path)).toBe(await hashOf(undisturbed.path));
    const timeless = ({ report }: PolicyResult) => report.history.map(({ eps: _, ...metrics }) => metrics);
    expect(timeless(resumed)).toEqual(timeless(undisturbed));
    expect(timeless(resumed)).toHaveLength(5);
  }, 240_000);
});

async function hashOf(path: string): Promise<string> {
  return createHash("sha256")
    .update(await readFile(join(path, "adapter_model.safetensors")))
    .digest("hex");
}

/** The training in a process of its own, killed or to the end. */
const child = (into: string, kill?: { lines: number; delay: number }) =>
  trainingChild<PolicyResult>("ppo-child.ts", [folder, into], kill);

describe("rollouts", () => {
  it("are a function of seed, iteration, prompt and sample, whatever else is in the batch", async () => {
    const options = { text: model.text, seed: 4, iteration: 2, samplesPerPrompt: 3, maxTokens: 6, temperature: 1 };
    const all = await rollout(model, prompts, options);
    const one = await rollout(model, prompts.slice(3, 4), options);
    expect(one.map(({ tokens }) => tokens)).toEqual(all.slice(9, 12).map(({ tokens }) => tokens));
    const later = await rollout(model, prompts.slice(3, 4), { ...options, iteration: 3 });
    expect(later.map(({ tokens }) => tokens)).not.toEqual(one.map(({ tokens }) => tokens));
    // The same prompt twice in a batch is sampled twice.
    const twice = await rollout(model, [prompts[3]!, prompts[3]!], options);
    expect(twice.slice(0, 3).map(({ tokens }) => tokens)).toEqual(one.map(({ tokens }) => tokens));
    expect(twice.slice(3).map(({ tokens }) => tokens)).not.toEqual(one.map(({ tokens }) => tokens));
  });

  it("end with the end token where they ended, and only there", async () => {
    const options = { text: model.text, seed: 1, iteration: 0, samplesPerPrompt: 40, maxTokens: 8, temperature: 1 };
    const samples = await rollout(model, prompts, options);
    const [ended, cut] = [true, false].map((finished) => samples.filter((sample) => sample.finished === finished));
    expect(ended!.length).toBeGreaterThan(0);
    for (const { tokens, sampledLogprobs } of ended!) {
      expect(model.text.tokenText(tokens.at(-1)!)).toBe("<|im_end|>");
      expect(tokens.length).toBe(sampledLogprobs.length + 1);
    }
    for (const { tokens } of cut!) {
      expect(tokens.length).toBe(8);
      expect(model.text.endIds.has(tokens.at(-1)!)).toBe(false);
    }
  });

  it("go through all prompts before any comes again, each time in another order", () => {
    const ids = [0, 1, 2, 3, 4].flatMap((iteration) =>
      promptsOf(prompts, { seed: 1, iteration, count: 2 }).map(({ id }) => id),
    );
    const all = prompts.map(({ id }) => id);
    expect(ids.slice(0, 5).sort()).toEqual(all);
    expect(ids.slice(5).sort()).toEqual(all);
    expect(ids.slice(0, 5)).not.toEqual(ids.slice(5));
  });
});

describe("policy settings", () => {
  it("are told apart by their algorithm, and refuse what it does not know", () => {
    const defaults = policySettingsSchema.parse({ algorithm: "ppo" });
    expect(defaults).toMatchObject({
      ...{ clip: 0.2, gamma: 1, lambda: 0.95, epochs: 4, kl: { coefficient: 0.05, horizon: 10_000 } },
      value: { coefficient: 0.1, clip: 0.2 },
    });
    expect(policySettingsSchema.parse({ algorithm: "dpo" })).toMatchObject({ beta: 0.1 });
    expect(() => policySettingsSchema.parse({ algorithm: "dpo", gamma: 1 })).toThrow(/gamma/);
    expect(() => policySettingsSchema.parse({ algorithm: "grpo", samplesPerPrompt: 1 })).toThrow(/samplesPerPrompt/);
    expect(() => policySettingsSchema.parse({ algorithm: "a2c" })).toThrow();
  });
});
