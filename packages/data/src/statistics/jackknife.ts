import { type Estimate, studentT95 } from "./statistics.ts";

/** A statistic of clusters, and what it is without each of them. */
export interface LeaveOneOut {
  readonly value: number;
  /** By cluster. */
  readonly without: readonly number[];
  /** Observations behind the value. */
  readonly n: number;
}

/**
 * A statistic's 95 % interval by the jackknife: value ± t · √((m − 1)/m · Σ(θ₍ⱼ₎ − θ̄)²), θ₍ⱼ₎ the statistic without cluster j of m.
 *
 * For what the bootstrap cannot do: in a draw with replacement the same reply stands twice, so that whatever counts kinds comes
 * out too small. Where nothing varies, or there are fewer than two clusters, nothing is known: the interval is [−∞, ∞].
 *
 * Source: Tukey (1958); Efron and Stein, "The jackknife estimate of variance" (1981).
 *
 * @example
 * jackknife({ value: 2, without: [1.5, 2, 2.5], n: 3 }).interval[0] < 1; // true
 */
export function jackknife({ value, without, n }: LeaveOneOut): Estimate {
  const m = without.length;
  const mean = without.reduce((sum, one) => sum + one, 0) / m;
  const squares = without.reduce((sum, one) => sum + (one - mean) ** 2, 0);
  // Equal values leave squares of the size of their rounding.
  const varies = m > 1 && squares > m * (1e-12 * Math.max(1, Math.abs(mean))) ** 2;
  const half = varies ? studentT95(m - 1) * Math.sqrt(((m - 1) / m) * squares) : Number.POSITIVE_INFINITY;
  return { value, interval: [value - half, value + half], n };
}
