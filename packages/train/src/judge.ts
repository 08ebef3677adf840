import { createHash } from "node:crypto";
import { join } from "node:path";
import type { Prompt } from "@tenet/lm";
import { type DeviceName, greater, type Tensor } from "@tenet/tensor";
import { z } from "zod";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { unlessRefused } from "./encode.ts";
import { JudgeError, NoExamplesError } from "./errors.ts";
import { baseIdentity } from "./fingerprint.ts";
import type { TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { batches, type MetricEvent, shuffled } from "./loop.ts";
import { openTrainer } from "./open-trainer.ts";
import type { Item } from "./packing.ts";
import { preferenceLoss } from "./preference.ts";
import { loraConfig, loraSettingsSchema, memoryOptions, optimizerOptions, trainingFields } from "./settings.ts";
import { trainingLoop } from "./training-loop.ts";

/** Settings of a judge's training. METHODS §3. */
export const judgeSettingsSchema = z
  .strictObject({
    lora: loraSettingsSchema.prefault({}).describe("The adapter that is trained."),
    epochs: z.int().min(1).default(1).describe("Passes over the pairs."),
    batchSize: z.int().min(1).default(16).describe("Pairs of an update, each asked in every order."),
    learningRate: z.number().positive().default(3e-4).describe("At its highest."),
    ...trainingFields,
  })
  .describe("Fine-tuning on multiple-choice questions whose answer is known.");
export type JudgeSettings = z.output<typeof judgeSettingsSchema>;

/** A pair with a known answer, as the questions that a judge is asked about it. */
export interface JudgeRow {
  readonly id: string;
  /** In every row as many, as a rule both orders of the options: what they begin with alike is computed once. */
  readonly questions: readonly {
    /** Ends where the letter of the answer is to follow. */
    readonly prompt: Prompt;
    /** Probability that option (A) is right. */
    readonly p: number;
  }[];
  readonly weight: number;
}

export interface JudgeOptions {
  readonly model: TrainableModel;
  readonly rows: readonly JudgeRow[];
  /** Easy pairs, learnt once before the others: to compare, and to name the letter, before what is compared is hard to tell. */
  readonly warmup?: readonly JudgeRow[] | undefined;
  /** What names the options, such as A and B. */
  readonly letters: readonly [string, string];
  readonly settings: z.input<typeof judgeSettingsSchema>;
  readonly seed: number;
  /** Receives `adapter` and `checkpoints`; a folder with checkpoints of the same training is continued. */
  readonly folder: string;
  /** Adapter of an earlier stage to begin from. */
  readonly from?: string | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

export interface JudgeReport {
  readonly pairs: number;
  /** Those learnt before them, where there were any. */
  readonly warmupPairs?: number;
  /** Rows that were not used, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  readonly steps: number;
  readonly tokens: number;
}

export interface JudgeResult {
  /** Folder of the adapter in PEFT's format. */
  readonly path: string;
  readonly report: JudgeReport;
}

/**
 * Trains a judge: L = −Σ w·[p·ln σ(Δ) + (1 − p)·ln σ(−Δ)] with Δ = ℓ_A − ℓ_B, the log-probabilities of the two letters behind a
 * question, p the known probability that (A) is right, w the pair's weight over its questions. What labels are read from is
 * thus what is trained. METHODS §3; the loss is `preferenceLoss`. Δ is a difference of logits: the rest of the
 * vocabulary cancels and is not computed.
 *
 * Events: `loss` (weighted mean over the update's questions, nats), `accuracy` (of questions with p ≠ ½; absent without any),
 * `margin` (mean of Δ towards the right letter), `first` (share of questions answered with the first letter), `grad_norm`,
 * `learning_rate`, `num_tokens`, `epoch`. A killed run continues from its last checkpoint and ends with the same bytes.
 * Errors: NoExamplesError, CheckpointMismatchError, JudgeError for letters that are not a token each or rows of different
 * numbers of questions.
 */
export async function* trainJudge(options: JudgeOptions): AsyncGenerator<MetricEvent, JudgeResult> {
  const { model, rows, seed, folder, from, signal, device, threads } = options;
  const settings = judgeSettingsSchema.parse(options.settings);
  const { epochs, batchSize, learningRate, checkpointEvery, ...outcome } = settings;
  const aside: { id: string; reason: string }[] = [];
  const given = prepare(rows, model, settings.maxLength, aside);
  if (given.length === 0)
    throw new NoExamplesError(
      `none of the ${rows.length} pairs can be trained on: ${aside[0]?.reason ?? "there are none"}`,
    );
  const letters = tokensOf(options);
  const easy = prepare(options.warmup ?? [], model, settings.maxLength, aside);
  const asked = [...given, ...easy];
  const first = shuffled(easy.length, { seed, stage: "judge-warmup", epoch: 0 }).map((i) => given.length + i);
  const plan = [
    ...batches(first, () => 1, { size: batchSize }).map((pairs) => ({ pairs, epoch: 0 })),
    ...Array.from({ length: epochs }, (_, epoch) => {
      const order = shuffled(given.length, { seed, stage: "judge", epoch });
      const steps = batches(order, () => 1, { size: batchSize });
      return steps.map((pairs, i) => ({ pairs, epoch: epoch + (i + 1) / steps.length }));
    }).flat(),
  ];
  const trainer = await openTrainer({
    model,
    tuning: { lora: loraConfig(settings.lora) },
    optimizer: optimizerOptions(settings, learningRate, plan.length),
    seed,
    from,
    expected: plan.map(({ pairs }) => pairs.map((i) => asked[i]!.item)),
    sequencesPerItem: asked[0]!.item.sequences.length,
    ...memoryOptions(settings),
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  });
  try {
    const objective = trainer.objective((graph) => judgeObjective(graph, letters));
    const progress = yield* trainingLoop<{ tokens: number }>({
      trainer,
      checkpoints: new Checkpoints(join(folder, "checkpoints"), {
        settings: { epochs, batchSize, learningRate, ...outcome },
        seed,
        model: await baseIdentity(model),
        from: from && (await adapterDigest(from)),
        data: digestOf(asked, letters),
      }),
      steps: plan.length,
      checkpointEvery,
      signal,
      progress: { tokens: 0 },
      take: async (step, progress) => {
        const { pairs, epoch } = plan[step]!;
        const batch = pairs.map((i) => asked[i]!);
        const { loss, right, margin, first } = (await objective.accumulate(weighted(batch))) as Record<string, number>;
        const { gradNorm, learningRate: rate } = await trainer.update();
        progress.tokens += batch.reduce((sum, { tokens }) => sum + tokens, 0);
        const questions = batch.flatMap(({ answers }) => answers);
        const decided = questions.filter((p) => p !== 0.5).length;
        return {
          loss: loss!,
          ...(decided > 0 && { accuracy: right! / decided, margin: margin! / decided }),
          first: first! / questions.length,
          grad_norm: gradNorm,
          learning_rate: rate,
          num_tokens: progress.tokens,
          epoch,
        };
      },
    });
    const path = join(folder, "adapter");
    await trainer.save(path);
    return {
      path,
      report: {
        pairs: given.length,
        ...(easy.length > 0 && { warmupPairs: easy.length }),
        aside,
        steps: plan.length,
        tokens: progress.tokens,
      },
    };
  } finally {
    await trainer.close();
  }
}

/** A row as the trainer takes it. */
interface AskedPair {
  readonly item: Item;
  readonly tokens: number;
  /** Of each question, the probability that its first option is right. */
  readonly answers: readonly number[];
  readonly weight: number;
}

function prepare(
  rows: readonly JudgeRow[],
  model: TrainableModel,
  maxLength: number,
  aside: { id: string; reason: string }[],
): AskedPair[] {
  const longest = Math.min(maxLength, model.config.max_position_embeddings);
  const count = rows[0]?.questions.length;
  return rows.flatMap(({ id, questions, weight }): AskedPair[] => {
    if (questions.length !== count || count === 0)
      throw new JudgeError(
        `pair ${id} has ${questions.length} questions, the first one ${count}; expected as many of each`,
      );
    if (weight === 0) {
      aside.push({ id, reason: "its weight is 0" });
      return [];
    }
    const encoded = unlessRefused(() => questions.map(({ prompt }) => model.text.encodePrompt(prompt)));
    if ("refused" in encoded) {
      aside.push({ id, reason: encoded.refused });
      return [];
    }
    const sequences = encoded.value.map((tokens) => ({ tokens, chosen: [tokens.length - 1] }));
    const most = Math.max(...sequences.map(({ tokens }) => tokens.length));
    if (most > longest) {
      aside.push({ id, reason: `its questions have up to ${most} tokens, more than ${longest}` });
      return [];
    }
    const tokens = sequences.reduce((sum, sequence) => sum + sequence.tokens.length, 0);
    return [{ item: { sequences }, tokens, answers: questions.map(({ p }) => p), weight }];
  });
}

/** The items of an update, with what its loss takes beside each question: the answer, its side, and a share of the whole. */
function weighted(batch: readonly AskedPair[]): Item[] {
  const total = batch.reduce((sum, { weight, answers }) => sum + weight * answers.length, 0);
  return batch.map(({ item, answers, weight }): Item => {
    const sequences = item.sequences.map((sequence, k) => {
      const p = answers[k]!;
      return { ...sequence, values: { p: [p], weight: [weight / total], side: [Math.sign(p - 0.5)] } };
    });
    return { sequences };
  });
}

/** The loss of a micro-batch of questions, and sums to report. */
function judgeObjective(graph: BatchGraph, letters: readonly [number, number]) {
  const logits = graph.logits(letters); // [n, 2]
  const [a, b] = [0, 1].map((k) => logits.slice(1, k, k + 1).reshape([logits.dim(0)])) as [Tensor, Tensor];
  const difference = a.sub(b);
  const towards = difference.mul(graph.value("side")); // 0 at ½ and where padded
  return {
    loss: preferenceLoss(difference, graph.value("p"), graph.value("weight")),
    metrics: {
      right: greater(towards, 0).cast("float32").sum(),
      margin: towards.sum(),
      first: greater(difference, 0).cast("float32").mul(graph.mask).sum(),
    },
  };
}

/** The letters' tokens as they are scored: behind a question. Which question does not matter, since all end alike. */
function tokensOf({ model, letters, rows }: JudgeOptions): [number, number] {
  const prompts = rows.flatMap(({ questions }) => questions.map(({ prompt }) => prompt));
  const taken = prompts.find((prompt) => "value" in unlessRefused(() => model.text.encodePrompt(prompt)))!;
  const { texts } = model.text.encodeBehind(taken, letters);
  return letters.map((letter, i) => {
    const tokens = texts[i]!;
    if (tokens.length !== 1)
      throw new JudgeError(
        `"${letter}" is ${tokens.length} tokens of ${model.id}; a judge is trained on letters that are one: give a model whose vocabulary has them`,
      );
    return tokens[0]!;
  }) as [number, number];
}

/** SHA-256 of what the questions are to training. */
function digestOf(pairs: readonly AskedPair[], letters: readonly number[]): string {
  const digest = createHash("sha256").update(JSON.stringify(letters));
  for (const { item, answers, weight } of pairs)
    digest.update(JSON.stringify([item.sequences.map(({ tokens }) => tokens), answers, weight]));
  return digest.digest("hex");
}
