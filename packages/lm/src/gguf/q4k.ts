import { type Encoder, writeHalf } from "./encoder.ts";

/** Numbers that share a scale and an offset, and how many such stretches a block has. */
const [stretch, stretches] = [32, 8];
const [mostLevel, mostFactor] = [15, 63];

/** w ≈ scale · q − offset, q in 0..15. */
interface Fit {
  readonly scale: number;
  readonly offset: number;
}

/**
 * Q4_K, 256 numbers in 144 bytes: w ≈ d · s · q − dmin · m, with s and m of 6 bits for each 32 numbers and q of 4 bits each.
 *
 * The layout is the format's, and every reader gives the same numbers. Which s, m and q are chosen is the writer's own affair: here the
 * straight lines through the levels that fit each 32 numbers best in least squares, from a few rounds of levels.
 * Source of the layout: `block_q4_K` in ggml-common.h of llama.cpp.
 */
export const q4kEncoder: Encoder = {
  blockSize: stretch * stretches,
  blockBytes: 144,
  encode(values, out) {
    for (let block = 0; block * 256 < values.length; block++)
      encodeBlock(values.subarray(block * 256, (block + 1) * 256), out.subarray(block * 144, (block + 1) * 144));
  },
};

function encodeBlock(values: Float32Array, out: Uint8Array): void {
  out.fill(0);
  const parts = Array.from({ length: stretches }, (_, s) => values.subarray(s * stretch, (s + 1) * stretch));
  const fits = parts.map(bestFit);
  const d = writeHalf(Math.max(...fits.map(({ scale }) => scale)) / mostFactor, out, 0);
  const dmin = writeHalf(Math.max(...fits.map(({ offset }) => offset)) / mostFactor, out, 2);
  const factor = (value: number, unit: number) => (unit === 0 ? 0 : Math.min(mostFactor, Math.round(value / unit)));
  parts.forEach((part, s) => {
    const [scale, offset] = [factor(fits[s]!.scale, d), factor(fits[s]!.offset, dmin)];
    writeFactors(out, s, scale, offset);
    for (let i = 0; i < stretch; i++) {
      const level = levelOf(part[i]!, { scale: d * scale, offset: dmin * offset });
      // Two stretches share 32 bytes: the first in their lower halves.
      out[16 + stretch * (s >> 1) + i]! |= level << (4 * (s % 2));
    }
  });
}

function levelOf(value: number, { scale, offset }: Fit): number {
  return scale === 0 ? 0 : Math.max(0, Math.min(mostLevel, Math.round((value + offset) / scale)));
}

/** Scale and offset whose levels leave the smallest sum of squares. */
function bestFit(values: Float32Array): Fit {
  const low = Math.min(0, ...values);
  const span = Math.max(...values) - low;
  if (!(span > 0)) return { scale: 0, offset: 0 - low };
  let best: Fit = { scale: span / mostLevel, offset: 0 - low };
  let error = errorOf(values, best);
  // Narrower levels clip a few numbers at the ends and meet the others better.
  for (let share = 0.6; share < 1; share += 0.02) {
    let fit: Fit = { scale: (share * span) / mostLevel, offset: (0 - low) * share };
    for (let round = 0; round < 3; round++) fit = refined(values, fit);
    const own = errorOf(values, fit);
    if (own < error) [best, error] = [fit, own];
  }
  return best;
}

function errorOf(values: Float32Array, fit: Fit): number {
  let sum = 0;
  for (const value of values) sum += (fit.scale * levelOf(value, fit) - fit.offset - value) ** 2;
  return sum;
}

/** The line through a fit's levels that is nearest to the numbers; offsets of the format are not negative. */
function refined(values: Float32Array, fit: Fit): Fit {
  let [q, qq, w, qw] = [0, 0, 0, 0];
  for (const value of values) {
    const level = levelOf(value, fit);
    q += level;
    qq += level * level;
    w += value;
    qw += level * value;
  }
  const spread = stretch * qq - q * q;
  if (spread === 0) return fit;
  const scale = (stretch * qw - q * w) / spread;
  const offset = (scale * q - w) / stretch;
  if (offset >= 0 && scale > 0) return { scale, offset };
  return qw > 0 ? { scale: qw / qq, offset: 0 } : fit;
}

/** The six bits of a stretch's scale and offset, in the twelve bytes behind d and dmin. */
function writeFactors(out: Uint8Array, s: number, scale: number, offset: number): void {
  if (s < 4) {
    out[4 + s]! |= scale;
    out[8 + s]! |= offset;
    return;
  }
  out[8 + s] = (scale & 15) | ((offset & 15) << 4);
  out[s]! |= (scale >> 4) << 6;
  out[4 + s]! |= (offset >> 4) << 6;
}
