import { existsSync } from "node:fs";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExampleRow, Message, PreferenceRow, PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DivergenceError } from "./divergence.ts";
import type { MetricEvent } from "./loop.ts";
import { openTrainer } from "./open-trainer.ts";
import { trainPolicy } from "./policy.ts";
import { trainPreference } from "./preference.ts";
import { rewardOf } from "./reward/index.ts";
import { trainSft } from "./sft.ts";

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
let runs = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-divergence-"));
  await writeTalkingModel(join(folder, "base"));
  model = await openLocalModel(join(folder, "base"), { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const asked = (i: number): Message[] => [{ role: "user", content: `Say ${i}` }];
const origin = { parents: [] };
const prompts = Array.from({ length: 8 }, (_, i): PromptRow => ({ id: `${i}`, origin, prompt: asked(i) }));
const examples = prompts.map((row, i): ExampleRow => ({ ...row, completion: `It is ${i}`, weight: 1 }));
const pairs = prompts.map((row, i): PreferenceRow => {
  return { ...row, a: `M${i}`, b: `no ${i}`, p: 0.9, weight: 1, label: "check", explanation: [] };
});
const reward = rewardOf("letter", (requests) => requests.map(({ response }) => Number(response.includes("M"))));

/** Takes a training as far as it goes: the error, the steps that were told before it, and its folder. */
async function diverge(train: (place: string) => AsyncGenerator<MetricEvent, unknown>) {
  const place = join(folder, `run-${runs++}`);
  const steps: MetricEvent[] = [];
  const error = await (async () => {
    const events = train(place);
    for (let next = await events.next(); !next.done; next = await events.next()) steps.push(next.value as MetricEvent);
  })().catch((error: unknown) => error);
  expect(error).toBeInstanceOf(DivergenceError);
  return { error: error as DivergenceError, steps, place };
}

/** Every figure that was told is a number. */
function expectFinite(steps: readonly MetricEvent[]): void {
  for (const { metrics } of steps)
    for (const [name, value] of Object.entries(metrics)) expect([name, Number.isFinite(value)]).toEqual([name, true]);
}

const lora = { rank: 2, alpha: 4 };
const common = { seed: 1, ...cpu };
const supervised = { lora, batchSize: 4, epochs: 3, checkpointEvery: 1 };
const online = { iterations: 2, promptsPerIteration: 4, maxTokens: 4, lora };
type Train = (place: string) => AsyncGenerator<MetricEvent, unknown>;
type Changes = Record<string, unknown>;

const sft = (settings: Changes): Train => {
  return (place) =>
    trainSft({ ...common, model, rows: examples, settings: { ...supervised, ...settings }, folder: place });
};
const preference = (settings: Changes, pretraining: PreferenceRow[] = []): Train => {
  const given = { ...supervised, ...settings };
  return (place) => trainPreference({ ...common, model, rows: pairs, pretraining, settings: given, folder: place });
};
const dpo = (settings: Changes): Train => {
  const given = { algorithm: "dpo", lora, batchSize: 4, epochs: 2, ...settings } as const;
  return (place) => trainPolicy({ ...common, model, rows: pairs, settings: given, folder: place });
};
const policy = (settings: Parameters<typeof trainPolicy>[0]["settings"]): Train => {
  return (place) => trainPolicy({ ...common, model, prompts, reward, settings, folder: place } as never);
};

describe("every training stops at the step that leaves the finite numbers, and keeps nothing of it", () => {
  const cases: [name: string, train: Train, named: string][] = [
    ["sft", sft({ learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    ["sft of all weights", sft({ weights: "all", learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    ["a preference model", preference({ learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    [
      "its pre-training",
      preference({ learningRate: 1, pretraining: { learningRateFactor: 1e300 } }, pairs),
      "learningRate or pretraining.learningRateFactor (the rate was 1e+300)",
    ],
    ["dpo", dpo({ learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    ["ppo", policy({ ...online, algorithm: "ppo", learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    [
      "ppo's value network",
      policy({ ...online, algorithm: "ppo", value: { learningRate: 1e300 } }),
      "value.learningRate (the rate was 1e+300)",
    ],
    ["grpo", policy({ ...online, algorithm: "grpo", learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    ["rloo", policy({ ...online, algorithm: "rloo", learningRate: 1e300 }), "learningRate (the rate was 1e+300)"],
    [
      "best-of-n",
      policy({ algorithm: "best-of-n", n: 2, maxTokens: 4, supervised: { ...supervised, learningRate: 1e300 } }),
      "learningRate (the rate was 1e+300)",
    ],
  ];
  it.each(cases)("%s", async (_, train, named) => {
    const { error, steps, place } = await diverge(train);
    expect(error.step).toBe(1);
    expect(error.message).toMatch(/^training diverged at step 1 of \d+: a parameter is (NaN|-?Infinity)\. Lower /);
    expect(error.message).toContain(named);
    expect(error.message).toContain("No checkpoint was kept.");
    expectFinite(steps);
    for (const part of ["adapter", "model", "checkpoints", "pretraining"])
      expect(existsSync(join(place, part))).toBe(false);
  });
});

describe("the error names what to lower", () => {
  it("weightDecay, where it makes parameters grow by themselves", async () => {
    const { error } = await diverge(sft({ learningRate: 1e-3, weightDecay: 1e300 }));
    expect(error.message).toContain("Lower weightDecay (1e+300) or learningRate (the rate was 0.001)");
  });

  it("alpha, where nothing was learned yet", async () => {
    const { error } = await diverge(sft({ lora: { rank: 2, alpha: 1e300 } }));
    expect(error).toMatchObject({ step: 1, checkpoint: undefined });
    expect(error.message).toContain("the loss is NaN. Nothing was learned yet");
    expect(error.message).toContain("lower lora.alpha (1e+300, over a rank of 2)");
  });

  it("alpha before the learning rate, where it is the one out of the ordinary", async () => {
    const { error } = await diverge(sft({ learningRate: 1e-2, lora: { rank: 2, alpha: 1e30 }, maxGradNorm: 0 }));
    expect(error.message).toContain("Lower lora.alpha (1e+30, over a rank of 2) or learningRate");
    expect(error.message).toContain("and clip gradients with maxGradNorm: 1");
  });
});

it("parameters that are finite but too large to compute with are not kept either, even of the last step", async () => {
  // One step, after which each factor is about 1e25: their product is beyond float32.
  for (const train of [
    sft({ learningRate: 1e25, epochs: 1, batchSize: 8 }),
    dpo({ learningRate: 1e25, epochs: 1, batchSize: 8 }),
    policy({ ...online, iterations: 1, epochs: 1, minibatches: 1, algorithm: "rloo", learningRate: 1e25 }),
  ]) {
    const { error, steps, place } = await diverge(train);
    expect(error.message).toContain("at step 1 of 1: the loss behind it is NaN");
    expect(steps).toEqual([]);
    for (const part of ["adapter", "checkpoints"]) expect(existsSync(join(place, part))).toBe(false);
  }
});

it("names the last good checkpoint, which stays, and diverges again from it", async () => {
  // The warm-up's first step has a rate of 0.
  const train = sft({ learningRate: 1e300, warmupSteps: 2, schedule: "linear" });
  const { error, steps, place } = await diverge((at) => train(at));
  const step = steps.length;
  expect(step).toBeGreaterThan(0);
  const last = join(place, "checkpoints", `step-${String(step).padStart(8, "0")}`);
  expect(error).toMatchObject({ step: step + 1, checkpoint: last });
  expect(error.message).toContain(`The last good checkpoint is that of step ${step}, ${last}.`);
  expectFinite(steps);
  expect(await readdir(join(place, "checkpoints"))).toHaveLength(step);
  const again = await diverge(() => train(place));
  expect(again.error.message).toBe(error.message);
  expect(again.steps).toEqual([]);
});

it("a saved state that is not finite is not continued from", async () => {
  const optimizer = {
    ...({ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, steps: 10 } as const),
    ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const),
  };
  const trainer = await openTrainer({ model, tuning: { lora }, optimizer, ...common });
  const state = await trainer.state();
  await trainer.restore(state);
  new Float32Array(state.parameters.buffer)[5] = Number.NaN;
  await expect(trainer.restore(state)).rejects.toThrow(DivergenceError);
  await trainer.close();
});
