import { int4Block, int4Matmul, int8Matmul, matmul, type Tensor, type TypedData } from "@tenet/tensor";
import type { Checkpoint } from "../checkpoint/index.ts";
import { headName, modulePath, projections } from "../decoder/index.ts";
import { UsageError } from "../language-model/index.ts";
import { mappedFile, type Piece } from "./weights.ts";

const formats = ["float32", "int8", "int4"] as const;
/** How the matrices of a model that generates are held. */
export type WeightFormat = (typeof formats)[number];

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

/**
 * Products with a checkpoint's matrices in a format. Quantised ones are written into a file of the folder once, which is
 * mapped from then on; the output head takes 8 bits under "int4" too, and so does a matrix whose rows 32 does not divide.
 */
export async function matrixProducts(
  checkpoint: Checkpoint,
  folder: string,
  format: WeightFormat,
  weights: ReadonlyMap<string, Tensor>,
): Promise<MatrixProduct> {
  if (!formats.includes(format))
    throw new UsageError(`there is no weight format "${format}"; expected ${formats.join(", ")}`);
  if (format === "float32") return (x, name) => matmul(x, weights.get(name)!, { transB: true });
  const { config } = checkpoint;
  const layers = Array.from({ length: config.num_hidden_layers }, (_, layer) => layer);
  const names = layers.flatMap((layer) => projections.map((projection) => `${modulePath(layer, projection)}.weight`));
  const matrices = [...names, headName(config)].map((name) => {
    const shape = weights.get(name)!.shape as [number, number];
    const four = format === "int4" && name !== headName(config) && shape[1] % int4Block === 0;
    return { name, shape, four };
  });
  const pieces = matrices.flatMap(({ name, shape: [out, width], four }): Piece[] => {
    const blocks = width / int4Block;
    if (!four)
      return [
        { name: `${name}.int8`, dtype: "int8", shape: [width, out] },
        { name: `${name}.scales`, dtype: "float32", shape: [out] },
      ];
    return [
      { name: `${name}.int4`, dtype: "uint8", shape: [out, blocks, int4Block / 2] },
      { name: `${name}.scales`, dtype: "float32", shape: [out * blocks] },
      { name: `${name}.offsets`, dtype: "float32", shape: [out, blocks] },
    ];
  });
  const mapped = await mappedFile(checkpoint, folder, format, pieces, async function* () {
    for (const { name, shape, four } of matrices) {
      const w = await checkpoint.read(name);
      const { values, scales, offsets } = four ? quantizeInt4(w, shape) : quantizeInt8(w, shape);
      yield [`${name}.${four ? "int4" : "int8"}`, values] satisfies [string, TypedData];
      yield [`${name}.scales`, scales] satisfies [string, TypedData];
      if (four) yield [`${name}.offsets`, offsets] satisfies [string, TypedData];
    }
  });
  const quantized = new Map(matrices.map((matrix) => [matrix.name, matrix]));
  return (x, name) => {
    const part = (kind: string) => mapped.get(`${name}.${kind}`)!;
    return quantized.get(name)!.four
      ? int4Matmul(x, part("int4"), part("scales"), part("offsets"))
      : int8Matmul(x, part("int8"), part("scales"));
  };
}
