import { clip, exp, greater, log, logSigmoid, maximum, stopGradient, type Tensor, where } from "@tenet/tensor";
import { k3 } from "./kl.ts";

/*
 * Losses as pure functions of symbolic tensors. Tokens stand in one flat axis [n]; padding is a token of weight 0, and
 * whatever else stands there has no part in anything. Weights say what a mean is over: 1/n for a mean over n tokens,
 * 1/(G·|oᵢ|) for a mean over G responses of their means. So a batch that is computed in several calls has the loss of the
 * whole: weights are those of the whole batch, and losses add up.
 */

export interface PolicyTerms {
  /** log π(yₜ) under the policy that learns. [n] */
  readonly logprobs: Tensor;
  /** log π_old(yₜ) of the policy that sampled. [n] */
  readonly oldLogprobs: Tensor;
  /** Aₜ. [n] */
  readonly advantages: Tensor;
  /** [n] */
  readonly weights: Tensor;
}

/**
 * The clipped surrogate: Σ w·max(−ρA, −clip(ρ, 1−ε, 1+ε)·A) with ρ = exp(log π − log π_old).
 *
 * Of tokens [n] it is PPO's and GRPO's; of sums over sequences [sequences] it is the form TRL gives RLOO, whose gradient is
 * REINFORCE's, −A·∇log π(y|x), wherever ρ = 1. Beside it, without gradient and weighted alike: the mean ratio, the share of
 * terms that are clipped, and ½(log ρ)², which estimates KL(π_old‖π) (k2).
 * Source: PPO (1707.06347), eq. 7, negated.
 */
export function policyLoss({ logprobs, oldLogprobs, advantages, weights }: PolicyTerms, epsilon: number) {
  const difference = real(logprobs.sub(oldLogprobs), weights);
  const ratio = exp(difference);
  const free = ratio.mul(advantages).neg();
  const clipped = clip(ratio, { min: 1 - epsilon, max: 1 + epsilon })
    .mul(advantages)
    .neg();
  const mean = (x: Tensor) => stopGradient(weightedSum(x, weights));
  return {
    loss: weightedSum(maximum(free, clipped), weights),
    ratio: mean(ratio),
    clipFraction: mean(greater(clipped, free).cast("float32")),
    approxKl: mean(difference.square().mul(0.5)),
  };
}

export interface ValueTerms {
  /** V(sₜ) of the network that learns. [n] */
  readonly values: Tensor;
  /** V(sₜ) at the time of the rollout. [n] */
  readonly oldValues: Tensor;
  /** Rₜ = Aₜ + V_old(sₜ), advantages before whitening. [n] */
  readonly returns: Tensor;
  /** [n] */
  readonly weights: Tensor;
}

/**
 * The clipped value loss: ½ Σ w·max((V − R)², (V_old + clip(V − V_old, ±ε) − R)²).
 * Source: as in OpenAI's baselines and TRL; METHODS §5. The paper of PPO has no clipping here.
 */
export function valueLoss({ values, oldValues, returns, weights }: ValueTerms, epsilon: number) {
  const near = oldValues.add(clip(values.sub(oldValues), { min: -epsilon, max: epsilon }));
  const free = values.sub(returns).square();
  const clipped = near.sub(returns).square();
  return {
    loss: weightedSum(maximum(free, clipped), weights).mul(0.5),
    clipFraction: stopGradient(weightedSum(greater(clipped, free).cast("float32"), weights)),
  };
}

/** Σ w·k3 of the policy to the reference, with gradient: the penalty inside GRPO's loss. GRPO (2402.03300), eq. 4. */
export function klLoss(logprobs: Tensor, referenceLogprobs: Tensor, weights: Tensor): Tensor {
  return weightedSum(k3(real(logprobs.sub(referenceLogprobs), weights)), weights);
}

/**
 * L = −Σₜ wₜ·ln π(yₜ | x, y₍<t₎), summed over the tokens of completions. With wₜ = 1 / (supervised tokens of the update) it is their
 * mean cross-entropy, however the update is cut into micro-batches. logprobs, weights [n] → scalar, nats.
 */
export function sftLoss(logprobs: Tensor, weights: Tensor): Tensor {
  return weightedSum(logprobs, weights).neg();
}

/** 1 − π below which the unlikelihood's slope stops rising: float32 knows it to a thousandth there. */
const leastDoubt = 1e-4;

/**
 * −Σ w·ln(1 − π(yₜ)): what tokens that are not to be said cost. logprobs, weights [n] → scalar, nats.
 *
 * The slope by log π is π/(1 − π), taken at 1 − π ≥ 1e-4, and the value likewise: where a token is all but certain the loss is large, finite, and
 * still pulls it down; where the gradient reaches the logits the factor 1 − π stands in it again.
 * Source: Welleck et al. (1908.04319), eq. 2.
 */
export function unlikelihoodLoss(logprobs: Tensor, weights: Tensor): Tensor {
  const lp = real(logprobs, weights);
  const p = stopGradient(exp(lp));
  const rest = maximum(p.neg().add(1), leastDoubt);
  const value = log(rest).neg();
  // The value is the first term's, the slope the second's, which is worth 0.
  return weightedSum(value.add(p.div(rest).mul(lp.sub(stopGradient(lp)))), weights);
}

export interface DpoTerms {
  /** log π(y|x) of both sides, summed over tokens. [pairs] */
  readonly a: Tensor;
  readonly b: Tensor;
  /** The same under the reference. [pairs] */
  readonly referenceA: Tensor;
  readonly referenceB: Tensor;
  /** Probability that a is the better one. [pairs] */
  readonly p: Tensor;
  /** [pairs] */
  readonly weights: Tensor;
}

/**
 * DPO with a soft target: −Σ w·(p·log σ(h) + (1−p)·log σ(−h)), h = β·((log π(a) − log π_ref(a)) − (log π(b) − log π_ref(b))).
 *
 * p = 1 is DPO's own loss; p = 1 − ε is conservative DPO, TRL's `label_smoothing`. Beside it, without gradient: the implicit
 * rewards β·(log π − log π_ref) of both sides [pairs].
 * Source: DPO (2305.18290), eq. 7; "A note on DPO with noisy preferences" (Mitchell, 2023), eq. 3.
 */
export function dpoLoss({ a, b, referenceA, referenceB, p, weights }: DpoTerms, beta: number) {
  const rewardA = a.sub(referenceA).mul(beta);
  const rewardB = b.sub(referenceB).mul(beta);
  const margin = rewardA.sub(rewardB);
  const likelihood = p.mul(logSigmoid(margin)).add(p.neg().add(1).mul(logSigmoid(margin.neg())));
  return {
    loss: weightedSum(likelihood, weights).neg(),
    rewardA: stopGradient(rewardA),
    rewardB: stopGradient(rewardB),
  };
}

/** x, but 0 where the weight is 0: what stands on padding could overflow in an exponential, and 0·∞ is no number. */
function real(x: Tensor, weights: Tensor): Tensor {
  return where(greater(weights, 0), x, 0);
}

/** Σ w·x, a scalar. */
function weightedSum(x: Tensor, weights: Tensor): Tensor {
  return x.mul(weights).sum();
}
