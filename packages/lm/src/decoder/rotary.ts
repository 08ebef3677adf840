import { constant, type Tensor } from "@tenet/tensor";
import type { ModelConfig, RopeScaling } from "../checkpoint/index.ts";

export interface RotaryTables {
  /** Cosines and sines of every position's angles: [positions, head_dim / 2]. */
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** Factor of attention scores: 1/√head_dim, times the square of YaRN's factor of both sides where that is in use. */
  readonly scale: number;
}

/**
 * Angles position · frequency as constants of a graph, for sequences of up to `positions` tokens.
 * Under "dynamic" scaling the frequencies depend on that length once it exceeds the model's own.
 */
export function rotaryTables(config: ModelConfig, positions: number): RotaryTables {
  const frequencies = rotaryFrequencies(config, positions);
  const half = frequencies.length;
  const table = (f: (angle: number) => number) => {
    const data = Float32Array.from({ length: positions * half }, (_, at) =>
      f(Math.floor(at / half) * frequencies[at % half]!),
    );
    return constant(data, [positions, half]);
  };
  return {
    cos: table(Math.cos),
    sin: table(Math.sin),
    scale: yarnFactor(config.rope_scaling) ** 2 / Math.sqrt(config.head_dim),
  };
}

/** Radians per position of each pair of a head: θ^(−2i/size) (RoFormer, arXiv 2104.09864), stretched as configured. */
export function rotaryFrequencies(config: ModelConfig, positions: number): number[] {
  const { head_dim: size, rope_theta: theta, rope_scaling: scaling, max_position_embeddings: longest } = config;
  const plain = (base: number) => Array.from({ length: size / 2 }, (_, i) => base ** ((-2 * i) / size));
  switch (scaling?.rope_type) {
    case undefined:
      return plain(theta);
    case "linear": // position interpolation, arXiv 2306.15595
      return plain(theta).map((frequency) => frequency / scaling.factor);
    case "dynamic": {
      // A larger base for longer sequences: "NTK-aware" scaling, arXiv 2309.00071, §3.1 and appendix B.1.
      const { factor } = scaling;
      const growth = (factor * Math.max(positions, longest)) / longest - (factor - 1);
      return plain(theta * growth ** (size / (size - 2)));
    }
    case "llama3": {
      // By wavelength: short ones stay, long ones are divided, those between are blended (Llama 3.1's published rule).
      const {
        factor,
        low_freq_factor: low,
        high_freq_factor: high,
        original_max_position_embeddings: original,
      } = scaling;
      return plain(theta).map((frequency) => {
        const turns = (original * frequency) / (2 * Math.PI);
        const kept = clamp((turns - low) / (high - low));
        return blend(frequency / factor, frequency, kept);
      });
    }
    case "yarn": {
      // As llama3, blended along the index of the pair (YaRN, arXiv 2309.00071, §3.2; boundaries as in its published code).
      const original = scaling.original_max_position_embeddings ?? longest;
      const pairWithTurns = (turns: number) =>
        (size * Math.log(original / (turns * 2 * Math.PI))) / (2 * Math.log(theta));
      let first = pairWithTurns(scaling.beta_fast || 32);
      let last = pairWithTurns(scaling.beta_slow || 1);
      if (scaling.truncate ?? true) [first, last] = [Math.floor(first), Math.ceil(last)];
      [first, last] = [Math.max(first, 0), Math.min(last, size - 1)];
      const width = last === first ? 0.001 : last - first;
      return plain(theta).map((frequency, i) =>
        blend(frequency, frequency / scaling.factor, clamp((i - first) / width)),
      );
    }
    case "frequency_factors":
      return plain(theta).map((frequency, i) => frequency / scaling.factors[i]!);
  }
}

/** What YaRN multiplies rotated queries and keys with: 0.1·ln(factor) + 1 unless configured (arXiv 2309.00071, §3.4). */
export function yarnFactor(scaling: RopeScaling | null): number {
  if (scaling?.rope_type !== "yarn") return 1;
  const { factor, attention_factor, mscale, mscale_all_dim: all } = scaling;
  const growth = (weight: number) => (factor <= 1 ? 1 : 0.1 * weight * Math.log(factor) + 1);
  if (attention_factor != null) return attention_factor;
  return mscale && all ? growth(mscale) / growth(all) : growth(1);
}

const clamp = (x: number) => Math.min(1, Math.max(0, x));
const blend = (from: number, to: number, share: number) => from + (to - from) * share;
