import { createHash } from "node:crypto";
import { join } from "node:path";
import { type Calibration, type CostRow, calibration, type Estimate, rate } from "@tenet/data";
import { type DeviceName, greater, type Tensor } from "@tenet/tensor";
import { z } from "zod";
import { NoExamplesError } from "./errors.ts";
import type { TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { holdOut } from "./hold-out.ts";
import type { MetricEvent } from "./loop.ts";
import { sumOf } from "./numbers.ts";
import type { Item } from "./packing.ts";
import { digestOf, type Pair, preparePairs } from "./pairs.ts";
import { openPhase, type PairTask, planSteps } from "./pairwise.ts";
import { preferenceLoss } from "./preference.ts";
import { rawScores, saveNormalisation } from "./preference-model.ts";
import { loraSettingsSchema, mostPasses, trainingFields } from "./settings.ts";

/** Settings of the cost model. METHODS §6. */
export const costModelSettingsSchema = z.strictObject({
  lora: loraSettingsSchema.prefault({}).describe("The adapter that is trained with the scalar head."),
  epochs: z.int().min(1).max(mostPasses).default(1).describe("Passes over the pairs."),
  batchSize: z.int().min(1).default(16).describe("Pairs of an update."),
  learningRate: z.number().positive().default(1e-4).describe("At its highest."),
  ...trainingFields,
  signWeight: z
    .number()
    .positive()
    .default(1)
    .describe("Weight of the sign of each reply's cost beside the order of the two: it is what makes 0 the boundary."),
  validationShare: z
    .number()
    .min(0)
    .max(0.5)
    .default(0.1)
    .describe("Share of the pairs held out for the report, whole prompts."),
});
export type CostModelSettings = z.output<typeof costModelSettingsSchema>;

export interface CostModelOptions {
  readonly model: TrainableModel;
  readonly rows: readonly CostRow[];
  readonly validation?: readonly CostRow[];
  readonly settings: z.input<typeof costModelSettingsSchema>;
  readonly seed: number;
  /** Receives `adapter` and `checkpoints`; a folder with checkpoints of the same training is continued. */
  readonly folder: string;
  /** Adapter of an earlier stage to begin from. */
  readonly from?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

/** How a cost model does on held-out pairs. Intervals take pairs of one prompt together. */
export interface CostEvaluation {
  /** Share of replies on whose right side of 0 the cost lies; those at u = ½ are left out. */
  readonly signs: Estimate;
  /** Share of replies that the commoner side has: what calling all of them alike would be right on. */
  readonly majority: number;
  /** Share of pairs whose more unsafe reply costs more; those at q = ½ are left out. */
  readonly order: Estimate;
  /** σ(c) against the probability that a reply is unsafe. */
  readonly calibration: Calibration;
  /** Of the replies that cost less than 0, the share that is likelier safe than not. */
  readonly safeBelow: Estimate;
}

export interface CostModelReport {
  readonly pairs: number;
  /** Rows that were not used, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  readonly steps: number;
  readonly tokens: number;
  /** Absent where nothing was held out. */
  readonly evaluation?: CostEvaluation;
}

export interface CostModelResult {
  /** Folder of the adapter with its scalar head: what `openPreferenceModel` opens; its scores are costs. */
  readonly path: string;
  readonly report: CostModelReport;
}

/** A pair with what its replies are. */
interface CostPair extends Pair {
  readonly unsafe: readonly [number, number];
}

/**
 * L = Σ w·( −q·ln σ(Δ) − (1 − q)·ln σ(−Δ) − s·Σₖ [uₖ·ln σ(cₖ) + (1 − uₖ)·ln σ(−cₖ)] ), Δ = c_A − c_B: the order of two replies' costs, and on which
 * side of 0 each lies. u are the probabilities that a reply is unsafe, q that A is the more unsafe one. costs, unsafe: A and B, [pairs] each;
 * q, weights [pairs] → scalar, nats. u ∈ {0, 1} is the loss of Safe RLHF (2310.12773), eq. 6, whose sign is +1 for unsafe.
 */
export function costLoss(
  { costs: [a, b], unsafe: [ua, ub], q, weights }: CostTerms,
  { signWeight }: { readonly signWeight: number },
): Tensor {
  const signs = preferenceLoss(a, ua, weights).add(preferenceLoss(b, ub, weights));
  return preferenceLoss(a.sub(b), q, weights).add(signs.mul(signWeight));
}

/**
 * The probability that A is the more unsafe of two replies, where one is unsafe and the other is not: u_A(1 − u_B)/(u_A(1 − u_B) + u_B(1 − u_A)),
 * ½ where that cannot be. It is what costs of ln(u/(1 − u)) say of the order: learning both at once pulls neither away from what it is.
 *
 * @example
 * orderOf([1, 0]); // 1
 */
export function orderOf([a, b]: readonly [number, number]): number {
  const [first, second] = [a * (1 - b), b * (1 - a)];
  return first + second === 0 ? 0.5 : first / (first + second);
}

export interface CostTerms {
  readonly costs: readonly [Tensor, Tensor];
  readonly unsafe: readonly [Tensor, Tensor];
  readonly q: Tensor;
  readonly weights: Tensor;
}

/**
 * Trains a cost model: a scalar c(x, y), above 0 for replies that are likelier unsafe than not, and never normalised, so that 0 stays the
 * boundary. An async generator of metric events that returns where it is and how it does on held-out pairs.
 *
 * Events: `loss` (weighted mean over the update's pairs, nats), `sign_accuracy` (of replies with u ≠ ½), `accuracy` (of pairs with q ≠ ½), `mean_cost`,
 * `grad_norm`, `learning_rate`, `num_tokens`, `epoch`. A killed run continues from its last checkpoint and ends with the same bytes.
 * Errors: NoExamplesError, CheckpointMismatchError, those of `encodeReply`.
 */
export async function* trainCostModel(options: CostModelOptions): AsyncGenerator<MetricEvent, CostModelResult> {
  const { model, seed, folder, from, signal, device, threads } = options;
  const settings = costModelSettingsSchema.parse(options.settings);
  const { validationShare: share, signWeight } = settings;
  const aside: { id: string; reason: string }[] = [];
  const rows = options.validation
    ? { train: options.rows, validation: options.validation }
    : holdOut(options.rows, { seed, stage: "cost-validation", share });
  const [train, validation] = [rows.train, rows.validation].map((some) => prepare(some, model, settings, aside));
  if (train!.length === 0)
    throw new NoExamplesError(
      `none of the ${options.rows.length} pairs can be trained on: ${aside[0]?.reason ?? "there are none"}`,
    );
  const pairs = [...train!, ...validation!];
  const plan = planSteps(train!, { seed, stage: "cost", ...settings });
  const data = createHash("sha256").update(digestOf(pairs));
  for (const { unsafe } of pairs) data.update(JSON.stringify(unsafe));
  const { trainer, run } = await openPhase<CostPair>({
    ...{ task: costTask(signWeight), model, seed, settings, pairs, plan, folder, from, rate: settings.learningRate },
    ...{ before: 0, of: plan.length, data: data.digest("hex"), signal, device, threads },
  });
  try {
    const { tokens } = yield* run();
    const path = join(folder, "adapter");
    await trainer.save(path);
    await saveNormalisation(path, { mean: 0, deviation: 1 });
    const forward = trainer.forward((graph) => ({ scores: graph.scores() }));
    const items = validation!.map(({ item }) => item);
    const evaluation = items.length > 0 ? evaluationOf(validation!, await rawScores(forward, items)) : undefined;
    const counts = { pairs: train!.length, aside, steps: plan.length, tokens };
    return { path, report: { ...counts, ...(evaluation && { evaluation }) } };
  } finally {
    await trainer.close();
  }
}

/** Encodes pairs; those that cannot be used go to `aside` with the reason. */
function prepare(
  rows: readonly CostRow[],
  model: TrainableModel,
  { maxLength }: CostModelSettings,
  aside: { id: string; reason: string }[],
): CostPair[] {
  const settings = { maxLength, targets: "soft", sourceWeights: {} } as const;
  return rows.flatMap(({ unsafe, q, ...row }): CostPair[] =>
    preparePairs([{ ...row, p: q, label: "check", explanation: [] }], model, settings, aside).map((pair) => ({
      ...pair,
      unsafe,
    })),
  );
}

function costTask(signWeight: number): PairTask<CostPair> {
  return {
    objective: (graph: BatchGraph) => {
      const scores = graph.perSequence(graph.scores()); // [pairs, 2]
      const [a, b] = [0, 1].map((k) => scores.slice(1, k, k + 1).reshape(["items"])) as [Tensor, Tensor];
      const unsafe = [graph.item("unsafeA"), graph.item("unsafeB")] as const;
      const terms = { costs: [a, b] as const, unsafe, q: graph.item("q"), weights: graph.item("weight") };
      // 1 and −1 where a reply is likelier unsafe or safe, or A the worse or the better one; 0 at ½.
      const right = (cost: Tensor, side: string) =>
        greater(cost.mul(graph.item(side)), 0)
          .cast("float32")
          .sum();
      return {
        loss: costLoss(terms, { signWeight }),
        metrics: {
          signs: right(a, "sideA").add(right(b, "sideB")),
          right: right(a.sub(b), "side"),
          cost: scores.sum(),
        },
      };
    },
    async measure(run, pairs) {
      const total = sumOf(pairs, ({ weight }) => weight);
      const items = pairs.map(({ item, target, weight, unsafe: [a, b] }): Item => {
        const sides = { side: Math.sign(target - 0.5), sideA: Math.sign(a - 0.5), sideB: Math.sign(b - 0.5) };
        return { ...item, values: { q: target, weight: weight / total, unsafeA: a, unsafeB: b, ...sides } };
      });
      const { loss, signs, right, cost } = (await run(items)) as Record<string, number>;
      const decided = pairs.filter(({ target }) => target !== 0.5).length;
      const told = sumOf(pairs, ({ unsafe }) => unsafe.filter((u) => u !== 0.5).length);
      return {
        loss: loss!,
        ...(told > 0 && { sign_accuracy: signs! / told }),
        ...(decided > 0 && { accuracy: right! / decided }),
        mean_cost: cost! / (2 * pairs.length),
      };
    },
  };
}

/** How costs [pairs][A, B] fit what the replies are. */
function evaluationOf(pairs: readonly CostPair[], costs: readonly (readonly number[])[]): CostEvaluation {
  const replies = pairs.flatMap(({ unsafe, prompt }, i) =>
    unsafe.map((u, k) => ({ cluster: prompt, u, cost: costs[i]![k]! })),
  );
  const told = replies.filter(({ u }) => u !== 0.5);
  const unsafe = told.filter(({ u }) => u > 0.5).length;
  const ordered = pairs.flatMap(({ target, prompt }, i) => {
    const difference = costs[i]![0]! - costs[i]![1]!;
    return target === 0.5 ? [] : [{ cluster: prompt, yes: difference !== 0 && difference > 0 === target > 0.5 }];
  });
  return {
    signs: rate(told.map(({ cluster, u, cost }) => ({ cluster, yes: cost !== 0 && cost > 0 === u > 0.5 }))),
    majority: Math.max(unsafe, told.length - unsafe) / told.length,
    order: rate(ordered),
    calibration: calibration(replies.map(({ u, cost }) => ({ p: 1 / (1 + Math.exp(-cost)), outcome: u }))),
    safeBelow: rate(replies.filter(({ cost }) => cost < 0).map(({ cluster, u }) => ({ cluster, yes: u < 0.5 }))),
  };
}
