import { randomStream } from "../random.ts";

/*
 * The one home of statistics. Every interval is a two-sided 95 % interval, so that figures of different pages compare.
 */

/** The normal distribution's 97.5 % point. */
const z95 = 1.959963984540054;

export type Interval = [low: number, high: number];

/** A figure with its 95 % interval and the number of observations behind it. */
export interface Estimate {
  value: number;
  interval: Interval;
  n: number;
}

/** The arithmetic mean; NaN of nothing. */
export function mean(values: readonly number[]): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum / values.length;
}

/** ln Σ exp(x), for log-probabilities of which any one is the event. −∞ of none. */
export function logSumExp(values: readonly number[]): number {
  const most = Math.max(...values);
  if (most === Number.NEGATIVE_INFINITY) return most;
  return most + Math.log(values.reduce((sum, value) => sum + Math.exp(value - most), 0));
}

/** The q-quantile (0 … 1) of values in ascending order, linear between neighbours (numpy's default); NaN of nothing. */
export function quantile(sorted: ArrayLike<number>, q: number): number {
  const place = q * (sorted.length - 1);
  const below = Math.floor(place);
  const [low, high] = [sorted[below], sorted[Math.ceil(place)]];
  if (low === undefined || high === undefined) return Number.NaN;
  return low + (high - low) * (place - below);
}

/**
 * Wilson's score interval of a share: `successes` of `n`. It holds its promise at 0 and at n too, where the textbook
 * interval has no width. Of nothing (n = 0) it is [0, 1] and the value NaN. Counts may be fractional.
 *
 * Source: Wilson, "Probable inference" (1927).
 * Errors: RangeError unless 0 ≤ successes ≤ n.
 *
 * @example
 * wilson(0, 20).interval[1].toFixed(3); // "0.161"
 */
export function wilson(successes: number, n: number): Estimate {
  if (!(successes >= 0 && successes <= n)) throw new RangeError(`${successes} of ${n} is no share: expected 0 to ${n}`);
  if (n === 0) return { value: Number.NaN, interval: [0, 1], n };
  const share = successes / n;
  const scale = 1 + z95 ** 2 / n;
  const centre = (share + z95 ** 2 / (2 * n)) / scale;
  const half = (z95 / scale) * Math.sqrt((share * (1 - share)) / n + z95 ** 2 / (4 * n ** 2));
  // At the ends the formula is exact, its rounding is not.
  return {
    value: share,
    interval: [successes === 0 ? 0 : centre - half, successes === n ? 1 : centre + half],
    n,
  };
}

/**
 * Of how many independent observations a share's interval is Wilson's: the effective sample size where `rate` made it, n where `wilson` did.
 *
 * An end x of Wilson's interval solves (share − x)² = z² x (1 − x) / n.
 *
 * @example
 * effectiveSize(wilson(30, 48)); // 48, but for rounding
 */
export function effectiveSize({ value, interval: [low, high], n }: Estimate): number {
  if (n === 0) return 0;
  const end = value > 0 ? low : high;
  return (z95 ** 2 * end * (1 - end)) / (value - end) ** 2;
}

export interface BootstrapOptions<Item> {
  seed: number;
  /** Items that belong together are drawn together, e.g. every response to one prompt. Default: each stands alone. */
  cluster?: (item: Item) => string;
  /** Default 2,000. */
  resamples?: number;
}

/**
 * A statistic of items with its bootstrap 95 % interval: clusters are drawn with replacement, the statistic is taken of
 * each draw, and the 2.5 % and 97.5 % points of those that are numbers make the interval.
 *
 * The points are then moved away from the statistic by t/z · √(m/(m−1)), m the number of clusters: without it the interval is too narrow
 * for few clusters. Paired differences: let an item hold both sides and the statistic be the difference. Equal seeds and
 * numbers of clusters draw equally, so that two statistics of the same prompts move together.
 * Of fewer than two clusters nothing is known: the interval is [−∞, ∞].
 *
 * Source: Efron, "Bootstrap methods" (1979); Hesterberg, "What teachers should know about the bootstrap" (2015), §3.4.
 *
 * @example
 * const lengths = [12, 15, 9, 22, 17, 11, 14, 13];
 * bootstrap(lengths, (sample) => Math.max(...sample), { seed: 1 }).value; // 22
 */
export function bootstrap<Item>(
  items: readonly Item[],
  statistic: (sample: readonly Item[]) => number,
  options: BootstrapOptions<Item>,
): Estimate {
  return bootstrapEach(items, (sample) => [statistic(sample)], options)[0]!;
}

