import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseConfig } from "../../src/checkpoint/config.ts";
import { CheckpointError } from "../../src/checkpoint/errors.ts";
import { writeSafetensors } from "../../src/checkpoint/index.ts";
import { weightShapes } from "../../src/decoder/modules.ts";

/** Runs `use` with a fresh folder that is gone afterwards. */
export async function withFolder<T>(use: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "tenet-checkpoint-"));
  try {
    return await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Writes `bytes` to a file of a fresh folder and runs `use` with its path. */
export function withFile<T>(bytes: Uint8Array | string, use: (path: string) => Promise<T>, name = "model"): Promise<T> {
  return withFolder(async (folder) => {
    const path = join(folder, name);
    await writeFile(path, bytes);
    return use(path);
  });
}

/** The CheckpointError that `work` fails with; any other outcome throws. */
export async function failure(work: Promise<unknown>): Promise<CheckpointError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof CheckpointError) return error;
    throw error;
  }
  throw new Error("expected a CheckpointError, but it succeeded");
}

/** A safetensors file with any header, true or not; `length` overrides the one in front of it. */
export function safetensorsBytes(header: unknown, data = new Uint8Array(), length?: bigint): Buffer {
  const text = Buffer.from(typeof header === "string" ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, data]);
}

/** A model of one layer of width 4, as its `config.json`. */
export const SMALL_CONFIG = {
  model_type: "llama",
  hidden_size: 4,
  intermediate_size: 8,
  num_hidden_layers: 1,
  num_attention_heads: 2,
  num_key_value_heads: 1,
  vocab_size: 10,
  max_position_embeddings: 16,
  rms_norm_eps: 1e-5,
  eos_token_id: 2,
};

/** A tensor to write: its shape, and its numbers, 1, 2, 3 … when not given. */
export interface TensorSpec {
  shape: readonly number[];
  dtype?: "F32" | "F16" | "BF16";
  data?: Float32Array;
}

/** The tensors that a model of `config` has, by name. */
export function tensorsOf(config: Record<string, unknown>): Record<string, TensorSpec> {
  const shapes = weightShapes(parseConfig(config, "config.json"));
  return Object.fromEntries(Object.entries(shapes).map(([name, shape]) => [name, { shape }]));
}

/** Writes tensors as a safetensors file. */
export async function writeTensors(path: string, tensors: Record<string, TensorSpec>): Promise<void> {
  const list = Object.entries(tensors).map(([name, { shape, dtype = "F32", data }]) => {
    const size = shape.reduce((product, dimension) => product * dimension, 1);
    return { name, dtype, shape, data: data ?? Float32Array.from({ length: size }, (_, i) => i + 1) };
  });
  await writeSafetensors(path, list);
}

const u32 = (value: number) => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number | bigint) => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};
const f32 = (value: number) => Buffer.from(Float32Array.of(value).buffer);
const text = (value: string) => Buffer.concat([u64(Buffer.byteLength(value)), Buffer.from(value)]);

/** Metadata values: their type number and bytes. */
export const as = {
  u32: (value: number) => Buffer.concat([u32(4), u32(value)]),
  f32: (value: number) => Buffer.concat([u32(6), f32(value)]),
  string: (value: string) => Buffer.concat([u32(8), text(value)]),
  strings: (values: string[]) => Buffer.concat([u32(9), u32(8), u64(values.length), ...values.map(text)]),
  i32s: (values: number[]) => Buffer.concat([u32(9), u32(5), u64(values.length), ...values.map((v) => u32(v >>> 0))]),
  /** An array header that claims whatever it likes, and no elements. */
  arrayClaim: (type: number, length: number | bigint) => Buffer.concat([u32(9), u32(type), u64(length)]),
  raw: (type: number, bytes = Buffer.alloc(0)) => Buffer.concat([u32(type), bytes]),
};

export interface GgufTensorSpec {
  name: string;
  /** Fastest dimension first, as in the file. */
  dimensions: (number | bigint)[];
  type?: number;
  offset?: number | bigint;
}

/** The metadata of a model with one layer of width 4, which every reader accepts. */
export const SMALL_MODEL: Record<string, Buffer> = {
  "general.architecture": as.string("llama"),
  "llama.embedding_length": as.u32(4),
  "llama.feed_forward_length": as.u32(8),
  "llama.block_count": as.u32(1),
  "llama.attention.head_count": as.u32(2),
  "llama.attention.head_count_kv": as.u32(1),
  "llama.context_length": as.u32(16),
  "llama.attention.layer_norm_rms_epsilon": as.f32(1e-5),
  "llama.vocab_size": as.u32(10),
};

/** Its tensors: fastest dimension first, as in the file. */
export const SMALL_TENSORS: Record<string, number[]> = {
  "token_embd.weight": [4, 10],
  "output.weight": [4, 10],
  "output_norm.weight": [4],
  "blk.0.attn_norm.weight": [4],
  "blk.0.ffn_norm.weight": [4],
  "blk.0.attn_q.weight": [4, 4],
  "blk.0.attn_k.weight": [4, 2],
  "blk.0.attn_v.weight": [4, 2],
  "blk.0.attn_output.weight": [4, 4],
  "blk.0.ffn_gate.weight": [4, 8],
  "blk.0.ffn_up.weight": [4, 8],
  "blk.0.ffn_down.weight": [8, 4],
};

/** A GGUF file with any contents, true or not; tensors are float32 and follow each other unless they say otherwise. */
export function ggufBytes({
  magic = "GGUF",
  version = 3,
  metadata = SMALL_MODEL,
  tensors = [] as GgufTensorSpec[],
  tensorCount = undefined as bigint | undefined,
  pairCount = undefined as bigint | undefined,
  dataBytes = 4096,
} = {}): Buffer {
  const parts: Buffer[] = [Buffer.from(magic), u32(version)];
  const pairs = Object.entries(metadata);
  parts.push(u64(tensorCount ?? tensors.length), u64(pairCount ?? pairs.length));
  for (const [key, value] of pairs) parts.push(text(key), value);
  let next = 0;
  for (const { name, dimensions, type = 0, offset = next } of tensors) {
    parts.push(text(name), u32(dimensions.length), ...dimensions.map(u64), u32(type), u64(offset));
    next += Math.ceil((dimensions.reduce<number>((n, d) => n * Number(d), 1) * 4) / 32) * 32;
  }
  const header = Buffer.concat(parts);
  const padding = (32 - (header.length % 32)) % 32;
  return Buffer.concat([header, Buffer.alloc(padding + dataBytes)]);
}
