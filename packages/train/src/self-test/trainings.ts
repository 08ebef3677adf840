import { type CostRow, type ExampleRow, type PreferenceRow, type PromptRow, rowId } from "@tenet/data";
import { trainCostModel } from "../cost-model.ts";
import type { TrainableModel } from "../forward.ts";
import { trainJudge } from "../judge.ts";
import type { MetricEvent } from "../loop.ts";
import { trainPolicy } from "../policy.ts";
import { trainPreference } from "../preference.ts";
import { rewardOf } from "../reward/index.ts";
import { trainSft } from "../sft.ts";

const user = (content: string) => [{ role: "user" as const, content }];
const examples = Array.from({ length: 12 }, (_, i): ExampleRow => {
  const [prompt, completion] = [user(`Say ${"1".repeat(i % 5)}`), `It is ${i}${".".repeat(i % 7)}`];
  return {
    id: rowId("example", prompt, completion, i),
    origin: { parents: [] },
    prompt,
    completion,
    weight: 1 + (i % 3),
  };
});
const pairs = Array.from({ length: 10 }, (_, i): PreferenceRow => {
  const p = [0.9, 0.3, 0.5, 0.75][i % 4]!;
  const texts = { prompt: user(`Say ${i}`), a: `It is ${i}, sir`, b: "No".repeat(1 + (i % 4)) };
  return { id: `pair-${i}`, origin: { parents: [] }, ...texts, p, weight: 1 + (i % 2), label: "ai", explanation: [] };
});
const prompts = Array.from({ length: 4 }, (_, i): PromptRow => {
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt: user(`Say ${"1".repeat(i)}`) } as PromptRow;
});
const costs = pairs.map(({ p, label: _, explanation: __, ...row }, i): CostRow => {
  return { ...row, unsafe: [i % 2, 0.5 * (i % 3)], q: p };
});
const questions = pairs.map(({ id, a, b, p }) => ({
  id,
  weight: 1,
  questions: [
    { prompt: user(`(A) ${a} (B) ${b}`), p },
    { prompt: user(`(A) ${b} (B) ${a}`), p: 1 - p },
  ],
}));
const letter = (name: string, of: number) =>
  rewardOf(name, (requests) => requests.map(({ response }) => ((response.codePointAt(0) ?? 0) % of) / of));
const reward = letter("letter", 7);
const lora = { rank: 4, alpha: 8 };
const online = { lora, iterations: 2, promptsPerIteration: 4, maxTokens: 5, learningRate: 5e-3, microBatchTokens: 256 };
const ppo = { algorithm: "ppo", ...online, epochs: 2, minibatches: 2, kl: { coefficient: 0.1, target: 2 } } as const;
const groups = { ...online, promptsPerIteration: 2, samplesPerPrompt: 3 };

export type Training = AsyncGenerator<MetricEvent, { readonly path: string }>;

/** Trainings by name, small and of every kind of loss, into a folder. @param start an adapter with a scalar head */
export const trainings: Readonly<Record<string, (model: TrainableModel, folder: string, start: string) => Training>> = {
  sft: (model, folder) =>
    trainSft({
      ...{ model, folder, rows: examples, seed: 3 },
      settings: { lora, epochs: 2, batchSize: 5, learningRate: 5e-3, schedule: "linear", warmupSteps: 2 },
    }),
  preference: (model, folder) =>
    trainPreference({
      ...{ model, folder, rows: pairs, pretraining: pairs.slice(0, 4), seed: 3 },
      settings: { lora, epochs: 2, batchSize: 4, learningRate: 3e-3, validationShare: 0.2 },
    }),
  cost: (model, folder) =>
    trainCostModel({
      ...{ model, folder, rows: costs, seed: 3 },
      settings: { lora, epochs: 1, batchSize: 4, learningRate: 3e-3, validationShare: 0.2 },
    }),
  judge: (model, folder) =>
    trainJudge({
      ...{ model, folder, rows: questions, letters: ["A", "B"], seed: 3 },
      settings: { lora, epochs: 1, batchSize: 4, learningRate: 3e-3 },
    }),
  ppo: (model, folder, start) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3, valueFrom: start },
      settings: ppo,
    }),
  "shared-trunk": (model, folder) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3 },
      settings: {
        ...{ algorithm: "ppo", ...online, epochs: 2, minibatches: 2 },
        value: { trunk: "shared", coefficient: 0.5 },
      },
    }),
  constrained: (model, folder, start) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3, valueFrom: start, costValueFrom: start, cost: letter("cost", 5) },
      settings: { ...ppo, constraint: { bound: 0.2 } },
    }),
  grpo: (model, folder) =>
    trainPolicy({ ...{ model, folder, prompts, reward, seed: 3 }, settings: { algorithm: "grpo", ...groups } }),
  rloo: (model, folder) =>
    trainPolicy({ ...{ model, folder, prompts, reward, seed: 3 }, settings: { algorithm: "rloo", ...groups } }),
  terms: (model, folder) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3, examples, flagged: examples.slice(0, 3) },
      settings: {
        ...{ algorithm: "grpo", ...groups },
        ...{ imitate: { weight: 0.5, batchSize: 3 }, avoid: { weight: 0.2, batchSize: 2 } },
      },
    }),
  "best-of-n": (model, folder) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3 },
      settings: {
        ...{ algorithm: "best-of-n", n: 3, maxTokens: 5, promptsAtOnce: 2 },
        supervised: { lora, epochs: 2, batchSize: 2, learningRate: 5e-3 },
      },
    }),
  dpo: (model, folder) =>
    trainPolicy({
      ...{ model, folder, rows: pairs, seed: 3 },
      settings: { algorithm: "dpo", lora, epochs: 1, batchSize: 4, learningRate: 5e-3 },
    }),
};

/** An adapter with a scalar head, as a preference model's, into a folder: what value networks begin from. */
export const headed = (model: TrainableModel, folder: string): Training =>
  trainPreference({
    ...{ model, folder, rows: pairs, seed: 5 },
    settings: { lora, epochs: 1, batchSize: 10, learningRate: 3e-3 },
  });