/** Several statistics of the same draws, each with its interval as `bootstrap` gives it. */
export function bootstrapEach<Item>(
  items: readonly Item[],
  statistics: (sample: readonly Item[]) => readonly number[],
  { seed, cluster, resamples = 2000 }: BootstrapOptions<Item>,
): Estimate[] {
  const values = statistics(items);
  const clusters = cluster ? [...groupBy(items, cluster).values()] : items.map((item) => [item]);
  const m = clusters.length;
  if (m < 2)
    return values.map((value) => ({
      value,
      interval: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY],
      n: items.length,
    }));
  const draws = drawsOf(seed, m, resamples);
  const drawn: number[][] = values.map(() => []);
  for (let resample = 0; resample < resamples; resample++) {
    const sample: Item[] = [];
    for (let draw = 0; draw < m; draw++) for (const item of clusters[draws[resample * m + draw]!]!) sample.push(item);
    for (const [i, value] of statistics(sample).entries()) if (!Number.isNaN(value)) drawn[i]!.push(value);
  }
  const stretch = (studentT95(m - 1) / z95) * Math.sqrt(m / (m - 1));
  return values.map((value, i) => {
    const sorted = Float64Array.from(drawn[i]!).sort();
    const end = (q: number) => value + (quantile(sorted, q) - value) * stretch;
    return { value, interval: [end(0.025), end(0.975)], n: items.length };
  });
}

/** Recent draws: a scorecard takes dozens of intervals over the same prompts, and drawing costs more than the statistics. */
const recent = new Map<string, Uint32Array>();

/** Which of m clusters each draw of each resample takes: [resamples × m]. */
function drawsOf(seed: number, m: number, resamples: number): Uint32Array {
  const key = `${seed} ${m} ${resamples}`;
  let draws = recent.get(key);
  if (draws) recent.delete(key);
  else {
    const stream = randomStream({ seed, stage: "bootstrap", item: m });
    draws = new Uint32Array(resamples * m);
    for (let i = 0; i < draws.length; i++) draws[i] = stream.integer(i, m);
  }
  recent.set(key, draws);
  if (recent.size > 6) recent.delete(recent.keys().next().value!);
  return draws;
}

/** Items by key, keys in order of first appearance. */
export function groupBy<Item>(items: readonly Item[], key: (item: Item) => string): Map<string, Item[]> {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return groups;
}

/** Student's t, 97.5 % point: exact for 1 and 2 degrees of freedom, else Hill's expansion (error < 0.005 at 3, < 0.001 from 5). */
export function studentT95(freedom: number): number {
  if (freedom === 1) return 12.706204736432095;
  if (freedom === 2) return 4.302652729911275;
  const z = z95;
  return (
    z +
    (z ** 3 + z) / (4 * freedom) +
    (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * freedom ** 2) +
    (3 * z ** 7 + 19 * z ** 5 + 17 * z ** 3 - 15 * z) / (384 * freedom ** 3) +
    (79 * z ** 9 + 776 * z ** 7 + 1482 * z ** 5 - 1920 * z ** 3 - 945 * z) / (92160 * freedom ** 4)
  );
}

/** One yes-or-no observation; `cluster` names what it shares with others, usually its prompt. */
export interface Observation {
  cluster: string;
  yes: boolean;
}

/**
 * A share of yes among observations, with Wilson's interval at the effective sample size n / d.
 *
 * The design effect d compares the share's variance between clusters with that of independent observations, at least 1:
 * four answers to one prompt that always agree count as one. Without repeated clusters it is plain Wilson.
 *
 * Source: Kish, "Survey Sampling" (1965), §8.2; Korn and Graubard (1998) for Wilson at the effective size.
 *
 * @example
 * rate([{ cluster: "p1", yes: true }, { cluster: "p2", yes: false }]).value; // 0.5
 */
export function rate(observations: readonly Observation[]): Estimate {
  return pointsRate(observations.map(({ cluster, yes }) => ({ cluster, points: Number(yes) })));
}

/** What one observation gives of the one point that there is, as ½ for a tie; `cluster` as in `Observation`. */
export interface Points {
  cluster: string;
  points: number;
}

/** Mean of points from 0 to 1, with the interval of `rate`: of ties the variance is taken for that of a yes or no, which is more. */
export function pointsRate(observations: readonly Points[]): Estimate {
  const n = observations.length;
  const sum = observations.reduce((total, { points }) => total + points, 0);
  if (n === 0) return wilson(0, 0);
  const share = sum / n;
  const clusters = [...groupBy(observations, (observation) => observation.cluster).values()];
  const m = clusters.length;
  let squares = 0;
  for (const cluster of clusters) {
    const residual = cluster.reduce((total, { points }) => total + points - share, 0);
    squares += residual ** 2;
  }
  // With no variation seen nothing says that repeats are independent: a cluster then counts once.
  let effective = share === 0 || share === 1 ? m : n;
  if (m < n && share > 0 && share < 1) {
    const between = m > 1 ? ((m / (m - 1)) * squares) / n ** 2 : Number.POSITIVE_INFINITY;
    effective = Math.max(1, n / Math.max(1, between / ((share * (1 - share)) / n)));
  }
  return { ...wilson(share * effective, effective), value: share, n };
}

/** The same thing seen twice, e.g. one prompt answered by two checkpoints. */
export interface PairedObservation {
  cluster: string;
  before: boolean;
  after: boolean;
}

