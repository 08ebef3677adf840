/*
 * From rewards to advantages. Responses are ragged: an array holds a response's real tokens and nothing else, its end token
 * last where it has one, so that nothing here can land on padding.
 */

/**
 * Token rewards rₜ = −β(log π(yₜ) − log π_ref(yₜ)) + [t = T]·R: k1 against the reference on every token, the response's
 * reward on its last. Arrays of one response [T] → [T]. Source: METHODS §5; Ziegler et al. (1909.08593), eq. 2.
 */
export function tokenRewards(
  logprobs: ArrayLike<number>,
  referenceLogprobs: ArrayLike<number>,
  { beta, reward }: { readonly beta: number; readonly reward: number },
): Float64Array {
  const rewards = Float64Array.from(logprobs, (logprob, t) => -beta * (logprob - referenceLogprobs[t]!));
  if (rewards.length > 0) rewards[rewards.length - 1]! += reward;
  return rewards;
}

/**
 * Generalised advantage estimation over one response: δₜ = rₜ + γV(sₜ₊₁) − V(sₜ), Aₜ = δₜ + γλAₜ₊₁, Rₜ = Aₜ + V(sₜ).
 *
 * V behind the last token is 0, whether the response ended or was cut off: a cut-off response is a finished episode that
 * has taken its penalty. rewards, values [T] → [T] each. Source: GAE (1506.02438), eq. 16.
 */
export function gae(
  rewards: ArrayLike<number>,
  values: ArrayLike<number>,
  { gamma, lambda }: { readonly gamma: number; readonly lambda: number },
): { advantages: Float64Array; returns: Float64Array } {
  const count = rewards.length;
  const advantages = new Float64Array(count);
  const returns = new Float64Array(count);
  let next = 0;
  for (let t = count - 1; t >= 0; t--) {
    const following = t + 1 < count ? values[t + 1]! : 0;
    next = rewards[t]! + gamma * following - values[t]! + gamma * lambda * next;
    advantages[t] = next;
    returns[t] = next + values[t]!;
  }
  return { advantages, returns };
}

/**
 * Whitening over all tokens of a batch: (x − mean)/√(var + 1e-8), the variance unbiased (n − 1), as TRL's `masked_whiten`;
 * CleanRL divides by sd + 1e-8 instead, which differs only where the deviation is about 1e-4 or less. Without `shiftMean`
 * the mean is kept (for rewards). Fewer than two values have no variance and come back as they are.
 */
export function whiten(values: ArrayLike<number>, { shiftMean = true }: { shiftMean?: boolean } = {}): Float64Array {
  if (values.length < 2) return Float64Array.from(values);
  const { mean, variance } = moments(values);
  const scale = 1 / Math.sqrt(variance + 1e-8);
  return Float64Array.from(values, (value) => (value - mean) * scale + (shiftMean ? 0 : mean));
}

/**
 * GRPO's advantages of one prompt's responses: (R − mean)/(sd + 1e-4), the deviation unbiased (n − 1), as TRL has it; a
 * group whose rewards are all equal teaches nothing: zeros. Without `scale` R − mean alone (Dr. GRPO, 2503.20783, §3.2).
 * [G] → [G]. Source: GRPO (2402.03300), §4.1.2.
 */
export function groupAdvantages(rewards: ArrayLike<number>, { scale = true }: { scale?: boolean } = {}): Float64Array {
  const { mean, variance } = moments(rewards);
  const factor = scale ? 1 / (Math.sqrt(variance) + 1e-4) : 1;
  return Float64Array.from(rewards, (reward) => (reward - mean) * factor);
}

/**
 * RLOO's advantages of one prompt's k responses: Rᵢ minus the mean of the others' rewards. [k] → [k]. One alone, the others not having been
 * judged, has nothing to be compared with and teaches nothing: 0.
 * Source: RLOO (2402.14740), eq. 8.
 *
 * @example
 * leaveOneOut([1, 0, 0])[0]; // 1
 */
export function leaveOneOut(rewards: ArrayLike<number>): Float64Array {
  const sum = total(rewards);
  if (rewards.length === 1) return new Float64Array(1);
  return Float64Array.from(rewards, (reward) => reward - (sum - reward) / (rewards.length - 1));
}

/** Mean and unbiased variance, in float64; the variance of fewer than two values is 0. */
export function moments(values: ArrayLike<number>): { mean: number; variance: number } {
  const count = values.length;
  if (count === 0) return { mean: 0, variance: 0 };
  const mean = total(values) / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (values[i]! - mean) ** 2;
  return { mean, variance: count > 1 ? squares / (count - 1) : 0 };
}

function total(values: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < values.length; i++) sum += values[i]!;
  return sum;
}
