import { randomStream } from "@tenet/data";
import type { z } from "zod";
import type { Checkpoints } from "./checkpoint.ts";
import type { Trainer } from "./trainer.ts";

/** Figures of one step, under the names that TRL gives them. */
export interface MetricEvent {
  readonly step: number;
  /** Steps in all. */
  readonly of: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** What the step sampled, where it did. */
  readonly sampling?: Sampling;
}

/** Tokens that a model read and wrote while it was sampled from, its replies, and the time they took. */
export interface Sampling {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly calls: number;
  readonly seconds: number;
}

/** The items 0 … count − 1 in the order of an epoch: Fisher and Yates' shuffle, a function of (seed, stage, epoch) only. */
export function shuffled(count: number, key: { seed: number; stage: string; epoch: number }): number[] {
  const stream = randomStream({ seed: key.seed, stage: key.stage, item: "order", sample: key.epoch });
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = stream.integer(i, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/**
 * Cuts an order into batches of `size` items, or, where `tokens` is given, of as many as stay within that many tokens (at least
 * one). The last may be smaller.
 */
export function batches(
  order: readonly number[],
  lengthOf: (item: number) => number,
  { size, tokens }: { size: number; tokens?: number | undefined },
): number[][] {
  const result: number[][] = [];
  let sum = 0;
  for (const item of order) {
    const length = lengthOf(item);
    const last = result.at(-1);
    if (last && (tokens === undefined ? last.length < size : sum + length <= tokens)) {
      last.push(item);
      sum += length;
    } else {
      result.push([item]);
      sum = length;
    }
  }
  return result;
}

export interface LoopOptions<Progress> {
  readonly trainer: Trainer;
  readonly checkpoints: Checkpoints;
  readonly steps: number;
  readonly checkpointEvery: number;
  readonly signal?: AbortSignal | undefined;
  /** What to continue from where there is no checkpoint; replaced by the checkpoint's. */
  readonly progress: Progress;
  /** Further arrays of the stage, kept in each checkpoint and handed back to `restore`. */
  readonly blobs?: () => Record<string, Uint8Array>;
  readonly restore?: (blobs: Readonly<Record<string, Uint8Array>>) => void;
  /** One update. Reads and changes `progress`; setting `stopped` there ends the loop. */
  readonly take: (step: number, progress: Progress) => Promise<Record<string, number>>;
}

/**
 * Takes steps until all are done, from the last checkpoint if there is one. Aborting saves where it stands and throws the
 * signal's reason. Returns the final progress.
 */
export async function* trainingLoop<Progress extends z.core.util.JSONType & { stopped?: boolean }>(
  options: LoopOptions<Progress>,
): AsyncGenerator<MetricEvent, Progress> {
  const { trainer, checkpoints, steps, checkpointEvery, signal, take } = options;
  const found = await checkpoints.latest();
  if (found) {
    const { parameters, optimizer, ...others } = found.blobs as Record<"parameters" | "optimizer", Uint8Array>;
    trainer.restore({ parameters, optimizer });
    options.restore?.(others);
  }
  const progress = found ? (found.progress as Progress) : options.progress;
  let saved = found?.step ?? 0;
  const save = async () => {
    saved = trainer.step;
    await checkpoints.save({ step: saved, progress, blobs: { ...trainer.state(), ...options.blobs?.() } });
  };
  while (trainer.step < steps && !progress.stopped) {
    if (signal?.aborted) {
      if (trainer.step > saved) await save();
      throw signal.reason;
    }
    const metrics = await take(trainer.step, progress);
    if (trainer.step % checkpointEvery === 0 || trainer.step === steps || progress.stopped) await save();
    yield { step: trainer.step, of: steps, metrics };
  }
  return progress;
}