/**
 * The change of a share, after − before, with a paired bootstrap interval over clusters.
 *
 * Two imagined clusters join every draw's population, one that changed for the better and one for the worse: where few
 * pairs differ, the plain bootstrap is far too sure of itself, and where none does it has no width at all.
 *
 * Source: Bonett and Price, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired
 * data" (2012), whose adjustment this is.
 *
 * @example
 * const pairs = ["a", "b", "c"].map((cluster) => ({ cluster, before: true, after: false }));
 * rateDifference(pairs, { seed: 1 }).value; // -1
 */
export function rateDifference(
  pairs: readonly PairedObservation[],
  options: Pick<BootstrapOptions<never>, "seed" | "resamples">,
): Estimate {
  const changes = [...groupBy(pairs, (pair) => pair.cluster).values()].map((cluster) => ({
    change: cluster.reduce((sum, pair) => sum + Number(pair.after) - Number(pair.before), 0),
    n: cluster.length,
  }));
  const share = (sample: readonly { change: number; n: number }[]) => {
    let change = 0;
    let n = 0;
    for (const part of sample) {
      change += part.change;
      n += part.n;
    }
    return change / n;
  };
  if (pairs.length === 0) return { value: Number.NaN, interval: [-1, 1], n: 0 };
  const size = pairs.length / changes.length;
  const adjusted = [...changes, { change: size, n: size }, { change: -size, n: size }];
  const { interval } = bootstrap(adjusted, share, options);
  return {
    value: share(changes),
    interval: [Math.max(-1, interval[0]), Math.min(1, interval[1])],
    n: pairs.length,
  };
}

/** A stated probability and what came true (1) or not (0), or the true probability itself. */
export interface Forecast {
  p: number;
  outcome: number;
}

export interface Calibration {
  /** Expected calibration error: Σ n_b/n · |mean p − mean outcome| over bins of equal width. */
  ece: number;
  /** Mean of (p − outcome)². */
  brier: number;
  /** The reliability diagram: bins that hold anything, ascending. */
  bins: { low: number; high: number; n: number; predicted: number; observed: number }[];
}

/**
 * How far stated probabilities can be trusted: expected calibration error over `bins` (default 10) equal bins, Brier score and
 * the reliability diagram. Of no forecasts both figures are NaN.
 *
 * Source: Guo et al., "On calibration of modern neural networks" (2017), eq. 3; Brier (1950).
 * Errors: RangeError for a p outside [0, 1].
 *
 * @example
 * calibration([{ p: 0.9, outcome: 1 }, { p: 0.1, outcome: 0 }]).ece.toFixed(3); // "0.100"
 */
export function calibration(forecasts: readonly Forecast[], { bins: count = 10 } = {}): Calibration {
  const bins = Array.from({ length: count }, () => ({ n: 0, p: 0, outcome: 0 }));
  let brier = 0;
  for (const { p, outcome } of forecasts) {
    if (!(p >= 0 && p <= 1)) throw new RangeError(`${p} is no probability: expected 0 to 1`);
    const bin = bins[Math.min(Math.floor(p * count), count - 1)]!;
    bin.n++;
    bin.p += p;
    bin.outcome += outcome;
    brier += (p - outcome) ** 2;
  }
  return {
    ece: bins.reduce((sum, bin) => sum + Math.abs(bin.p - bin.outcome), 0) / forecasts.length,
    brier: brier / forecasts.length,
    bins: bins.flatMap(({ n, p, outcome }, i) =>
      n === 0 ? [] : [{ low: i / count, high: (i + 1) / count, n, predicted: p / n, observed: outcome / n }],
    ),
  };
}

/** Pearson's correlation of paired values, −1 … 1; NaN where a side does not vary. Errors: RangeError for unequal lengths. */
export function pearson(x: readonly number[], y: readonly number[]): number {
  if (x.length !== y.length) throw new RangeError(`${x.length} values cannot be paired with ${y.length}`);
  // A mean of equal values may miss them by rounding, and what is left would pass for variation.
  if ([x, y].some((values) => values.every((value) => value === values[0]))) return Number.NaN;
  const [meanX, meanY] = [mean(x), mean(y)];
  let [xx, yy, xy] = [0, 0, 0];
  for (const [i, value] of x.entries()) {
    xx += (value - meanX) ** 2;
    yy += (y[i]! - meanY) ** 2;
    xy += (value - meanX) * (y[i]! - meanY);
  }
  return xy / Math.sqrt(xx * yy);
}

/** Spearman's rank correlation; equal values share their mean rank. Errors as `pearson`. */
export function spearman(x: readonly number[], y: readonly number[]): number {
  return pearson(ranks(x), ranks(y));
}

function ranks(values: readonly number[]): number[] {
  const order = values.map((_, i) => i).sort((a, b) => values[a]! - values[b]!);
  const result = new Array<number>(values.length);
  for (let start = 0; start < order.length; ) {
    let end = start;
    while (end + 1 < order.length && values[order[end + 1]!] === values[order[start]!]) end++;
    for (let place = start; place <= end; place++) result[order[place]!] = (start + end) / 2;
    start = end + 1;
  }
  return result;
}
