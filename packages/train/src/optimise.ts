import { type Experience, sampleItem } from "./actor.ts";
import { moments } from "./advantages.ts";
import type { Constraint } from "./constraint.ts";
import { shuffled } from "./loop.ts";
import type { Item } from "./packing.ts";
import type { Sample } from "./rollout.ts";
import type { Step } from "./terms.ts";
import type { Sums } from "./trainer.ts";

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

/**
 * What each response of an iteration is worth to an algorithm that takes it as one number: its reward, or (R − λC)/(1 + λ) under a constraint,
 * whose λ moves before; and what there is to report of that. METHODS §6.
 */
export function constrained(
  { rewarded, costs }: Pick<Experience, "rewarded" | "costs">,
  constraint: Constraint | undefined,
  iteration: number,
): { readonly scores: readonly number[]; readonly metrics: Record<string, number> } {
  const scores = rewarded.map(({ reward }) => reward);
  if (!constraint) return { scores, metrics: {} };
  constraint.observe(costs!);
  constraint.move(iteration);
  return {
    scores: scores.map((score, i) => constraint.combine(score, costs![i]!)),
    metrics: constraint.metrics(costs!),
  };
}

/** Mean of a metric over the updates that have it. */
export function average(updates: readonly Update[], metric: string): number {
  const values = updates.flatMap((update) => update[metric] ?? []);
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** A step of the clipped policy loss as an update; metrics of terms beside it keep their names. */
export function policyUpdate(
  { loss, ratio, clipFraction, approxKl }: Sums,
  { gradNorm, learningRate, metrics }: Omit<Step, "sums">,
): Update {
  return {
    ...{ loss, ratio: ratio!, clipFraction: clipFraction!, approxKl: approxKl!, gradNorm, learningRate },
    ...metrics,
  };
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
  // What terms of the loss report has the names it is to have.
  const termNames = new Set(updates.flatMap((update) => Object.keys(update).filter((name) => name.includes("/"))));
  return {
    lr: updates.at(-1)!.learningRate!,
    "loss/policy_avg": average(updates, "loss"),
    "policy/approxkl_avg": average(updates, "approxKl"),
    "policy/clipfrac_avg": average(updates, "clipFraction"),
    "policy/grad_norm_avg": average(updates, "gradNorm"),
    "policy/updates": updates.length,
    "val/ratio": average(updates, "ratio"),
    "val/ratio_var": moments(updates.map(({ ratio }) => ratio!)).variance,
    ...Object.fromEntries([...termNames].map((name) => [name, average(updates, name)])),
  };
}
