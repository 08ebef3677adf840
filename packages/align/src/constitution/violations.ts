import type { CheckResult } from "./checks.ts";
import type { Constitution } from "./schema.ts";

/** The violations among a response's check results. */
export interface Violations {
  /** Checks that apply. */
  applying: number;
  /** Results of those that are violated. */
  violated: CheckResult[];
  /** Ids of the principles that are violated, each once. */
  principles: string[];
  /** Severity of the worst violation; 0 without one. */
  worst: number;
}

/** What is wrong with a response, by its check results. */
export function violations(results: readonly CheckResult[]): Violations {
  const applying = results.filter(({ applies }) => applies);
  const violated = applying.filter((result) => result.violated);
  return {
    applying: applying.length,
    violated,
    principles: [...new Set(violated.map(({ principle }) => principle))],
    worst: violated.reduce((worst, { severity }) => Math.max(worst, severity), 0),
  };
}

/**
 * R_const ∈ [−1, 1] of a response by its checks: 1 − 2·Σ wₚ·vₚ / Σ wₚ over the principles p with a check that applies, wₚ the
 * principle's weight and vₚ ∈ [0, 1] the severity of its worst violation. METHODS §6.
 *
 * 1: nothing violated; −1: every principle violated severely; 0 where no check applies, since nothing is known. A principle
 * of weight 0 counts for nothing.
 */
export function checkReward({ principles }: Constitution, results: readonly CheckResult[]): number {
  let weights = 0;
  let violated = 0;
  for (const { id, weight } of principles) {
    const own = results.filter(({ principle, applies }) => principle === id && applies);
    if (own.length === 0) continue;
    weights += weight;
    violated += weight * violations(own).worst;
  }
  return weights === 0 ? 0 : 1 - (2 * violated) / weights;
}
