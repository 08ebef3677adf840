import { jackknife } from "./jackknife.ts";
import type { Estimate } from "./statistics.ts";

/*
 * How far people who judge the same things agree, beyond what chance would make of their habits.
 */

/**
 * Cohen's kappa of two people on the same items: (p_o − p_e) / (1 − p_e), p_o the share of items on which they agree, p_e what
 * two with their habits would agree on by chance. NaN of nothing, and where chance alone would make them always agree.
 *
 * Source: Cohen, "A coefficient of agreement for nominal scales" (1960).
 *
 * @example
 * cohenKappa([["yes", "yes"], ["no", "no"], ["yes", "no"], ["no", "no"]]); // 0.5
 */
export function cohenKappa(items: readonly (readonly [string, string])[]): number {
  const n = items.length;
  const habits = new Map<string, [number, number]>();
  let agreed = 0;
  for (const [a, b] of items) {
    if (a === b) agreed++;
    count(habits, a, 0);
    count(habits, b, 1);
  }
  let chance = 0;
  for (const [first, second] of habits.values()) chance += (first / n) * (second / n);
  return (agreed / n - chance) / (1 - chance);
}

function count(habits: Map<string, [number, number]>, value: string, side: 0 | 1): void {
  const known = habits.get(value) ?? [0, 0];
  known[side]++;
  habits.set(value, known);
}

/**
 * Krippendorff's alpha for values without an order, of any number of people and with gaps: 1 − D_o / D_e, the disagreement that
 * is there over that of values dealt at random. An item that one person judged says nothing of agreement and is left out.
 * NaN where nothing was judged twice, or all values are one. The interval is the jackknife's over items: the bootstrap's of
 * alpha is too narrow.
 *
 * Source: Krippendorff, "Computing Krippendorff's alpha-reliability" (2011); Hughes, arXiv 2210.13265, on intervals.
 *
 * @example
 * krippendorffAlpha([["a", "a"], ["b", "b"], ["a", "b"], ["b", "b"], ["a"]]).n; // 4
 */
export function krippendorffAlpha(items: readonly (readonly string[])[]): Estimate {
  const judged = items.filter((values) => values.length > 1);
  const without = judged.map((_, left) => alphaOf(judged.filter((_, i) => i !== left)));
  const value = alphaOf(judged);
  if (without.some(Number.isNaN) || Number.isNaN(value))
    return { value, interval: [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY], n: judged.length };
  return jackknife({ value, without, n: judged.length });
}

function alphaOf(items: readonly (readonly string[])[]): number {
  const totals = new Map<string, number>(); // n_c
  let n = 0;
  let observed = 0; // Σ of the coincidences of unequal values
  for (const values of items) {
    const own = new Map<string, number>();
    for (const value of values) own.set(value, (own.get(value) ?? 0) + 1);
    for (const [value, times] of own) {
      totals.set(value, (totals.get(value) ?? 0) + times);
      observed += (times * (values.length - times)) / (values.length - 1);
    }
    n += values.length;
  }
  let equal = 0; // Σ n_c (n_c − 1)
  for (const total of totals.values()) equal += total * (total - 1);
  const expected = n * (n - 1) - equal;
  return expected === 0 ? Number.NaN : 1 - ((n - 1) * observed) / expected;
}
