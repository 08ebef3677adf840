import type { FileHandle } from "node:fs/promises";
import { numel } from "@tenet/tensor";
import { CheckpointError, quote } from "../checkpoint/errors.ts";
import { ARRAY, BOOL, DEFAULT_ALIGNMENT, STRING, typeNumber } from "../checkpoint/gguf-header.ts";
import { wholeFile, writeAll } from "../checkpoint/whole-file.ts";
import { encoders, type GgufWriteType, largestOf } from "./encode.ts";

/** A metadata value with the type that it has in the file: readers ask for exactly that one. */
export type GgufEntry =
  | { readonly type: "u32" | "f32"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "i32s" | "f32s"; readonly value: ArrayLike<number> }
  | { readonly type: "strings"; readonly value: readonly string[] };

export type GgufMetadata = Readonly<Record<string, GgufEntry>>;

/** A tensor to be written; `data` is asked for when its turn comes, so that only one is in memory. */
export interface GgufTensorToWrite {
  readonly name: string;
  readonly type: GgufWriteType;
  /** Row-major, slowest dimension first; the file has it in GGML's order, the reverse. */
  readonly shape: readonly number[];
  readonly data: () => TensorContent | Promise<TensorContent>;
}

/** Numbers, or the very bytes of the tensor's type. */
export type TensorContent = Float32Array | Uint8Array;

/** Numbers converted at a time: whole blocks of every type. */
const CHUNK = 1 << 16;

/** Numbers of the value types in a file. Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md */
const [U32, I32, F32] = [4, 5, 6];

/**
 * Writes a GGUF file, version 3; it appears whole or not at all.
 *
 * Throws CheckpointError for a repeated name, data of another length than its shape, rows that are no whole blocks, and numbers that
 * the type cannot hold.
 */
export async function writeGguf(
  path: string,
  metadata: GgufMetadata,
  tensors: readonly GgufTensorToWrite[],
): Promise<void> {
  const header = encodeHeader(path, metadata, tensors);
  await wholeFile(path, async (handle) => {
    await writeAll(handle, header);
    for (const tensor of tensors) await writeTensor(handle, path, tensor);
  });
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const i32 = (value: number) => u32(value >>> 0);
const f32 = (value: number) => Buffer.from(Float32Array.of(value).buffer);
const u64 = (value: number) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const text = (value: string) => {
  const bytes = Buffer.from(value, "utf8");
  return Buffer.concat([u64(bytes.length), bytes]);
};
const list = (type: number, items: Buffer[]) => Buffer.concat([u32(ARRAY), u32(type), u64(items.length), ...items]);

function encodeEntry(entry: GgufEntry): Buffer {
  switch (entry.type) {
    case "u32":
      return Buffer.concat([u32(U32), u32(entry.value)]);
    case "f32":
      return Buffer.concat([u32(F32), f32(entry.value)]);
    case "bool":
      return Buffer.concat([u32(BOOL), Buffer.of(entry.value ? 1 : 0)]);
    case "string":
      return Buffer.concat([u32(STRING), text(entry.value)]);
    case "strings":
      return list(STRING, entry.value.map(text));
    case "i32s":
      return list(I32, Array.from(entry.value, i32));
    case "f32s":
      return list(F32, Array.from(entry.value, f32));
  }
}

function bytesOf({ type, shape }: GgufTensorToWrite): number {
  const { blockSize, blockBytes } = encoders[type];
  return (numel(shape) / blockSize) * blockBytes;
}

const padded = (bytes: number) => Math.ceil(bytes / DEFAULT_ALIGNMENT) * DEFAULT_ALIGNMENT;

function encodeHeader(path: string, metadata: GgufMetadata, tensors: readonly GgufTensorToWrite[]): Buffer {
  const pairs = Object.entries(metadata);
  const parts: Buffer[] = [Buffer.from("GGUF"), u32(3), u64(tensors.length), u64(pairs.length)];
  for (const [key, entry] of pairs) parts.push(text(key), encodeEntry(entry));
  const seen = new Set<string>();
  let offset = 0;
  for (const tensor of tensors) {
    const { name, type, shape } = tensor;
    const refuse = (expected: string, found: string) => {
      throw new CheckpointError({ file: path, where: `tensor ${quote(name)}`, expected, found });
    };
    if (seen.has(name)) refuse("a name for each tensor", "it twice");
    seen.add(name);
    const { blockSize } = encoders[type];
    if ((shape.at(-1) ?? 1) % blockSize !== 0)
      refuse(`rows of whole blocks of ${blockSize} (${type})`, quote([...shape]));
    parts.push(text(name), u32(shape.length), ...[...shape].reverse().map(u64), u32(typeNumber(type)), u64(offset));
    offset += padded(bytesOf(tensor));
  }
  const header = Buffer.concat(parts);
  return Buffer.concat([header, Buffer.alloc(padded(header.length) - header.length)]);
}

async function writeTensor(handle: FileHandle, path: string, tensor: GgufTensorToWrite): Promise<void> {
  const { name, type, shape, data } = tensor;
  const values = await data();
  const refuse = (expected: string, found: string, fix: string) => {
    throw new CheckpointError({ file: path, where: `tensor ${quote(name)}`, expected, found, fix });
  };
  const size = bytesOf(tensor);
  if (values instanceof Uint8Array) {
    if (values.length !== size)
      refuse(`${size} bytes of ${type}`, `${values.length}`, "Give bytes that fill the shape.");
    await writeAll(handle, values);
    await writeAll(handle, new Uint8Array(padded(size) - size));
    return;
  }
  if (values.length !== numel(shape))
    refuse(`${numel(shape)} numbers for ${quote([...shape])}`, `${values.length}`, "Give data that fill the shape.");
  const most = largestOf(type);
  const beyond = values.findIndex((value) => !(Math.abs(value) <= most));
  if (beyond >= 0)
    refuse(`numbers that ${type} can hold`, `${values[beyond]} (number ${beyond})`, "Write the file as F32 or BF16.");
  const { blockSize, blockBytes, encode } = encoders[type];
  const chunk = new Uint8Array(Math.ceil(Math.min(CHUNK, values.length) / blockSize) * blockBytes);
  for (let at = 0; at < values.length; at += CHUNK) {
    const part = values.subarray(at, at + CHUNK);
    const bytes = chunk.subarray(0, (part.length / blockSize) * blockBytes);
    encode(part, bytes);
    await writeAll(handle, bytes);
  }
  await writeAll(handle, new Uint8Array(padded(size) - size));
}
