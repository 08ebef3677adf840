import { UsageError } from "./errors.ts";
import type { SamplingOptions } from "./types.ts";

export type FilterOptions = Pick<SamplingOptions, "temperature" | "topP" | "topK" | "minP" | "repetitionPenalty">;

export interface Sampled {
  token: number;
  /** ln P(token) under the unmodified distribution; present when `logprobs` is set. */
  logprob?: number;
  /** The `logprobs` likeliest tokens of the unmodified distribution, best first. */
  top?: { token: number; logprob: number }[];
}

/**
 * Draws a token: repetition penalty, then temperature, top-k, top-p, min-p (the order of transformers), then `uniform`
 * picks from what is left, by token id.
 *
 * `logits` [vocabulary] are left as they are; `history` holds the ids of prompt and reply so far, for the penalty.
 * Temperature 0 takes the likeliest token after the penalty, ties to the lower id. Log-probabilities are natural and
 * those of the model itself: temperature 1, no penalty, no filter. They are what importance ratios and KL need, and they
 * stay comparable across sampling settings.
 * Errors: UsageError for logits that are NaN, +∞, or all −∞.
 * Source: CTRL (Keskar et al. 2019, penalty), Holtzman et al. 2020 (top-p), Nguyen et al. 2024 (min-p).
 *
 * @example
 * sampleToken(new Float32Array([0, 5, 1]), { ...plain, temperature: 0 }, 0.5).token; // 1
 */
export function sampleToken(
  logits: Float32Array,
  options: FilterOptions & { logprobs?: number | undefined },
  uniform: number,
  history: Iterable<number> = [],
): Sampled {
  const adjusted = penalise(logits, options.repetitionPenalty, history);
  const best = argmax(adjusted);
  let token = best;
  let everything = Number.NaN;
  if (options.temperature > 0) {
    const { ids, weights, count, total, unfiltered } = filter(adjusted, best, options);
    if (unfiltered && adjusted === logits && options.temperature === 1) everything = total;
    token = ids[draw(weights, count, uniform)]!;
  }
  if (options.logprobs === undefined) return { token };

  const peak = adjusted === logits ? best : argmax(logits);
  const normaliser = logits[peak]! + Math.log(Number.isNaN(everything) ? sumExp(logits, logits[peak]!) : everything);
  const logprob = (id: number) => logits[id]! - normaliser;
  const top = largest(logits, options.logprobs).map((id) => ({ token: id, logprob: logprob(id) }));
  return { token, logprob: logprob(token), top };
}

/**
 * The distribution that `sampleToken` draws from, [vocabulary], summing to 1.
 *
 * Errors: as sampleToken. For exactness checks of speculative decoding, and for tests.
 */
export function samplingDistribution(
  logits: Float32Array,
  options: FilterOptions,
  history: Iterable<number> = [],
): Float64Array {
  const adjusted = penalise(logits, options.repetitionPenalty, history);
  const probabilities = new Float64Array(logits.length);
  const best = argmax(adjusted);
  if (options.temperature === 0) {
    probabilities[best] = 1;
    return probabilities;
  }
  const { ids, weights, count } = filter(adjusted, best, options);
  let kept = 0;
  for (let i = 0; i < count; i++) kept += weights[i]!;
  for (let i = 0; i < count; i++) probabilities[ids[i]!] = weights[i]! / kept;
  return probabilities;
}

/** ln softmax(logits), [vocabulary], in double precision. */
export function logSoftmax(logits: Float32Array): Float64Array {
  const max = logits[argmax(logits)]!;
  const normaliser = max + Math.log(sumExp(logits, max));
  return Float64Array.from(logits, (x) => x - normaliser);
}

// Buffers of one vocabulary, kept between calls: allocating them anew would cost more than the sampling.
let scratch = buffers(0);
function buffers(size: number) {
  return {
    adjusted: new Float32Array(size),
    ids: new Int32Array(size),
    weights: new Float64Array(size),
    work: new Float64Array(size),
  };
}
function scratchFor(size: number) {
  if (scratch.ids.length < size) scratch = buffers(size);
  return scratch;
}

function penalise(logits: Float32Array, penalty: number, history: Iterable<number>): Float32Array {
  if (penalty === 1) return logits;
  const adjusted = scratchFor(logits.length).adjusted.subarray(0, logits.length);
  adjusted.set(logits);
  for (const id of history) {
    // Read from the original, so that a token met twice is penalised once.
    const logit = logits[id];
    if (logit !== undefined) adjusted[id] = logit < 0 ? logit * penalty : logit / penalty;
  }
  return adjusted;
}

function argmax(logits: Float32Array): number {
  let best = -1;
  let max = Number.NEGATIVE_INFINITY;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!;
    if (x <= max) continue;
    if (Number.isNaN(x)) throw new UsageError(`logit ${i} is NaN`);
    max = x;
    best = i;
  }
  if (best < 0) throw new UsageError(`none of ${logits.length} tokens has a finite logit`);
  if (max === Number.POSITIVE_INFINITY) throw new UsageError(`logit ${best} is infinite`);
  return best;
}

