import { TensorError } from "../errors.ts";

/** √Σ g², accumulated in float64. */
export function globalNorm(gradient: Float32Array): number {
  let sum = 0;
  for (let i = 0; i < gradient.length; i++) sum += gradient[i]! * gradient[i]!;
  return Math.sqrt(sum);
}

/**
 * Scales a gradient in place so that its norm is at most `maxNorm`, and returns the norm it had.
 * The scale is maxNorm / (norm + 1e-6), as torch.nn.utils.clip_grad_norm_ has it.
 */
export function clipByGlobalNorm(gradient: Float32Array, maxNorm: number): number {
  const norm = globalNorm(gradient);
  const scale = maxNorm / (norm + 1e-6);
  if (scale < 1) for (let i = 0; i < gradient.length; i++) gradient[i] = gradient[i]! * scale;
  return norm;
}

/** Adds up the gradients of several micro-batches, so that a large batch needs the memory of a small one. */
export class GradientAccumulator {
  readonly #sum: Float32Array<ArrayBuffer>;
  #weight = 0;

  /** @param size number of parameters */
  constructor(size: number) {
    this.#sum = new Float32Array(size);
  }

  /**
   * Adds a micro-batch's mean gradient. @param weight what its mean was taken over (supervised tokens, rows), so that
   * unequal micro-batches give the gradient of the whole
   */
  add(gradient: Float32Array, weight = 1): void {
    const sum = this.#sum;
    if (gradient.length !== sum.length)
      throw new TensorError(`GradientAccumulator.add: expected ${sum.length} values, got ${gradient.length}`);
    for (let i = 0; i < sum.length; i++) sum[i] = sum[i]! + weight * gradient[i]!;
    this.#weight += weight;
  }

  /** The weighted mean of what was added; starts afresh. @throws TensorError when nothing was */
  take(): Float32Array<ArrayBuffer> {
    if (this.#weight === 0) throw new TensorError("GradientAccumulator.take: nothing was added");
    const mean = this.#sum.map((value) => value / this.#weight);
    this.#sum.fill(0);
    this.#weight = 0;
    return mean;
  }
}
