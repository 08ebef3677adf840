import { type Message, randomStream } from "@tenet/data";

/** Figures of one step, under the names that TRL gives them. */
export interface MetricEvent {
  readonly step: number;
  /** Steps in all. */
  readonly of: number;
  readonly metrics: Readonly<Record<string, number>>;
  /** What models were asked for in the step, by role: `policy` for the one in training. */
  readonly usage?: Readonly<Record<string, Sampling>>;
  /** Some of what the policy said in the step, for people. */
  readonly rollouts?: readonly ShownRollout[];
}

/** A reply of a policy in training, and what it was found to be worth. */
export interface ShownRollout {
  readonly prompt: readonly Message[];
  readonly response: string;
  readonly finishReason: "stop" | "length";
  readonly score: number;
  /** Of the score, by name. */
  readonly parts: Readonly<Record<string, number>>;
  /** Estimate of KL(π‖π_ref) by this reply, in nats. */
  readonly kl: number;
  /** Of the response; of reasoning before it none. */
  readonly tokens: number;
}

/** Tokens that a model read and wrote while it was sampled from, its replies, and the time they took. */
export interface Sampling {
  readonly promptTokens: number;
  readonly completionTokens: number;
  readonly calls: number;
  readonly seconds: number;
}

/** What two askings took together. */
export function bothSamplings(one: Sampling, other: Sampling | undefined): Sampling {
  if (!other) return one;
  return {
    promptTokens: one.promptTokens + other.promptTokens,
    completionTokens: one.completionTokens + other.completionTokens,
    calls: one.calls + other.calls,
    seconds: one.seconds + other.seconds,
  };
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