function sumExp(logits: Float32Array, max: number): number {
  let sum = 0;
  for (let i = 0; i < logits.length; i++) sum += exp(logits[i]! - max);
  return sum;
}

// A vocabulary of exponentials is most of the cost of a draw, so they are computed as 2^whole · 2^(part/256) · e^rest by two
// tables and a cubic: relative error below 3e-12 (rest < 0.0028), a fifth of the time of Math.exp.
const powersOfTwo = Float64Array.from({ length: 1076 }, (_, k) => 2 ** -k);
const fractions = Float64Array.from({ length: 256 }, (_, j) => 2 ** (j / 256));

/** e^x for x ≤ 0. */
function exp(x: number): number {
  if (!(x > -745)) return 0;
  const steps = Math.floor(x * (256 / Math.LN2));
  const rest = x - steps * (Math.LN2 / 256);
  return powersOfTwo[-(steps >> 8)]! * fractions[steps & 255]! * (1 + rest * (1 + rest * (0.5 + rest * (1 / 6))));
}

/** 1/T. Of temperatures that no float32 can be divided by it is that of one that already leaves the likeliest alone. */
export function inverseTemperature(temperature: number): number {
  return 1 / Math.max(temperature, 1e-30);
}

/** Leaves the kept tokens' ids, ascending, and weights exp((logit − max)/T) in the first `count` places. */
function filter(adjusted: Float32Array, best: number, { temperature, topK, topP, minP }: FilterOptions) {
  const { ids, weights, work } = scratchFor(adjusted.length);
  const size = adjusted.length;
  const max = adjusted[best]!;
  const scale = inverseTemperature(temperature);
  const limited = topK > 0 && topK < size;
  if (topP < 1 && !limited) {
    const count = likelyNucleus(adjusted, max, scale, topP);
    if (count > 0)
      return { ids, weights, count: minP > 0 ? keepShare(count, minP) : count, total: 0, unfiltered: false };
  }
  let floor = limited ? adjusted[largest(adjusted, topK).at(-1)!]! : Number.NEGATIVE_INFINITY;
  // Alone, min-p needs no sum over the vocabulary: it is a floor too (made a little lower; the exact test is below).
  const bounded = minP > 0 && topP === 1;
  if (bounded) floor = Math.max(floor, max + temperature * Math.log(minP) - 1e-3 * (1 + Math.abs(max)));
  let { count, total } = weigh(adjusted, max, scale, floor);
  let unfiltered = !limited;

  if (topP < 1) {
    unfiltered = false;
    // Tokens lighter than this weigh, all together, less than 1 − topP: they cannot be in the nucleus.
    const negligible = ((1 - topP) * total) / count;
    let candidates = 0;
    for (let i = 0; i < count; i++) if (weights[i]! >= negligible) work[candidates++] = weights[i]!;
    count = keepNucleus(count, nucleus(work, candidates, topP * total));
  }
  if (minP > 0) {
    unfiltered = false;
    count = keepShare(count, minP);
  }
  return { ids, weights, count, total, unfiltered };
}

// Bins of logits by how far below the largest they are, in units of the temperature: what weighs less than e^-40 weighs nothing.
const binsPerUnit = 256;
const bins = 40 * binsPerUnit;
const binWeights = Float64Array.from({ length: bins }, (_, bin) => Math.exp(-(bin + 0.5) / binsPerUnit));
const binCounts = new Int32Array(bins);
/** e^x is above 1 + x by less than x²/2 · e^x; x is half a bin at most. What lies beyond the bins is less than 10⁻¹¹ of the sum. */
const sumError = 2e-6;

/**
 * Leaves the nucleus as `filter` does, at about half the cost: the sum of all weights is taken from a table, exact to `sumError`, and only
 * tokens of the bins that hold the nucleus are weighed. 0 where the error leaves open which token is the nucleus' last.
 */
function likelyNucleus(logits: Float32Array, max: number, scale: number, topP: number): number {
  const perLogit = binsPerUnit * scale;
  binCounts.fill(0);
  let least = 0;
  for (let i = 0; i < logits.length; i++) {
    const place = (max - logits[i]!) * perLogit;
    if (!(place < bins)) continue;
    const bin = place | 0;
    binCounts[bin]!++;
    least += binWeights[bin]! * (1 + (bin + 0.5 - place) / binsPerUnit);
  }
  const most = least * (1 + sumError);
  // A token weighs at least e^(−1/2 bin) of its bin's weight.
  let [bin, mass] = [0, 0];
  for (const enough = topP * most * Math.exp(0.5 / binsPerUnit); bin < bins && mass < enough; bin++)
    mass += binCounts[bin]! * binWeights[bin]!;
  const { count } = weigh(logits, max, scale, max - bin / perLogit);
  const { work, weights } = scratch;
  work.set(weights.subarray(0, count));
  const found = nucleus(work, count, topP * least);
  // The nucleus of the least sum is that of every sum which its mass suffices for.
  return found.mass >= topP * most ? keepNucleus(count, found) : 0;
}

