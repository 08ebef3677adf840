import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type PreferenceRow, type PromptRow, rowId } from "@tenet/data";
import { type LocalModel, loadAdapter } from "@tenet/lm";
import type { TrainableModel } from "../src/forward.ts";
import { trainJudge } from "../src/judge.ts";
import type { MetricEvent } from "../src/loop.ts";
import { trainPolicy } from "../src/policy.ts";
import { trainPreference } from "../src/preference.ts";
import { rewardOf } from "../src/reward/index.ts";
import { trainSft } from "../src/sft.ts";

const user = (content: string) => [{ role: "user" as const, content }];
const examples = Array.from({ length: 12 }, (_, i) => {
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
const questions = pairs.map(({ id, a, b, p }) => ({
  id,
  weight: 1,
  questions: [
    { prompt: user(`(A) ${a} (B) ${b}`), p },
    { prompt: user(`(A) ${b} (B) ${a}`), p: 1 - p },
  ],
}));
const reward = rewardOf("letter", (requests) =>
  requests.map(({ response }) => ((response.codePointAt(0) ?? 0) % 7) / 7),
);
const lora = { rank: 4, alpha: 8 };
const online = { lora, iterations: 2, promptsPerIteration: 4, maxTokens: 5, learningRate: 5e-3, microBatchTokens: 256 };
const groups = { ...online, promptsPerIteration: 2, samplesPerPrompt: 3 };

type Training = AsyncGenerator<MetricEvent, { readonly path: string }>;

/** Trainings by name, small and of every kind of loss, on a model in a folder. @param start an adapter with a scalar head */
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
  judge: (model, folder) =>
    trainJudge({
      ...{ model, folder, rows: questions, letters: ["A", "B"], seed: 3 },
      settings: { lora, epochs: 1, batchSize: 4, learningRate: 3e-3 },
    }),
  ppo: (model, folder, start) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3, valueFrom: start },
      settings: { algorithm: "ppo", ...online, epochs: 2, minibatches: 2, kl: { coefficient: 0.1, target: 2 } },
    }),
  "ppo on a shared trunk": (model, folder) =>
    trainPolicy({
      ...{ model, folder, prompts, reward, seed: 3 },
      settings: {
        algorithm: "ppo",
        ...online,
        epochs: 2,
        minibatches: 2,
        value: { trunk: "shared", coefficient: 0.5 },
      },
    }),
  grpo: (model, folder) =>
    trainPolicy({ ...{ model, folder, prompts, reward, seed: 3 }, settings: { algorithm: "grpo", ...groups } }),
  rloo: (model, folder) =>
    trainPolicy({ ...{ model, folder, prompts, reward, seed: 3 }, settings: { algorithm: "rloo", ...groups } }),
  dpo: (model, folder) =>
    trainPolicy({
      ...{ model, folder, rows: pairs, seed: 3 },
      settings: { algorithm: "dpo", lora, epochs: 1, batchSize: 4, learningRate: 5e-3 },
    }),
};

export interface Trained {
  readonly events: readonly Readonly<Record<string, number>>[];
  readonly path: string;
  readonly seconds: number;
}

/** Runs a training to its end, in a folder that is made anew. */
export async function trained(name: string, model: TrainableModel, folder: string, start: string): Promise<Trained> {
  await rm(folder, { recursive: true, force: true });
  return finish(trainings[name]!(model, folder, start));
}

export async function finish(run: Training): Promise<Trained> {
  const began = performance.now();
  const events: Readonly<Record<string, number>>[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, path: next.value.path, seconds: (performance.now() - began) / 1000 };
    events.push(next.value.metrics);
  }
}

/** How far two runs of one training are apart. */
export interface Distance {
  readonly steps: number;
  /** Worst |Δ| of a loss over its size, 1e-3 at least. */
  readonly loss: number;
  readonly gradNorm: number;
  /** ‖Δ‖ of the adapters over the distance that training moved from its start; 0 where both are the same. */
  readonly adapter: number;
}

const lossOf = (metrics: Readonly<Record<string, number>>) => metrics.loss ?? metrics["loss/policy_avg"]!;
const normOf = (metrics: Readonly<Record<string, number>>) =>
  metrics.grad_norm ?? metrics["val/grad_norm_avg"] ?? metrics["policy/grad_norm_avg"] ?? 0;

/** @param start the same training's adapter before its first step: of a folder of 0 steps, or zeros where B begins at 0 */
export async function distance(model: Pick<LocalModel, "config">, one: Trained, other: Trained): Promise<Distance> {
  const worst = (of: (metrics: Readonly<Record<string, number>>) => number) =>
    Math.max(
      ...one.events.map((metrics, i) => {
        const [a, b] = [of(metrics), of(other.events[i]!)];
        return Math.abs(a - b) / Math.max(1e-3, Math.abs(a));
      }),
    );
  const [a, b] = await Promise.all([one, other].map(({ path }) => loadAdapter(path, model.config)));
  let [difference, moved] = [0, 0];
  // B begins at zero: what is there has been trained.
  for (const { name } of a!.parameters.ranges) {
    const [mine, theirs] = [a!.parameters.view(name), b!.parameters.view(name)];
    mine.forEach((value, i) => {
      difference += (value - theirs[i]!) ** 2;
      if (name.endsWith("lora_B.weight")) moved += value ** 2;
    });
  }
  return {
    steps: one.events.length,
    loss: worst(lossOf),
    gradNorm: worst(normOf),
    adapter: Math.sqrt(difference / moved),
  };
}

/** An adapter with a scalar head, as a preference model's, in a folder; returns it. */
export async function headedAdapter(model: TrainableModel, folder: string): Promise<string> {
  const { path } = await finish(
    trainPreference({
      ...{ model, folder: join(folder, "headed"), rows: pairs, seed: 5 },
      settings: { lora, epochs: 1, batchSize: 10, learningRate: 3e-3 },
    }),
  );
  return path;
}
