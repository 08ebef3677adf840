import {
  and,
  cast,
  constant,
  cumulativeSum,
  equal,
  exp,
  expandDims,
  gather,
  gatherAlong,
  iota,
  less,
  lessEqual,
  log,
  max,
  maximum,
  minimum,
  or,
  reshape,
  scalar,
  slice,
  sum,
  type Tensor,
  topK,
  where,
} from "@tenet/tensor";
import { blocksOf } from "./readout.ts";

/** Likeliest tokens among which the nucleus is looked for, and the largest top-k that a graph takes. */
export const mostCandidates = 1024;

/** How the rows of a block of steps are sampled, a number a row. */
export interface DrawInputs {
  /** 1 / temperature, float64; of greedy rows it counts for nothing. */
  readonly scale: Tensor;
  /** bool */
  readonly greedy: Tensor;
  /** In [0, 1), float64. */
  readonly uniform: Tensor;
  /** Whether tokens that end a text are left out, bool. */
  readonly barred: Tensor;
  /** Where the graph has filters: the nucleus (1: all), float64; how many of the likeliest (0: all), int32; least share of the likeliest's, float64. */
  readonly filters?: { readonly topP: Tensor; readonly topK: Tensor; readonly minP: Tensor };
}

export interface Drawn {
  /** int32 [rows]; −1 where the nucleus is wider than what was looked at, or logits are not numbers. */
  readonly token: Tensor;
  /** What it would be, were it sure: what a next step can be fed. */
  readonly guess: Tensor;
  /** ln P(token) under the unmodified distribution, float32 [rows]. */
  readonly logprob: Tensor;
}

/**
 * Draws a token a row as `sampleToken` does: temperature, top-k, nucleus, min-p, then the uniform number picks by token id. Weights and
 * their sums are in double precision like those of `sampleToken`, so that a draw differs from its only where the uniform number, or
 * the nucleus' edge, is within some 10⁻¹² of the boundary between two tokens.
 * logits float32 [rows, vocabulary]
 */
export function drawTokens(
  logits: Tensor,
  { scale, greedy, uniform, barred, filters }: DrawInputs,
  { vocabulary, ends }: { readonly vocabulary: number; readonly ends: readonly number[] },
): Drawn {
  const { width, count } = blocksOf(vocabulary);
  const isEnd = constant(
    Uint8Array.from({ length: vocabulary }, (_, id) => Number(ends.includes(id))),
    [vocabulary],
  );
  const allowed = where(and(column(barred), isEnd), scalar(Number.NEGATIVE_INFINITY), logits);
  const peak = max(allowed, 1, { keepDims: true });
  const weigh = (x: Tensor) => exp(cast(x, "float64").sub(cast(peak, "float64")).mul(column(scale)));
  // The likeliest, and nothing else: of equals the first in order, since the number it is picked by is 0.
  const plain = where(column(greedy), cast(equal(allowed, peak), "float64"), weigh(allowed));
  const { weights, covered } = filters ? filtered(allowed, plain, weigh, filters, vocabulary) : { weights: plain, covered: undefined }; // biome-ignore format: one choice

  // The block of the vocabulary in which the cumulative weight passes the number, and the place in it.
  const sums = sum(reshape(weights, ["rows", count, width]), 2);
  const upTo = cumulativeSum(sums, 1);
  const goal = column(uniform).mul(slice(upTo, 1, count - 1));
  const block = minimum(passed(upTo, goal), count - 1);
  const before = gatherAlong(cumulativeSum(sums, 1, { exclusive: true }), column(block), 1);
  const within = gather(reshape(weights, [-1, width]), iota("rows").mul(count).add(block));
  const inner = cumulativeSum(within, 1);
  const place = passed(inner, maximum(goal.sub(before), 0));
  // Rounding may leave a remainder behind the last token that weighs anything.
  const last = sum(cast(less(inner, slice(inner, 1, width - 1)), "int32"), 1);
  const guess = block.mul(width).add(minimum(place, last));

  const highest = cast(max(logits, 1, { keepDims: true }), "float64");
  const all = sum(exp(cast(logits, "float64").sub(highest)), 1);
  const chosen = gather(reshape(logits, [-1]), iota("rows").mul(vocabulary).add(guess));
  const logprob = cast(chosen, "float64")
    .sub(reshape(highest, ["rows"]))
    .sub(log(all));
  // x − x is 0 for numbers alone.
  const numbers = and(equal(logprob.sub(logprob), 0), less(reshape(max(weights, 1), ["rows"]).neg(), 0));
  const sure = covered ? and(numbers, covered) : numbers;
  return { token: where(sure, guess, scalar(-1, "int32")), guess, logprob: cast(logprob, "float32") };
}

/** [rows] → [rows, 1] */
const column = (x: Tensor) => expandDims(x, 1);

/** How many of a row's cumulative weights a number has passed: x [rows, n], number [rows, 1] → int32 [rows]. */
function passed(x: Tensor, number: Tensor): Tensor {
  return sum(cast(lessEqual(x, number), "int32"), 1);
}

/** Weights of what the filters leave, and whether the nucleus was found among the likeliest. */
function filtered(
  allowed: Tensor,
  plain: Tensor,
  weigh: (x: Tensor) => Tensor,
  { topP, topK: limit, minP }: NonNullable<DrawInputs["filters"]>,
  vocabulary: number,
): { weights: Tensor; covered: Tensor } {
  const candidates = Math.min(mostCandidates, vocabulary);
  const { values, indices } = topK(allowed, candidates);
  // Of top-k all that equal its last stay.
  const least = gatherAlong(values, column(maximum(limit.sub(1), 0)), 1);
  const floor = where(less(column(limit), 1), scalar(Number.NEGATIVE_INFINITY), least);
  const weights = plain.mul(cast(lessEqual(floor, allowed), "float64"));
  const leading = cumulativeSum(weigh(values).mul(cast(lessEqual(floor, values), "float64")), 1);
  const target = topP.mul(sum(weights, 1));
  const place = minimum(sum(cast(less(leading, column(target)), "int32"), 1), candidates - 1);
  const edge = gatherAlong(values, column(place), 1);
  // Of those that weigh as much as the nucleus' last, the first ones in order belong to it.
  const tied = and(equal(allowed, edge), lessEqual(iota(vocabulary), gatherAlong(indices, column(place), 1)));
  const whole = lessEqual(1, topP);
  const nucleus = or(column(whole), or(less(edge, allowed), tied));
  const kept = and(nucleus, lessEqual(column(minP), plain));
  const reached = lessEqual(target, reshape(slice(leading, 1, candidates - 1), ["rows"]));
  const covered = candidates === vocabulary ? or(whole, lessEqual(topP, 1)) : or(whole, reached);
  return { weights: weights.mul(cast(kept, "float64")), covered };
}
