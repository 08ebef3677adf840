import { createHash } from "node:crypto";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import type { ExampleRow } from "@tenet/data";
import type { DeviceName, Tensor } from "@tenet/tensor";
import { z } from "zod";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { NoExamplesError } from "./errors.ts";
import { digestExamples, type Example, encodeExamples, weightedItems } from "./examples.ts";
import { baseIdentity } from "./fingerprint.ts";
import type { TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { holdOut } from "./hold-out.ts";
import { batches, type MetricEvent, shuffled } from "./loop.ts";
import { sftLoss } from "./losses.ts";
import { openTrainer } from "./open-trainer.ts";
import type { Item } from "./packing.ts";
import {
  type SelectionOptions,
  type SelectionReport,
  type SelectionState,
  selectionDigest,
  watchedReport,
} from "./selection.ts";
import {
  adapterShape,
  loraSettingsSchema,
  memoryOptions,
  mostPasses,
  optimizerOptions,
  trainingFields,
} from "./settings.ts";
import type { Sums, Trainer } from "./trainer.ts";
import { trainingLoop } from "./training-loop.ts";

/** Settings of supervised fine-tuning. METHODS §2: one epoch, constant learning rate, loss on completions only. */
export const sftSettingsSchema = z
  .strictObject({
    weights: z
      .enum(["lora", "all"])
      .default("lora")
      .describe("What is trained: a low-rank adapter, or all weights (for small models: four times their memory)."),
    lora: loraSettingsSchema.prefault({}).describe("The adapter, where one is trained."),
    epochs: z.int().min(1).max(mostPasses).default(1).describe("Passes over the examples."),
    batchSize: z.int().min(1).default(16).describe("Examples of an update."),
    batchTokens: z
      .int()
      .min(64)
      .optional()
      .describe("Fill each update up to this many tokens instead of a fixed number of examples."),
    learningRate: z
      .number()
      .positive()
      .optional()
      .describe("At its highest; 2e-4 for an adapter and 2e-5 for all weights when not given."),
    ...trainingFields,
    tooLong: z
      .enum(["aside", "truncate"])
      .default("aside")
      .describe(
        "What becomes of an example longer than maxLength: set aside and counted, or its completion cut at the end. A prompt that leaves no room is always set aside.",
      ),
    shuffle: z.boolean().default(true).describe("A new order in every epoch, drawn from the seed."),
    validationShare: z
      .number()
      .min(0)
      .max(0.5)
      .default(0)
      .describe("Share of the examples kept for validation, whole prompts, where no validation set is given."),
    evaluateEvery: z
      .int()
      .min(0)
      .default(0)
      .describe("Steps between evaluations on the validation set; 0 is at the end of each epoch."),
    patience: z
      .int()
      .min(0)
      .default(0)
      .describe(
        "Stop after this many evaluations without a lower eval_loss, and keep the weights of the lowest; 0 never stops early and keeps the last.",
      ),
  })
  .describe("Supervised fine-tuning on completions.");
export type SftSettings = z.output<typeof sftSettingsSchema>;

export interface SftOptions {
  readonly model: TrainableModel;
  readonly rows: readonly ExampleRow[];
  readonly validation?: readonly ExampleRow[];
  readonly settings: z.input<typeof sftSettingsSchema>;
  readonly seed: number;
  /** Receives `adapter` (or `model`) and `checkpoints`; a folder with checkpoints of the same training is continued. */
  readonly folder: string;
  /** Adapter of an earlier stage to go on training. */
  readonly from?: string | undefined;
  /** Watches the training at its evaluations and has it return its best, by what the model says; needs `weights: "lora"`. */
  readonly selection?: SelectionOptions | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

export interface SftReport {
  readonly examples: number;
  readonly validation: number;
  /** Rows that were not used, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  /** Examples whose completion was cut. */
  readonly truncated: number;
  readonly steps: number;
  /** Tokens processed, prompts included; tokens the loss fell on. */
  readonly tokens: number;
  readonly supervisedTokens: number;
  /** Mean loss over the first and over the last tenth of the steps. */
  readonly firstLoss: number;
  readonly lastLoss: number;
  readonly evaluations: readonly { readonly step: number; readonly loss: number; readonly accuracy: number }[];
  /** The evaluation whose weights were kept; absent where the last ones were. */
  readonly best?: { readonly step: number; readonly loss: number };
  readonly stoppedEarly: boolean;
  /** Present where the training was watched. */
  readonly selection?: SelectionReport;
}

export interface SftResult {
  /** PEFT adapter, or a Hugging Face checkpoint where all weights were trained. */
  readonly kind: "adapter" | "model";
  readonly path: string;
  readonly report: SftReport;
}

/** A type, not an interface: checkpoints keep it as JSON. */
type Progress = {
  tokens: number;
  supervised: number;
  losses: number[];
  evaluations: { step: number; loss: number; accuracy: number }[];
  stopped: boolean;
  selection?: SelectionState;
};

/**
 * Fine-tunes a model on completions behind their prompts: an async generator of metric events that returns where the trained
 * weights are.
 *
 * Events carry TRL's names: `loss` (mean nats per supervised token of the update), `grad_norm` (before clipping), `learning_rate`,
 * `mean_token_accuracy`, `entropy` (nats), `num_tokens` (so far, prompts included), `epoch`; `eval_loss` and
 * `eval_mean_token_accuracy` at evaluations. A killed run continues from its last checkpoint and ends with the same bytes.
 * Errors: NoExamplesError, CheckpointMismatchError for a folder with another training's checkpoints, those of `encodeReply`.
 */
export async function* trainSft(options: SftOptions): AsyncGenerator<MetricEvent, SftResult> {
  const { model, seed, folder, from, selection: watched, signal, device, threads } = options;
  const settings = sftSettingsSchema.parse(options.settings);
  if (watched && settings.weights !== "lora")
    throw new TypeError('fine-tuning of all weights cannot be watched while it trains: expected weights "lora"');
  const data = prepare(options, settings);
  const { train, validation } = data;
  if (train.length === 0)
    throw new NoExamplesError(
      `none of the ${options.rows.length} rows can be trained on: ${data.aside[0]?.reason ?? "there are none"}`,
    );
  const plan = planSteps(train, settings, seed);
  const { checkpointEvery, ...outcome } = settings;
  const start = from && (await adapterDigest(from));
  const base = await baseIdentity(model);
  const learningRate = settings.learningRate ?? (settings.weights === "lora" ? 2e-4 : 2e-5);
  const trainer = await openTrainer({
    model,
    tuning: settings.weights === "lora" ? { lora: await adapterShape(settings.lora, { model, from }) } : {},
    optimizer: optimizerOptions(settings, learningRate, plan.length),
    seed,
    from,
    expected: [...plan.map(({ examples }) => examples.map((i) => train[i]!.item)), validation.map(({ item }) => item)],
    ...memoryOptions(settings),
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  });
  try {
    const objective = trainer.objective(sftObjective);
    let lowestLoss: Uint8Array | undefined;
    const evaluate = async (step: number, progress: Progress) => {
      const { loss, accuracy } = await measure(objective.evaluate, validation);
      const lowest = Math.min(...progress.evaluations.map((one) => one.loss));
      progress.evaluations.push({ step, loss, accuracy });
      if (settings.patience > 0) {
        if (loss < lowest) lowestLoss = (await trainer.state()).parameters;
        const since = progress.evaluations.length - 1 - bestOf(progress.evaluations);
        progress.stopped = since >= settings.patience;
      }
      return { eval_loss: loss, eval_mean_token_accuracy: accuracy };
    };
    const due = (step: number) => {
      const { evaluateEvery } = settings;
      const { epoch } = plan[step - 1]!;
      return step === plan.length || (evaluateEvery > 0 ? step % evaluateEvery === 0 : Number.isInteger(epoch));
    };
    const progress = yield* trainingLoop<Progress>({
      trainer,
      checkpoints: new Checkpoints(join(folder, "checkpoints"), {
        ...{ settings: outcome, learningRate, seed, model: base, from: start, data: data.digest },
        ...(watched && { selection: selectionDigest(watched) }),
      }),
      steps: plan.length,
      checkpointEvery,
      signal,
      progress: { tokens: 0, supervised: 0, losses: [], evaluations: [], stopped: false },
      blobs: () => (lowestLoss ? { lowestLoss } : {}),
      restore: (blobs) => {
        lowestLoss = blobs.lowestLoss ?? blobs.best;
      },
      ...(watched && { watch: { options: watched, model, seed, due } }),
      take: async (step, progress) => {
        const { examples, epoch } = plan[step]!;
        const batch = examples.map((index) => train[index]!);
        const { loss, accuracy, entropy, supervised } = await measure(objective.accumulate, batch);
        const { gradNorm, learningRate } = await trainer.update();
        progress.tokens += batch.reduce((sum, { tokens }) => sum + tokens, 0);
        progress.supervised += supervised;
        progress.losses.push(loss);
        return {
          loss,
          grad_norm: gradNorm,
          learning_rate: learningRate,
          mean_token_accuracy: accuracy,
          entropy,
          num_tokens: progress.tokens,
          epoch,
          ...(validation.length > 0 && due(step + 1) ? await evaluate(step + 1, progress) : {}),
        };
      },
    });
    // What is watched is chosen by what the model says, wherever that can be judged.
    const byLoss = progress.selection?.best === undefined ? lowestLoss : undefined;
    if (byLoss) await trainer.restore({ ...(await trainer.state()), parameters: byLoss });
    const path = await keep(trainer, settings, folder);
    const kind = settings.weights === "lora" ? "adapter" : "model";
    const report = reportOf(progress, data, byLoss !== undefined);
    return { kind, path, report: { ...report, ...watchedReport(watched, progress) } };
  } finally {
    await trainer.close();
  }
}

/** Weighted cross-entropy of the completions, and what is reported of them. */
function sftObjective(graph: BatchGraph) {
  const { logprobs, correct, entropy } = graph.tokens({ entropy: true });
  const sum = (x: Tensor) => x.mul(graph.mask).sum();
  return { loss: sftLoss(logprobs, graph.value("weight")), metrics: { correct: sum(correct), entropy: sum(entropy!) } };
}

/** Runs the objective on some examples as one batch, and takes means over its supervised tokens. */
async function measure(run: (items: readonly Item[]) => Promise<Sums>, examples: readonly Example[]) {
  const supervised = examples.reduce((sum, example) => sum + example.supervised, 0);
  const { loss, correct, entropy } = (await run(weightedItems(examples))) as Record<string, number>;
  return { loss: loss!, accuracy: correct! / supervised, entropy: entropy! / supervised, supervised };
}

/** Index of the lowest loss, the first where several are. */
function bestOf(evaluations: Progress["evaluations"]): number {
  const losses = evaluations.map(({ loss }) => loss);
  return losses.indexOf(Math.min(...losses));
}

interface Prepared {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly aside: SftReport["aside"];
  readonly truncated: number;
  /** SHA-256 of what is trained and validated on. */
  readonly digest: string;
}

function prepare({ model, rows, validation: given, seed }: SftOptions, settings: SftSettings): Prepared {
  const aside: { id: string; reason: string }[] = [];
  const encode = (some: readonly ExampleRow[]) => encodeExamples(some, model, settings, aside);
  const { validationShare: share } = settings;
  const { train, validation } = given
    ? { train: rows, validation: given }
    : holdOut(rows, { seed, stage: "sft-validation", share });
  const digest = createHash("sha256");
  for (const part of [train, validation]) digestExamples(part, digest);
  const examples = { train: encode(train), validation: encode(validation) };
  return {
    ...examples,
    aside,
    truncated: Object.values(examples).reduce((sum, some) => sum + some.filter(({ cut }) => cut).length, 0),
    digest: digest.update(`${train.length}`).digest("hex"),
  };
}

/** Which examples each update is made of, and how many epochs are done with it. */
function planSteps(train: readonly Example[], settings: SftSettings, seed: number) {
  const { epochs, batchSize: size, batchTokens: tokens, shuffle } = settings;
  const natural = train.map((_, i) => i);
  return Array.from({ length: epochs }, (_, epoch) => {
    const order = shuffle ? shuffled(train.length, { seed, stage: "sft", epoch }) : natural;
    const steps = batches(order, (index) => train[index]!.tokens, { size, tokens });
    return steps.map((examples, i) => ({ examples, epoch: epoch + (i + 1) / steps.length }));
  }).flat();
}

async function keep(trainer: Trainer, settings: SftSettings, folder: string): Promise<string> {
  if (settings.weights === "lora") {
    const path = join(folder, "adapter");
    await trainer.save(path);
    return path;
  }
  const path = join(folder, "model");
  // One is there when a finished training is asked for again.
  await rm(path, { recursive: true, force: true });
  await trainer.saveWeights(path);
  return path;
}

function reportOf(progress: Progress, data: Prepared, hasBest: boolean): SftReport {
  const { losses, evaluations } = progress;
  const tenth = Math.max(1, Math.floor(losses.length / 10));
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const best = evaluations[bestOf(evaluations)];
  return {
    examples: data.train.length,
    validation: data.validation.length,
    aside: data.aside,
    truncated: data.truncated,
    steps: losses.length,
    tokens: progress.tokens,
    supervisedTokens: progress.supervised,
    firstLoss: mean(losses.slice(0, tenth)),
    lastLoss: mean(losses.slice(-tenth)),
    evaluations,
    ...(hasBest && best ? { best: { step: best.step, loss: best.loss } } : {}),
    stoppedEarly: progress.stopped,
  };
}
