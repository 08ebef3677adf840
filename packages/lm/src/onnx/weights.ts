import { concat, gather, reshape, type Tensor, weight } from "@tenet/tensor";
import { type Factors, mergedWeight } from "../adapter/index.ts";
import { float16Table } from "../checkpoint/floats.ts";
import { type Checkpoint, CheckpointError } from "../checkpoint/index.ts";
import { weightShapes } from "../decoder/index.ts";
import { type CompensatedBlocks, encoded, encoders, type GgufWriteType, largestOf } from "../gguf/encode.ts";
import { typeOf } from "../gguf/export.ts";
import type { OnnxWeights } from "./graph.ts";

/** The types that ONNX files are written in: the numbers of the GGUF types of these names. */
export const onnxWriteTypes = ["F32", "F16", "Q8_0", "Q4_0"] as const satisfies readonly GgufWriteType[];
export type OnnxWriteType = (typeof onnxWriteTypes)[number];

/** Weights begin at multiples of this many bytes: what memory mapping takes on every system. */
const alignment = 65536;
/** Numbers that share a scale. */
const block = 32;
/** What level of four bits stands for 0. */
const middle = 8;

/** A stretch of the file of weights. */
interface Piece {
  readonly name: string;
  readonly dtype: "float32" | "float16" | "int8" | "uint8";
  readonly shape: readonly number[];
  readonly bytes: number;
}

/** A matrix, in the pieces that its type has. */
interface Matrix {
  readonly name: string;
  readonly type: GgufWriteType;
  readonly pieces: readonly Piece[];
}

/** Where a matrix's pieces begin in the file. */
interface Placed extends Matrix {
  readonly offsets: readonly number[];
}

/** How the weights of a model lie in the file beside its graph. */
export class WeightLayout {
  readonly matrices: readonly Placed[];
  /** Bytes of the file. */
  readonly size: number;

  constructor(config: Checkpoint["config"], type: OnnxWriteType) {
    let end = 0;
    this.matrices = Object.entries(weightShapes(config))
      .filter(([, shape]) => shape.length === 2)
      .map(([name, shape]) => {
        const matrix = matrixOf(name, shape as [number, number], typeOf(name, shape, type));
        const offsets = matrix.pieces.map(({ bytes }) => {
          const offset = end;
          end = Math.ceil((end + bytes) / alignment) * alignment;
          return offset;
        });
        return { ...matrix, offsets };
      });
    this.size = end;
  }
}

function matrixOf(name: string, [out, width]: readonly [number, number], type: GgufWriteType): Matrix {
  const count = out * width;
  const blocks = width / block;
  const scales: Piece = {
    name: `${name}.scales`,
    dtype: "float32",
    shape: [out, blocks, 1],
    bytes: (count / block) * 4,
  };
  switch (type) {
    case "Q8_0":
      return {
        ...{ name, type },
        pieces: [{ name: `${name}.int8`, dtype: "int8", shape: [out, blocks, block], bytes: count }, scales],
      };
    case "Q4_0":
      return {
        ...{ name, type },
        pieces: [{ name: `${name}.int4`, dtype: "uint8", shape: [out, blocks, block / 2], bytes: count / 2 }, scales],
      };
    case "F16":
      return { name, type, pieces: [{ name, dtype: "float16", shape: [out, width], bytes: 2 * count }] };
    default:
      return { name, type: "F32", pieces: [{ name, dtype: "float32", shape: [out, width], bytes: 4 * count }] };
  }
}

/** The bytes of each piece of a matrix. Throws CheckpointError for numbers that the type cannot hold. */
export function encodeMatrix(
  { name, type, pieces }: Matrix,
  values: Float32Array,
  { file, compensated }: { readonly file: string; readonly compensated?: CompensatedBlocks | undefined },
): Uint8Array[] {
  const most = largestOf(type);
  const beyond = values.findIndex((value) => !(Math.abs(value) <= most));
  if (beyond >= 0)
    throw new CheckpointError({
      ...{ file, where: `tensor ${JSON.stringify(name)}`, expected: `numbers that ${type} can hold` },
      ...{ found: `${values[beyond]} (number ${beyond})`, fix: "Write the file as F32." },
    });
  const bytes = compensated?.get(name) ?? encoded(values, type);
  if (type !== "Q8_0" && type !== "Q4_0") return [bytes];
  const { blockBytes } = encoders[type];
  const levels = blockBytes - 2;
  const scales = new Float32Array(values.length / block);
  const bare = new Uint8Array(pieces[0]!.bytes);
  const half = float16Table();
  scales.forEach((_, i) => {
    const at = i * blockBytes;
    scales[i] = half[bytes[at]! | (bytes[at + 1]! << 8)]!;
    bare.set(bytes.subarray(at + 2, at + blockBytes), i * levels);
  });
  return [bare, new Uint8Array(scales.buffer)];
}

/** A weight as it is to be, the adapter merged in. */
export function exportedWeight(checkpoint: Checkpoint, adapter: Factors | undefined, name: string) {
  return adapter ? mergedWeight(checkpoint, adapter, name) : checkpoint.read(name);
}

/** The weights of a graph, matrices in the file at `path`; `vectors` stand in the graph itself. */
export function graphWeights(
  { matrices }: WeightLayout,
  path: string,
  vectors: ReadonlyMap<string, Float32Array>,
): OnnxWeights {
  const places = new Map(matrices.map((matrix) => [matrix.name, matrix]));
  const known = new Map<string, Tensor>();
  const once = (name: string, make: () => Tensor) => {
    const made = known.get(name) ?? make();
    known.set(name, made);
    return made;
  };
  const stored = (name: string) => {
    const { pieces, offsets } = places.get(name)!;
    return pieces.map((piece, i) =>
      once(piece.name, () => weight(piece.name, piece.shape, { path, offset: offsets[i]! }, piece.dtype)),
    );
  };
  /** Numbers of the rows that were picked, of whatever shape they stand in. */
  const matrix = (name: string, picked: (x: Tensor) => Tensor = (x) => x): Tensor => {
    const { type } = places.get(name)!;
    const [values, scales] = stored(name).map(picked) as [Tensor, Tensor];
    if (type === "F32") return values;
    if (type === "F16") return values.cast("float32");
    const wide = (type === "Q8_0" ? values.cast("float32") : unpacked(values)).mul(scales);
    return reshape(wide, [...wide.shape.slice(0, -2), (wide.dim(-2) as number) * block]);
  };
  const vector = (name: string) =>
    once(name, () => weight(name, [vectors.get(name)!.length], { data: vectors.get(name)! }));
  const whole = (name: string) => once(`${name} whole`, () => matrix(name));
  return {
    weight: vector,
    product: (x, name) => x.matmul(whole(name), { transB: true }),
    embedding: (tokens) => matrix("model.embed_tokens.weight", (x) => gather(x, tokens)),
  };
}

/** Two numbers a byte: of a block of 32 the first 16 in the lower halves, the others in the upper. */
function unpacked(bytes: Tensor): Tensor {
  const wide = bytes.cast("int32");
  const upper = wide.div(16);
  return concat([wide.sub(upper.mul(16)), upper], wide.rank - 1)
    .sub(middle)
    .cast("float32");
}
