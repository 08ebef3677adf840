import { TensorError } from "../errors.ts";
import type { ParameterSet } from "../parameters.ts";

export interface AdamWOptions {
  /** Step size; `step` can be given another one, as schedules do. Default 1e-3. */
  readonly learningRate?: number;
  /** Decay rates of the first and second moment. Default [0.9, 0.999]. */
  readonly betas?: readonly [number, number];
  /** Added to the root of the second moment. Default 1e-8. */
  readonly epsilon?: number;
  /** Share of learningRate · weight taken off each step. Default 0.01. */
  readonly weightDecay?: number;
  /** Whether a parameter decays; every one does when not given. */
  readonly decays?: (name: string) => boolean;
}

/** All that AdamW remembers between steps. */
export interface AdamWState {
  readonly step: number;
  /** Running mean of gradients, in the parameters' order. */
  readonly firstMoment: Float32Array;
  /** Running mean of squared gradients. */
  readonly secondMoment: Float32Array;
}

/**
 * Adam with decoupled weight decay and bias correction, over the flat vector of a parameter set:
 * θ ← θ·(1 − ηλ); m ← β₁m + (1 − β₁)g; v ← β₂v + (1 − β₂)g²; θ ← θ − η·m̂ / (√v̂ + ε), m̂ = m/(1 − β₁ᵗ), v̂ = v/(1 − β₂ᵗ).
 * Source: Decoupled Weight Decay Regularization (arXiv 1711.05101), algorithm 2.
 * @throws TensorError when an option is out of range
 */
export class AdamW {
  readonly parameters: ParameterSet;
  readonly learningRate: number;
  readonly #beta1: number;
  readonly #beta2: number;
  readonly #epsilon: number;
  /** Stretches of the flat vector and their decay. */
  readonly #stretches: { start: number; end: number; decay: number }[] = [];
  #step = 0;
  #m: Float32Array;
  #v: Float32Array;

  constructor(parameters: ParameterSet, options: AdamWOptions = {}) {
    const {
      learningRate = 1e-3,
      betas = [0.9, 0.999],
      epsilon = 1e-8,
      weightDecay = 0.01,
      decays = () => true,
    } = options;
    requireRange("learningRate", learningRate, (x) => x >= 0, "≥ 0");
    requireRange("betas[0]", betas[0], (x) => x >= 0 && x < 1, "in [0, 1)");
    requireRange("betas[1]", betas[1], (x) => x >= 0 && x < 1, "in [0, 1)");
    requireRange("epsilon", epsilon, (x) => x >= 0, "≥ 0");
    requireRange("weightDecay", weightDecay, (x) => x >= 0, "≥ 0");
    this.parameters = parameters;
    this.learningRate = learningRate;
    [this.#beta1, this.#beta2] = betas;
    this.#epsilon = epsilon;
    for (const { name, start, end } of parameters.ranges) {
      const decay = decays(name) ? weightDecay : 0;
      const last = this.#stretches.at(-1);
      if (last?.decay === decay) last.end = end;
      else this.#stretches.push({ start, end, decay });
    }
    this.#m = new Float32Array(parameters.size);
    this.#v = new Float32Array(parameters.size);
  }

  /**
   * One update in place. @param gradient in the parameters' order, [size]
   * @throws TensorError when its length is not the number of parameters
   */
  step(gradient: Float32Array, learningRate: number = this.learningRate): void {
    const theta = this.parameters.data;
    if (gradient.length !== theta.length)
      throw new TensorError(`AdamW.step: expected a gradient of ${theta.length} values, got ${gradient.length}`);
    const [m, v, beta1, beta2, epsilon] = [this.#m, this.#v, this.#beta1, this.#beta2, this.#epsilon];
    this.#step++;
    const size = learningRate / (1 - beta1 ** this.#step);
    const rootCorrection = 1 / Math.sqrt(1 - beta2 ** this.#step);
    for (const { start, end, decay } of this.#stretches) {
      const keep = 1 - learningRate * decay;
      for (let i = start; i < end; i++) {
        const g = gradient[i]!;
        const mi = beta1 * m[i]! + (1 - beta1) * g;
        const vi = beta2 * v[i]! + (1 - beta2) * g * g;
        m[i] = mi;
        v[i] = vi;
        theta[i] = theta[i]! * keep - (size * mi) / (Math.sqrt(vi) * rootCorrection + epsilon);
      }
    }
  }

  /** A copy of the state, for a checkpoint. */
  state(): AdamWState {
    return { step: this.#step, firstMoment: this.#m.slice(), secondMoment: this.#v.slice() };
  }

  /** Continues from a saved state. @throws TensorError when it belongs to another number of parameters */
  restore(state: AdamWState): void {
    for (const [name, moment] of [
      ["firstMoment", state.firstMoment],
      ["secondMoment", state.secondMoment],
    ] as const)
      if (moment.length !== this.parameters.size)
        throw new TensorError(
          `AdamW.restore: ${name} has ${moment.length} values, the parameters ${this.parameters.size}`,
        );
    requireRange("step", state.step, (x) => Number.isInteger(x) && x >= 0, "a whole number ≥ 0");
    this.#step = state.step;
    this.#m = state.firstMoment.slice();
    this.#v = state.secondMoment.slice();
  }
}

function requireRange(name: string, value: number, holds: (x: number) => boolean, expected: string): void {
  if (!holds(value)) throw new TensorError(`AdamW: expected ${name} ${expected}, got ${value}`);
}

const magic = "tenet-adamw-1\n";

/** The state as bytes: magic, step (float64), length (float64), both moments (float32), little-endian. */
export function encodeAdamW({ step, firstMoment, secondMoment }: AdamWState): Uint8Array {
  const head = Buffer.alloc(magic.length + 16);
  head.write(magic, "latin1");
  head.writeDoubleLE(step, magic.length);
  head.writeDoubleLE(firstMoment.length, magic.length + 8);
  return Buffer.concat([head, bytesOf(firstMoment), bytesOf(secondMoment)]);
}

/** The state back from bytes. @throws TensorError when they are not such a state, or cut short */
export function decodeAdamW(bytes: Uint8Array): AdamWState {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const head = magic.length + 16;
  if (buffer.length < head || buffer.toString("latin1", 0, magic.length) !== magic)
    throw new TensorError("not a saved AdamW state: it does not begin as one");
  const length = buffer.readDoubleLE(magic.length + 8);
  if (buffer.length !== head + 8 * length)
    throw new TensorError(
      `a saved AdamW state of ${length} parameters has ${head + 8 * length} bytes, got ${buffer.length}`,
    );
  const moment = (at: number) => new Float32Array(Uint8Array.from(buffer.subarray(at, at + 4 * length)).buffer);
  return {
    step: buffer.readDoubleLE(magic.length),
    firstMoment: moment(head),
    secondMoment: moment(head + 4 * length),
  };
}

function bytesOf(values: Float32Array): Uint8Array {
  return new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
}
