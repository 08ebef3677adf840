import { sampleItem } from "./actor.ts";
import { moments } from "./advantages.ts";
import { shuffled } from "./loop.ts";
import type { Item } from "./packing.ts";
import type { Sample } from "./rollout.ts";

export interface OptimiseOptions {
  readonly seed: number;
  readonly iteration: number;
  /** Responses of the iteration. */
  readonly count: number;
  readonly epochs: number;
  readonly minibatches: number;
  readonly targetKl?: number | undefined;
}

/** Metrics of one update. */
export interface Update {
  readonly loss: number;
  /** ½(log ρ)², what an early end looks at. */
  readonly approxKl: number;
  readonly [metric: string]: number;
}

/**
 * Goes through an iteration's responses `epochs` times, each time in a new order and in `minibatches` parts of equal size (to
 * one), and has each part learned. Ends after a pass whose mean `approxKl` exceeds `targetKl`. The order is a function of
 * (seed, iteration, pass).
 * @param learn makes one update on the responses with these numbers
 * @returns the metrics of every update, in order
 */
export async function optimise(
  { seed, iteration, count, epochs, minibatches, targetKl }: OptimiseOptions,
  learn: (batch: readonly number[]) => Promise<Update>,
): Promise<readonly Update[]> {
  const updates: Update[] = [];
  const parts = Math.min(minibatches, count);
  for (let epoch = 0; epoch < epochs; epoch++) {
    const order = shuffled(count, { seed, stage: `minibatches ${iteration}`, epoch });
    const edge = (part: number) => Math.round((part * count) / parts);
    for (let part = 0; part < parts; part++) updates.push(await learn(order.slice(edge(part), edge(part + 1))));
    if (targetKl !== undefined && average(updates.slice(-parts), "approxKl") > targetKl) break;
  }
  return updates;
}

/** Mean of a metric over updates. */
export function average(updates: readonly Update[], metric: string): number {
  return updates.reduce((sum, update) => sum + update[metric]!, 0) / updates.length;
}

/**
 * Responses as one minibatch for a mean over all their tokens: beside each token the named values, and `weight`, 1 over the
 * minibatch's tokens.
 */
export function tokenMinibatch(
  batch: readonly number[],
  samples: readonly Sample[],
  values: Readonly<Record<string, readonly ArrayLike<number>[]>>,
): Item[] {
  const tokens = batch.reduce((sum, i) => sum + samples[i]!.tokens.length, 0);
  return batch.map((i) => {
    const own = Object.fromEntries(Object.entries(values).map(([name, rows]) => [name, rows[i]!]));
    const weight = new Float32Array(samples[i]!.tokens.length).fill(1 / tokens);
    return sampleItem(samples[i]!, { ...own, weight });
  });
}

/** What policy updates have in common, under the names of TRL's trainers. */
export function policyMetrics(updates: readonly Update[]): Record<string, number> {
  return {
    lr: updates.at(-1)!.learningRate!,
    "loss/policy_avg": average(updates, "loss"),
    "policy/approxkl_avg": average(updates, "approxKl"),
    "policy/clipfrac_avg": average(updates, "clipFraction"),
    "policy/grad_norm_avg": average(updates, "gradNorm"),
    "policy/updates": updates.length,
    "val/ratio": average(updates, "ratio"),
    "val/ratio_var": moments(updates.map(({ ratio }) => ratio!)).variance,
  };
}
