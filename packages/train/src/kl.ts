import { exp, type Tensor } from "@tenet/tensor";

/*
 * Estimators of KL(π‖π_ref) from samples of π, with Δ = log π(y) − log π_ref(y). Source: Schulman, "Approximating KL
 * divergence" (2020): k1 is unbiased and noisy, k2 biased and quiet, k3 unbiased and quiet, never negative.
 */

export type KlEstimator = "k1" | "k2" | "k3";

/** One sample's estimate of KL(π‖π_ref) in nats: k1 = Δ, k2 = ½Δ², k3 = exp(−Δ) − 1 + Δ. */
export function klEstimate(delta: number, estimator: KlEstimator): number {
  if (estimator === "k1") return delta;
  if (estimator === "k2") return 0.5 * delta * delta;
  // expm1 keeps the digits that exp(−Δ) − 1 loses near 0, where policies begin.
  return Math.expm1(-delta) + delta;
}

/** k3 = exp(−Δ) − 1 + Δ with its gradient, for losses. Δ = log π − log π_ref, any shape. */
export function k3(delta: Tensor): Tensor {
  return exp(delta.neg()).sub(1).add(delta);
}

export interface KlTarget {
  /** KL(π‖π_ref) per response to steer to, in nats. */
  readonly target: number;
  /** Responses over which the coefficient can change by the whole error. */
  readonly horizon: number;
}

/**
 * The next KL coefficient: β·(1 + clip(KL/target − 1, ±0.2)·min(1, n/horizon)), n the number of responses since the last change.
 * Source: Ziegler et al. (1909.08593), §2.2.
 *
 * @example
 * adaptKl(0.5, { kl: 12, responses: 1000 }, { target: 6, horizon: 10000 }); // 0.51
 */
export function adaptKl(
  coefficient: number,
  seen: { readonly kl: number; readonly responses: number },
  { target, horizon }: KlTarget,
): number {
  const error = Math.max(-0.2, Math.min(0.2, seen.kl / target - 1));
  // More responses than the horizon change it by the whole error, and no further: never to below 0.
  return coefficient * (1 + error * Math.min(1, seen.responses / horizon));
}
