import { BF16, type Codec, encodeBF16, encodeF16, F16, F32, float16Table } from "../checkpoint/floats.ts";
import { Q4_0, Q4_K, Q8_0 } from "../checkpoint/quants.ts";
import { type Encoder, writeHalf } from "./encoder.ts";
import { q4kEncoder } from "./q4k.ts";

/** The types that GGUF files are written in. */
export const ggufWriteTypes = ["F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K"] as const;
export type GgufWriteType = (typeof ggufWriteTypes)[number];

const halves = (bytes: Uint8Array) => new Uint16Array(bytes.buffer, bytes.byteOffset, bytes.byteLength / 2);

/**
 * One encoder a type. Block types but Q4_K are rounded in float32 as the reference does it, so the same numbers give the same bytes.
 * Source: `quantize_row_q8_0_ref` and `quantize_row_q4_0_ref` in ggml-quants.c of llama.cpp.
 */
export const encoders: Record<GgufWriteType, Encoder> = {
  F32: {
    blockSize: 1,
    blockBytes: 4,
    encode(values, out) {
      out.set(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
    },
  },
  F16: { blockSize: 1, blockBytes: 2, encode: (values, out) => encodeF16(values, halves(out)) },
  BF16: { blockSize: 1, blockBytes: 2, encode: (values, out) => encodeBF16(values, halves(out)) },
  // w ≈ d · q, d = max |w| / 127
  Q8_0: blocks(34, (values, from, out, at) => {
    let most = 0;
    for (let i = 0; i < 32; i++) most = Math.max(most, Math.abs(values[from + i]!));
    const inverse = scale(Math.fround(most / 127), out, at);
    for (let i = 0; i < 32; i++) out[at + 2 + i] = awayFromZero(Math.fround(values[from + i]! * inverse));
  }),
  // w ≈ d · (q − 8), d = (the w farthest from 0) / −8, so that it is met exactly
  Q4_0: blocks(18, (values, from, out, at) => {
    let far = 0;
    for (let i = 0; i < 32; i++) if (Math.abs(values[from + i]!) > Math.abs(far)) far = values[from + i]!;
    const inverse = scale(Math.fround(far / -8), out, at);
    const step = (i: number) => Math.min(15, Math.trunc(Math.fround(Math.fround(values[from + i]! * inverse) + 8.5)));
    for (let i = 0; i < 16; i++) out[at + 2 + i] = step(i) | (step(i + 16) << 4);
  }),
  Q4_K: q4kEncoder,
};

/** An encoder of blocks of 32 numbers, from what one block does. */
function blocks(
  blockBytes: number,
  one: (values: Float32Array, from: number, out: Uint8Array, at: number) => void,
): Encoder {
  return {
    blockSize: 32,
    blockBytes,
    encode(values, out) {
      for (let block = 0; block * 32 < values.length; block++) one(values, block * 32, out, block * blockBytes);
    },
  };
}

/** Writes a block's scale as float16 and gives 1 / scale of the unrounded one, in float32; 0 for 0. */
function scale(d: number, out: Uint8Array, at: number): number {
  writeHalf(d, out, at);
  return d === 0 ? 0 : Math.fround(1 / d);
}

function awayFromZero(value: number): number {
  return Math.sign(value) * Math.floor(Math.abs(value) + 0.5);
}

/** The greatest number that a type can hold; beyond it a weight would become infinite. */
export function largestOf(type: GgufWriteType): number {
  if (type === "F16") return float16Table()[0x7bff]!;
  if (type === "Q8_0") return 127 * float16Table()[0x7bff]!;
  if (type === "Q4_K") return 63 * float16Table()[0x7bff]!;
  return type === "Q4_0" ? 8 * float16Table()[0x7bff]! : Number.MAX_VALUE;
}

const decoders: Record<GgufWriteType, Codec> = { F32, F16, BF16, Q8_0, Q4_0, Q4_K };

/** Numbers in the bytes of a type; whole blocks. */
export function encoded(values: Float32Array, type: GgufWriteType): Uint8Array {
  const { blockSize, blockBytes, encode } = encoders[type];
  const bytes = new Uint8Array((values.length / blockSize) * blockBytes);
  encode(values, bytes);
  return bytes;
}

/** The numbers that bytes of a type are; whole blocks. */
export function decoded(bytes: Uint8Array, type: GgufWriteType): Float32Array {
  const { blockSize, blockBytes } = encoders[type];
  const blocks = bytes.length / blockBytes;
  const out = new Float32Array(blocks * blockSize);
  decoders[type].decode(bytes, out, 0, blocks);
  return out;
}

/** Numbers as a file of a type gives them back; whole blocks. */
export function rounded(values: Float32Array, type: GgufWriteType): Float32Array {
  return decoded(encoded(values, type), type);
}

/**
 * Bytes of matrices that were rounded with their inputs in view, by their Hugging Face names, rows in the checkpoint's order: they are
 * written as they are, and other matrices are rounded number for number. See `compensatedBlocks`.
 */
export type CompensatedBlocks = ReadonlyMap<string, Uint8Array>;