/** Leaves ids, ascending, and weights exp((logit − max) · scale) of logits that are not below the floor in the first `count` places. */
function weigh(logits: Float32Array, max: number, scale: number, floor: number): { count: number; total: number } {
  const { ids, weights } = scratchFor(logits.length);
  let count = 0;
  let total = 0;
  for (let i = 0; i < logits.length; i++) {
    const x = logits[i]!;
    if (x < floor) continue;
    const weight = exp((x - max) * scale);
    ids[count] = i;
    weights[count++] = weight;
    total += weight;
  }
  return { count, total };
}

function keepNucleus(count: number, { threshold, ties }: { threshold: number; ties: number }): number {
  let tiesLeft = ties;
  return keep(count, (weight) => weight > threshold || (weight === threshold && tiesLeft-- > 0));
}

/** Weights are shares of the likeliest token's, which is 1. */
function keepShare(count: number, minP: number): number {
  return keep(count, (weight) => weight >= minP);
}

function keep(count: number, test: (weight: number) => boolean): number {
  const { ids, weights } = scratch;
  let kept = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights[i]!;
    if (!test(weight)) continue;
    ids[kept] = ids[i]!;
    weights[kept++] = weight;
  }
  return kept;
}

/**
 * The least weight in the smallest set of heaviest weights whose sum reaches `target`, how many equal to it the set
 * takes, and the set's sum. A selection by mass: it partitions like quicksort but descends into one side only.
 */
function nucleus(
  weights: Float64Array,
  count: number,
  target: number,
): { threshold: number; ties: number; mass: number } {
  let from = 0;
  let to = count;
  let above = 0; // mass known to be inside, all heavier than weights[from..to)
  for (;;) {
    const pivot = median(weights[from]!, weights[(from + to) >> 1]!, weights[to - 1]!);
    // Three parts: heavier than the pivot, equal to it, lighter.
    let heavier = from;
    let lighter = to;
    let mass = 0;
    let equal = 0;
    for (let i = from; i < lighter; ) {
      const weight = weights[i]!;
      if (weight > pivot) {
        weights[i++] = weights[heavier]!;
        weights[heavier++] = weight;
        mass += weight;
      } else if (weight < pivot) {
        weights[i] = weights[--lighter]!;
        weights[lighter] = weight;
      } else {
        i++;
        equal++;
      }
    }
    if (above + mass >= target && heavier > from) {
      to = heavier;
    } else if (above + mass + equal * pivot >= target || lighter === to) {
      const ties = Math.min(equal, Math.max(1, Math.ceil((target - above - mass) / pivot)));
      return { threshold: pivot, ties, mass: above + mass + ties * pivot };
    } else {
      above += mass + equal * pivot;
      from = lighter;
    }
  }
}

function median(a: number, b: number, c: number): number {
  return Math.max(Math.min(a, b), Math.min(Math.max(a, b), c));
}

/** Inverse of the cumulative weights at `uniform` of their sum. */
function draw(weights: Float64Array, count: number, uniform: number): number {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += weights[i]!;
  let left = uniform * sum;
  let last = 0;
  for (let i = 0; i < count; i++) {
    const weight = weights[i]!;
    if (weight === 0) continue;
    if (left < weight) return i;
    left -= weight;
    last = i; // rounding may leave a remainder behind the last token
  }
  return last;
}

/** Ids of the k largest values, best first, equal values by lower id: one pass over a heap of k. */
export function largest(values: Float32Array, k: number): number[] {
  const size = Math.min(k, values.length);
  if (size === 0) return [];
  // `worse` orders the heap: its root is the value that the next better one replaces.
  const worse = (a: number, b: number) => values[a]! < values[b]! || (values[a] === values[b] && a > b);
  const heap = Array.from({ length: size }, (_, id) => id);
  const sink = (start: number) => {
    let parent = start;
    for (;;) {
      let child = 2 * parent + 1;
      if (child >= size) return;
      if (child + 1 < size && worse(heap[child + 1]!, heap[child]!)) child++;
      if (!worse(heap[child]!, heap[parent]!)) return;
      [heap[child], heap[parent]] = [heap[parent]!, heap[child]!];
      parent = child;
    }
  };
  for (let parent = (size >> 1) - 1; parent >= 0; parent--) sink(parent);
  for (let id = size; id < values.length; id++) {
    if (values[id]! <= values[heap[0]!]!) continue; // an equal value has the higher id here
    heap[0] = id;
    sink(0);
  }
  return heap.sort((a, b) => values[b]! - values[a]! || a - b);
}
