import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { type DeviceName, greater, logSigmoid, type Tensor } from "@tenet/tensor";
import { z } from "zod";
import { moments } from "./advantages.ts";
import { NoExamplesError } from "./errors.ts";
import type { TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { holdOut } from "./hold-out.ts";
import { type MetricEvent, shuffled } from "./loop.ts";
import type { Item } from "./packing.ts";
import { evaluationOf, type Pair, type PreferenceEvaluation, preparePairs } from "./pairs.ts";
import { openPhase, type PairTask, planSteps } from "./pairwise.ts";
import { rawScores, saveNormalisation } from "./preference-model.ts";
import { loraSettingsSchema, mostPasses, trainingFields } from "./settings.ts";
import type { Sums } from "./trainer.ts";

/** Settings of the preference model. METHODS §4. */
export const preferenceSettingsSchema = z
  .strictObject({
    lora: loraSettingsSchema.prefault({}).describe("The adapter that is trained with the scalar head."),
    epochs: z.int().min(1).max(mostPasses).default(1).describe("Passes over the pairs."),
    batchSize: z.int().min(1).default(16).describe("Pairs of an update."),
    learningRate: z.number().positive().default(1e-4).describe("At its highest, for fine-tuning."),
    ...trainingFields,
    targets: z
      .enum(["soft", "hard"])
      .default("soft")
      .describe(
        "What is learnt: each label's probability itself, or the reply it prefers (pairs at ½ say nothing then).",
      ),
    sourceWeights: z
      .record(z.string(), z.number().min(0))
      .default({})
      .describe(
        "Factors of pairs' weights by source (a file's name), or by kind of label (ai, human, ranking, check); 1 where none is given.",
      ),
    pretraining: z
      .strictObject({
        epochs: z.int().min(1).max(mostPasses).default(1).describe("Passes over the ranked pairs."),
        learningRateFactor: z
          .number()
          .positive()
          .default(10)
          .describe(
            "Learning rate of pre-training over that of fine-tuning (HH-RLHF: 0.1 × and 0.01 × of the model's own).",
          ),
      })
      .prefault({})
      .describe("Preference model pre-training on public rankings, where such pairs are given."),
    validationShare: z
      .number()
      .min(0)
      .max(0.5)
      .default(0.1)
      .describe("Share of the pairs held out for the report, whole prompts, where no validation pairs are given."),
    normalise: z
      .boolean()
      .default(true)
      .describe("Shift and scale scores to mean 0 and deviation 1 over replies of the training pairs."),
  })
  .describe("The preference model: a scalar head and an adapter on the base.");
export type PreferenceSettings = z.output<typeof preferenceSettingsSchema>;

export interface PreferenceOptions {
  readonly model: TrainableModel;
  /** Pairs to fine-tune on; a mixture comes as its rows. */
  readonly rows: readonly PreferenceRow[];
  /** Pairs of public rankings to learn from first. */
  readonly pretraining?: readonly PreferenceRow[];
  readonly validation?: readonly PreferenceRow[];
  /** Without `validation`: pairs with a preferred reply to be held out where `validationShare` has fewer; half of all pairs at most. */
  readonly heldOutPairs?: number | undefined;
  readonly settings: z.input<typeof preferenceSettingsSchema>;
  readonly seed: number;
  /** Receives `adapter`, `pretraining` and `checkpoints`; a folder with checkpoints of the same training is continued. */
  readonly folder: string;
  /** Adapter of an earlier stage to begin from. */
  readonly from?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

export interface PreferenceReport {
  readonly pairs: number;
  readonly pretrainingPairs: number;
  /** Rows that were not used, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  readonly steps: number;
  readonly tokens: number;
  /** Mean and deviation of raw scores over replies of the training pairs. */
  readonly scores: { readonly mean: number; readonly deviation: number };
  /** Absent where nothing was held out. */
  readonly evaluation?: PreferenceEvaluation;
}

export interface PreferenceResult {
  /** Folder of the adapter with its scalar head: what `openPreferenceModel` opens. */
  readonly path: string;
  readonly report: PreferenceReport;
}

/**
 * L = −Σ w·[p·ln σ(Δ) + (1 − p)·ln σ(−Δ)], Δ = r(x, y_A) − r(x, y_B): cross-entropy of the probability p that A is preferred
 * under Bradley and Terry's model. p ∈ {0, 1} is the loss of HH-RLHF (2204.05862) and, with ranked pairs, log(1 + exp(r_bad −
 * r_good)). Source: METHODS §4; CAI (2212.08073), §4.1. difference, p, weights [pairs] → scalar, nats.
 */
export function preferenceLoss(difference: Tensor, p: Tensor, weights: Tensor): Tensor {
  const likelihood = p.mul(logSigmoid(difference)).add(p.neg().add(1).mul(logSigmoid(difference.neg())));
  return likelihood.mul(weights).sum().neg();
}

/**
 * Trains a preference model: first on rankings where there are any, then on the pairs. An async generator of metric events that
 * returns where it is and how it does on held-out pairs.
 *
 * Events: `loss` (weighted mean over the update's pairs, nats), `accuracy` (of pairs with p ≠ ½), `margin` (mean of Δ towards
 * the preferred reply), `mean_reward`, `grad_norm`, `learning_rate`, `num_tokens`, `epoch`; steps of pre-training come first and are
 * counted in. A killed run continues from its last checkpoint and ends with the same bytes.
 * Errors: NoExamplesError, CheckpointMismatchError, those of `encodeReply`.
 */
export async function* trainPreference(options: PreferenceOptions): AsyncGenerator<MetricEvent, PreferenceResult> {
  const { seed, folder, from } = options;
  const settings = preferenceSettingsSchema.parse(options.settings);
  const aside: { id: string; reason: string }[] = [];
  const prepare = (rows: readonly PreferenceRow[]) => preparePairs(rows, options.model, settings, aside);
  const ranked = prepare(options.pretraining ?? []);
  const { train: trainRows, validation: validationRows } = splitRows(options, settings);
  const [train, validation] = [prepare(trainRows), prepare(validationRows)];
  if (train.length === 0)
    throw new NoExamplesError(
      `none of the ${options.rows.length} pairs can be trained on: ${aside[0]?.reason ?? "there are none"}`,
    );
  const { pretraining, learningRate } = settings;
  const first = planSteps(ranked, { seed, stage: "preference-pretraining", ...settings, epochs: pretraining.epochs });
  const second = planSteps(train, { seed, stage: "preference", ...settings });
  const of = first.length + second.length;
  const { model, signal, device, threads } = options;
  const phase = { task, model, seed, signal, device, threads, settings, of };

  let start = from;
  let tokens = 0;
  if (ranked.length > 0) {
    const rate = learningRate * pretraining.learningRateFactor;
    const into = join(folder, "pretraining");
    const rateSetting = "learningRate or pretraining.learningRateFactor";
    const opened = await openPhase({
      ...{ ...phase, pairs: ranked, plan: first, folder: into, from, rate, rateSetting, before: 0 },
    });
    try {
      tokens += (yield* opened.run()).tokens;
      start = join(into, "adapter");
      await opened.trainer.save(start);
    } finally {
      await opened.trainer.close();
    }
  }
  const all = [...train, ...validation];
  const opened = await openPhase({
    ...{ ...phase, pairs: all, plan: second, folder, from: start, rate: learningRate, before: first.length },
  });
  try {
    tokens += (yield* opened.run()).tokens;
    const path = join(folder, "adapter");
    await opened.trainer.save(path);
    const forward = opened.trainer.forward((graph) => ({ scores: graph.scores() }));
    const sample = await rawScores(
      forward,
      sampleOf(train, seed).map(({ item }) => item),
    );
    const { mean, variance } = moments(sample.flat());
    opened.trainer.requireFinite("the deviation of scores", Math.sqrt(variance));
    // Scores that are all the same can be shifted, not scaled.
    const scores = { mean, deviation: Math.sqrt(variance) || 1 };
    await saveNormalisation(path, settings.normalise ? scores : { mean: 0, deviation: 1 });
    const items = validation.map(({ item }) => item);
    const turned = validation.flatMap(({ given }) => (given ? [given.turned] : []));
    const evaluation =
      validation.length > 0
        ? evaluationOf(validation, await rawScores(forward, items), await rawScores(forward, turned))
        : undefined;
    const counts = { pairs: train.length, pretrainingPairs: ranked.length, aside, steps: of, tokens };
    return { path, report: { ...counts, scores, ...(evaluation ? { evaluation } : {}) } };
  } finally {
    await opened.trainer.close();
  }
}

const task: PairTask<Pair> = { objective: preferenceObjective, measure };

/** The loss of a micro-batch of pairs, and sums to report. */
function preferenceObjective(graph: BatchGraph) {
  const scores = graph.perSequence(graph.scores()); // [pairs, 2]
  const [a, b] = [0, 1].map((k) => scores.slice(1, k, k + 1).reshape(["items"])) as [Tensor, Tensor];
  const difference = a.sub(b);
  // 1 and −1 where A or B is the label's choice, 0 at ½.
  const side = graph.item("side");
  const towards = difference.mul(side);
  return {
    loss: preferenceLoss(difference, graph.item("target"), graph.item("weight")),
    metrics: {
      right: greater(towards, 0).cast("float32").sum(),
      margin: towards.sum(),
      reward: scores.sum(),
    },
  };
}

/** Runs the objective on some pairs as one batch. */
async function measure(run: (items: readonly Item[]) => Promise<Sums>, pairs: readonly Pair[]) {
  const total = pairs.reduce((sum, { weight }) => sum + weight, 0);
  const decided = pairs.filter(({ p }) => p !== 0.5).length;
  const items = pairs.map(({ item, p, target, weight }): Item => {
    return { ...item, values: { target, weight: weight / total, side: Math.sign(p - 0.5) } };
  });
  const { loss, right, margin, reward } = (await run(items)) as Record<string, number>;
  return {
    loss: loss!,
    ...(decided > 0 && { accuracy: right! / decided, margin: margin! / decided }),
    mean_reward: reward! / (2 * pairs.length),
  };
}

function splitRows(
  { rows, validation, heldOutPairs, seed }: PreferenceOptions,
  { validationShare }: PreferenceSettings,
) {
  if (validation) return { train: rows, validation };
  const tells = ({ p, a, b }: PreferenceRow) => p !== 0.5 && a !== b;
  const atLeast = heldOutPairs === undefined ? undefined : { count: heldOutPairs, of: tells };
  return holdOut(rows, { seed, stage: "preference-validation", share: validationShare, atLeast });
}

/** Of the training set, drawn by the seed: enough for a deviation known to a twentieth. */
const normalisationPairs = 128;

function sampleOf(train: readonly Pair[], seed: number): Pair[] {
  const order = shuffled(train.length, { seed, stage: "preference-normalisation", epoch: 0 });
  return order.slice(0, normalisationPairs).map((index) => train[index]!);
}
