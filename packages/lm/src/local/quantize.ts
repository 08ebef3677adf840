import {
  constant,
  customGradient,
  int4Block,
  int4Matmul,
  int8Matmul,
  matmul,
  type Tensor,
  type TypedData,
} from "@tenet/tensor";
import type { Checkpoint, ModelConfig } from "../checkpoint/index.ts";
import { headName } from "../decoder/index.ts";
import { UsageError } from "../language-model/index.ts";
import { modulesByInput, smoothingFactors } from "./smoothing.ts";
import { mappedFile, type Piece } from "./weights.ts";

const formats = ["float32", "int8", "int4"] as const;
/** How the matrices of a model that generates are held. */
export type WeightFormat = (typeof formats)[number];

export const trainingFormats = ["float32", "int8"] as const satisfies readonly WeightFormat[];
/** How the matrices of a model are held under adapters that are trained. */
export type TrainingFormat = (typeof trainingFormats)[number];

/** What a model computes by in each format, for who keeps results: raised where the same weights give other ones. float32 needs no name. */
export const arithmetics = {
  float32: undefined,
  int8: "int8 smoothed",
  int4: "int4",
} as const satisfies Record<WeightFormat, string | undefined>;

/** x [rows, in] times the transpose of a matrix of the checkpoint [out, in], by its name. */
export type MatrixProduct = (x: Tensor, name: string) => Tensor;

export interface Quantized {
  readonly values: Int8Array | Uint8Array;
  readonly scales: Float32Array;
  /** Empty where there are none. */
  readonly offsets: Float32Array;
}

/**
 * Rows of a matrix [out, in] in 8 bits: w ≈ values · scale, a scale a row, its largest magnitude being 127.
 * Values are stored transposed, [in, out], as products take them. Halves round to even, in single precision.
 */
export function quantizeInt8(w: Float32Array, [out, width]: readonly [number, number]): Quantized {
  const scales = new Float32Array(out);
  const values = new Int8Array(out * width);
  for (let row = 0; row < out; row++) {
    let peak = 0;
    for (let i = 0; i < width; i++) peak = Math.max(peak, Math.abs(w[row * width + i]!));
    const scale = Math.fround(peak / 127) || 1;
    scales[row] = scale;
    for (let i = 0; i < width; i++) {
      const value = roundHalfEven(Math.fround(w[row * width + i]! / scale));
      values[i * out + row] = Math.max(-127, Math.min(127, value));
    }
  }
  return { values, scales, offsets: new Float32Array(0) };
}

/** Levels a block's values may be spread over, from all 16 down: blocks that were quantised before leave some out. */
const mostSteps = 15;
const fewestSteps = 8;

/**
 * Rows of a matrix [out, in] in 4 bits: w ≈ (values − 8) · scale + offset, 32 weights of a row having a scale and an
 * offset. The block's least value is level 0 and its largest the level that fits the others best, so that weights which
 * stood on such a grid (GGUF's 4-bit types) are kept as they are but for rounding. Two values a byte, the lower half
 * first. in is a multiple of 32.
 */
