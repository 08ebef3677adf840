import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PromptRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { trainerOptions } from "./actor.ts";
import { openTrainer } from "./open-trainer.ts";
import { completionSequence } from "./packing.ts";
import { type TrainPolicyOptions, trainPolicy } from "./policy.ts";
import { type RewardTerm, rewardOf, weightedSum } from "./reward/index.ts";
import { rlooSettingsSchema } from "./rloo.ts";
import type { Forward, Trainer } from "./trainer.ts";

/*
 * Replies of one token, of which the optimum is known: maximising R − β·KL(π‖π_ref) gives π* ∝ π_ref·e^{R/β}. GRPO's penalty is another one:
 * k3 inside the loss, differentiated through the samples, has the gradient of KL(π_ref‖π), whose optimum is π* = β·π_ref/(c − R), c such that it
 * sums to 1.
 */

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;
/** Scores letters under whichever adapter. */
let trainer: Trainer;
let scoring: Forward;
let reference: number[][];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-closed-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
  const settings = rlooSettingsSchema.parse({ algorithm: "rloo", lora });
  trainer = await openTrainer({ ...(await trainerOptions({ model, seed: 1 }, settings, { updates: 1 })), ...cpu });
  scoring = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
  reference = await chances();
});

afterAll(async () => {
  await trainer.close();
  await model.close();
  await rm(folder, { recursive: true });
});

const prompts = Array.from({ length: 4 }, (_, i): PromptRow => {
  return { id: `prompt-${i}`, origin: { parents: [] }, prompt: [{ role: "user", content: `Say ${i}` }] };
});
const letters = ["M", "D"] as const;
const lora = { rank: 4, alpha: 8 };

/** Probability of each letter behind each prompt, under an adapter or the base. */
async function chances(adapter?: string): Promise<number[][]> {
  const items = prompts.flatMap(({ prompt }) => {
    const encoded = model.text.encodeBehind([...prompt], letters);
    return encoded.texts.map((tokens) => ({ sequences: [completionSequence(encoded.prompt, tokens)] }));
  });
  const { logprobs } = await scoring.run(items, await trainer.frozen({ adapter }));
  const found = logprobs!.map(([row]) => Math.exp(row![0]!));
  return prompts.map((_, i) => found.slice(2 * i, 2 * i + 2));
}

/** π* of both letters, from π_ref of them, the reward of each and that of all else. */
function optimum(
  [m, d]: readonly number[],
  [ofM, ofD, other]: readonly [number, number, number],
  beta: number,
): number[] {
  const [a, b, rest] = [m! * Math.exp(ofM / beta), d! * Math.exp(ofD / beta), (1 - m! - d!) * Math.exp(other / beta)];
  return [a / (a + b + rest), b / (a + b + rest)];
}

/** GRPO's, by bisection for c. */
function optimumOfGrpo(
  [m, d]: readonly number[],
  [ofM, ofD, other]: readonly [number, number, number],
  beta: number,
): number[] {
  const at = (c: number) => [(beta * m!) / (c - ofM), (beta * d!) / (c - ofD), (beta * (1 - m! - d!)) / (c - other)];
  const highest = Math.max(ofM, ofD, other);
  let [low, high] = [highest + 1e-12, highest + beta + 1];
  for (let i = 0; i < 100; i++) {
    const middle = (low + high) / 2;
    if (at(middle).reduce((sum, p) => sum + p, 0) > 1) low = middle;
    else high = middle;
  }
  return at(low).slice(0, 2);
}

const says = (letter: string, worth = 1, else_ = 0) =>
  rewardOf(letter, (requests) => requests.map(({ response }) => (response === letter ? worth : else_)));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

interface Objective {
  readonly terms: readonly RewardTerm[];
  /** What saying M, D and all else is worth. */
  readonly worth: readonly [number, number, number];
}

/** Two rewards, one for each letter. */
function linear(m: number, d: number): Objective {
  return {
    terms: [
      { reward: says("M"), weight: m },
      { reward: says("D"), weight: d },
    ],
    worth: [m, d, 0],
  };
}

/** The same with a preference score from −1 to 3, which is shaped. */
function shaped(m: number, d: number): Objective {
  return {
    terms: [
      { reward: says("M", 3, -1), weight: m, shape: "sigmoid" },
      { reward: says("D"), weight: d },
    ],
    worth: [m * sigmoid(3), m * sigmoid(-1) + d, m * sigmoid(-1)],
  };
}

const weightings = [
  [1, 0.5],
  [0.3, 1],
  [0.8, 0.8],
] as const;

const beta = 0.5;
const online = {
  ...{ maxTokens: 1, lora, kl: { coefficient: beta } },
  ...{ promptsPerIteration: 4, samplesPerPrompt: 32, epochs: 1, minibatches: 1, learningRate: 1e-2 },
  schedule: "linear",
} as const;
const algorithms: Record<"rloo" | "ppo" | "grpo", TrainPolicyOptions["settings"]> = {
  rloo: { ...online, algorithm: "rloo", iterations: 30 },
  ppo: { ...online, algorithm: "ppo", iterations: 20, value: { learningRate: 1e-2 } },
  grpo: { ...online, algorithm: "grpo", iterations: 40, samplesPerPrompt: 64, learningRate: 7e-3, scaleRewards: false },
};

/** How far a policy comes from the optimum at most, and how far it has moved. */
async function farthest(name: keyof typeof algorithms, { terms, worth }: Objective) {
  const into = await mkdtemp(join(folder, "run-"));
  const [settings, reward] = [algorithms[name], weightedSum(terms)];
  const run = trainPolicy({ model, prompts, reward, settings, seed: 2, folder: into, ...cpu });
  let next = await run.next();
  while (!next.done) next = await run.next();
  const trained = await chances(next.value.path);
  const of = name === "grpo" ? optimumOfGrpo : optimum;
  const from = (known: readonly number[], i: number) => known.map((p, k) => Math.abs(p - trained[i]![k]!));
  const optima = reference.map((known) => of(known, worth, beta));
  return { far: Math.max(...optima.flatMap(from)), moved: Math.max(...reference.flatMap(from)) };
}

describe("one-token replies reach the optimum", () => {
  const cases = Object.entries({ linear, shaped }).flatMap(([shape, objective]) =>
    weightings.flatMap(([m, d]) =>
      (Object.keys(algorithms) as (keyof typeof algorithms)[]).map((name) => {
        return { name, shape, m, d, objective: objective(m, d) };
      }),
    ),
  );
  it.each(cases)("of $m : $d, $shape, by $name", async ({ name, shape, m, d, objective }) => {
    const { far, moved } = await farthest(name, objective);
    if (process.env.TENET_TEST_FIGURES) console.log(name, shape, m, d, far.toFixed(3), moved.toFixed(3));
    expect(moved).toBeGreaterThan(0.1);
    expect(far).toBeLessThan(0.04);
  });
});

it("the two optima are not the same: β means another thing in GRPO", () => {
  const even = [0.25, 0.25];
  const [one, other] = [optimum(even, [1, 0, 0], 0.5), optimumOfGrpo(even, [1, 0, 0], 0.5)];
  expect(Math.abs(one[0]! - other[0]!)).toBeGreaterThan(0.02);
  for (const probabilities of [one, other]) expect(probabilities.every((p) => p > 0 && p < 1)).toBe(true);
});