export function quantizeInt4(w: Float32Array, [out, width]: readonly [number, number]): Quantized {
  const count = (out * width) / int4Block;
  const scales = new Float32Array(count);
  const offsets = new Float32Array(count);
  const values = new Uint8Array((out * width) / 2);
  for (let block = 0; block < count; block++) {
    const start = block * int4Block;
    const weights = w.subarray(start, start + int4Block);
    const low = Math.min(...weights);
    const span = Math.max(...weights) - low;
    let best = { scale: 1, error: Number.POSITIVE_INFINITY };
    for (let steps = mostSteps; steps >= fewestSteps; steps--) {
      const scale = span / steps || 1;
      let error = 0;
      for (const x of weights) error += ((x - low) / scale - roundHalfEven((x - low) / scale)) ** 2 * scale ** 2;
      if (error < best.error) best = { scale, error };
    }
    scales[block] = best.scale;
    offsets[block] = low + 8 * best.scale;
    for (let i = 0; i < int4Block; i++) {
      const value = Math.min(mostSteps, roundHalfEven((weights[i]! - low) / best.scale));
      values[(start + i) >> 1]! |= value << (4 * (i % 2));
    }
  }
  return { values, scales, offsets };
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const part = x - floor;
  return part < 0.5 || (part === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** A matrix that is not held in float32. */
interface Matrix {
  readonly name: string;
  /** [out, in] */
  readonly shape: readonly [number, number];
  readonly bits: 8 | 4;
  /** Module paths that share the input whose channels are smoothed; the first has the factors. */
  readonly smoothed?: readonly string[] | undefined;
  /** Kept the other way round too, for gradients. */
  readonly both?: boolean | undefined;
}

export interface ProductOptions {
  /** Sizes of the channels that are smoothed, asked when the file is written: see `channelSizes`. */
  readonly sizes: () => Promise<ReadonlyMap<string, Float32Array>>;
  /** "int8": gradients by x take 8 bits too, and twice the memory; of projections alone. */
  readonly gradients?: boolean;
}

/**
 * Products with a checkpoint's matrices in a format. Quantised ones are written into a file of the folder once, which is
 * mapped from then on. In "int8" channels are smoothed; under "int4" nothing is, and the output head takes 8 bits, as does a matrix whose rows
 * 32 does not divide.
 */
export async function matrixProducts(
  checkpoint: Checkpoint,
  folder: string,
  format: WeightFormat,
  weights: ReadonlyMap<string, Tensor>,
  { sizes, gradients = false }: ProductOptions,
): Promise<MatrixProduct> {
  if (!formats.includes(format))
    throw new UsageError(`there is no weight format "${format}"; expected ${formats.join(", ")}`);
  if (format === "float32") return (x, name) => matmul(x, weights.get(name)!, { transB: true });
  const both = gradients && format === "int8";
  const shapeOf = (name: string) => weights.get(name)!.shape as [number, number];
  const matrices = quantisedMatrices(checkpoint.config, format, shapeOf, both);
  const mapped = await mappedFile(
    checkpoint,
    folder,
    extensions[both ? "both" : format],
    matrices.flatMap(piecesOf),
    async function* () {
      const channels = format === "int8" ? await sizes() : undefined;
      let factors: Float32Array | undefined;
      for (const { name, shape, bits, smoothed, both } of matrices) {
        const w = await checkpoint.read(name);
        if (smoothed) {
          const [first, ...others] = smoothed as [string, ...string[]];
          if (name === weightOf(first)) {
            const rest = await Promise.all(others.map((path) => checkpoint.read(weightOf(path))));
            factors = smoothingFactors(channels!.get(first)!, [w, ...rest]);
            yield [`${first}.inverse`, factors.map((factor) => 1 / factor)] satisfies [string, TypedData];
          }
          for (let at = 0; at < w.length; at++) w[at]! *= factors![at % shape[1]]!;
        }
        const { values, scales, offsets } = bits === 4 ? quantizeInt4(w, shape) : quantizeInt8(w, shape);
        yield [`${name}.int${bits}`, values] satisfies [string, TypedData];
        yield [`${name}.scales`, scales] satisfies [string, TypedData];
        if (both) yield [`${name}.back`, transposed(values as Int8Array, shape)] satisfies [string, TypedData];
        if (bits === 4) yield [`${name}.offsets`, offsets] satisfies [string, TypedData];
      }
    },
  );
  const byName = new Map(matrices.map((matrix) => [matrix.name, matrix]));
  const divided = new WeakMap<Tensor, Tensor>();
  /** x with its channels divided by their factors, once for all matrices that take it. */
  const divide = (x: Tensor, [first]: readonly string[]): Tensor => {
    const known = divided.get(x) ?? x.mul(mapped.get(`${first}.inverse`)!);
    divided.set(x, known);
    return known;
  };
  return (x, name) => {
    const matrix = byName.get(name)!;
    const part = (kind: string) => mapped.get(`${name}.${kind}`)!;
    if (matrix.bits === 4) return int4Matmul(x, part("int4"), part("scales"), part("offsets"));
    const smooth = matrix.smoothed ? divide(x, matrix.smoothed) : x;
    if (!matrix.both) return int8Matmul(smooth, part("int8"), part("scales"));
    return bothWays(smooth, { values: part("int8"), scales: part("scales"), back: part("back") });
  };
}

interface BothWays {
  /** int8 [in, out] */
  readonly values: Tensor;
  /** float32 [out] */
  readonly scales: Tensor;
  /** `values` the other way round: int8 [out, in] */
  readonly back: Tensor;
}

/**
 * x · W in 8 bits, and its gradient by x too: rows of dy · scales are rounded as those of x are. That rounding is passed over in the gradient
 * ("straight through"). x float32 [rows, in] → [rows, out]
 */
function bothWays(x: Tensor, { values, scales, back }: BothWays): Tensor {
  const [, width] = back.shape as [number, number];
  const ones = constant(new Float32Array(width).fill(1), [width]);
  const [y] = customGradient([x], () => ({
    outputs: [int8Matmul(x, values, scales)],
    saved: [],
    gradient: ({ dys: [dy] }) => [int8Matmul(dy!.mul(scales), back, ones)],
  }));
  return y!;
}

/** Values [in, out] as [out, in]. */
function transposed(values: Int8Array, [out, width]: readonly [number, number]): Int8Array {
  const turned = new Int8Array(values.length);
  for (let i = 0; i < width; i++) for (let row = 0; row < out; row++) turned[row * width + i] = values[i * out + row]!;
  return turned;
}

/** Of the files that matrices are mapped from. Another for another content: who wrote the older one still finds it. */
const extensions = { int8: "int8-smooth", both: "int8-smooth-both", int4: "int4" } as const;

function quantisedMatrices(
  config: ModelConfig,
  format: "int8" | "int4",
  shapeOf: (name: string) => [number, number],
  gradients: boolean,
): Matrix[] {
  const inputs = modulesByInput(config);
  if (format === "int8")
    return inputs.flatMap((smoothed) =>
      smoothed.map((path): Matrix => {
        const name = weightOf(path);
        return { name, shape: shapeOf(name), bits: 8, smoothed, both: gradients && name !== headName(config) };
      }),
    );
  return inputs.flat().map((path) => {
    const [name, shape] = [weightOf(path), shapeOf(weightOf(path))];
    return { name, shape, bits: name !== headName(config) && shape[1] % int4Block === 0 ? 4 : 8 };
  });
}

function piecesOf({ name, shape: [out, width], bits, smoothed, both }: Matrix): Piece[] {
  const blocks = width / int4Block;
  if (bits === 4)
    return [
      { name: `${name}.int4`, dtype: "uint8", shape: [out, blocks, int4Block / 2] },
      { name: `${name}.scales`, dtype: "float32", shape: [out * blocks] },
      { name: `${name}.offsets`, dtype: "float32", shape: [out, blocks] },
    ];
  const inverse: Piece[] =
    smoothed && name === weightOf(smoothed[0]!)
      ? [{ name: `${smoothed[0]}.inverse`, dtype: "float32", shape: [width] }]
      : [];
  return [
    ...inverse,
    { name: `${name}.int8`, dtype: "int8", shape: [width, out] },
    { name: `${name}.scales`, dtype: "float32", shape: [out] },
    ...(both ? [{ name: `${name}.back`, dtype: "int8", shape: [out, width] } as const] : []),
  ];
}

function weightOf(path: string): string {
  return `${path}.weight`;
}
