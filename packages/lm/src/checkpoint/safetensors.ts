import { realpath } from "node:fs/promises";
import { basename, dirname, isAbsolute, join, relative, resolve, sep } from "node:path";
import { numel } from "@tenet/tensor";
import { allocate, decodeInto, type Segment } from "./decode.ts";
import { CheckpointError, quote } from "./errors.ts";
import { openRanges, type RangeFile, readJson } from "./file.ts";
import { BF16, type Codec, F16, F32 } from "./floats.ts";
import { HeaderSyntaxError, parseHeader } from "./json-header.ts";

/** Bytes per element of every whole-byte type the format knows. */
const DTYPE_BYTES = {
  ...{ BOOL: 1, U8: 1, I8: 1, F8_E5M2: 1, F8_E4M3: 1, F8_E8M0: 1 },
  ...{ I16: 2, U16: 2, F16: 2, BF16: 2, I32: 4, U32: 4, F32: 4, I64: 8, U64: 8, F64: 8, C64: 8 },
} as const;
export type SafetensorsDtype = keyof typeof DTYPE_BYTES;

const CODECS: Partial<Record<SafetensorsDtype, Codec>> = { F32, F16, BF16 };

/** The format's own limit, kept by the reference implementation. */
const LARGEST_HEADER = 100_000_000;

/** One tensor of a safetensors checkpoint. */
export interface SafetensorsTensor {
  dtype: SafetensorsDtype;
  shape: number[];
  /** The file that holds it. */
  file: string;
  /** Of its first byte in that file. */
  offset: number;
  bytes: number;
}

/** An open safetensors checkpoint, of one file or of many shards. */
export interface Safetensors {
  readonly tensors: ReadonlyMap<string, SafetensorsTensor>;
  /** The `__metadata__` of the file; of the first shard where there are many. */
  readonly metadata: ReadonlyMap<string, string>;
  /** The tensor as float32, row-major; throws CheckpointError for a name that is absent or a type that is not F32, F16 or BF16. */
  read(name: string): Promise<Float32Array>;
  /** As `read`, into a target of exactly the tensor's length. */
  readInto(name: string, target: Float32Array): Promise<void>;
  close(): Promise<void>;
}

/**
 * Opens one `.safetensors` file: reads and checks its header, and no weights.
 *
 * As the reference implementation does, it demands that tensors cover the data without a hole or an overlap.
 * Throws CheckpointError, within time and memory proportional to the header (at most 100 MB).
 * Source: https://github.com/huggingface/safetensors#format
 */
export async function openSafetensors(path: string): Promise<Safetensors> {
  return assemble([await openPart(path)]);
}

/**
 * Opens the shards listed in a `model.safetensors.index.json`.
 *
 * A shard must lie in the index's own folder, also after symbolic links are followed (the layout of Hugging Face's
 * cache, where `snapshots/<revision>` links into `blobs`, is allowed). Throws CheckpointError.
 */
export async function openShardedSafetensors(index: string): Promise<Safetensors> {
  const map = (await readJson(index)).weight_map;
  if (map === null || typeof map !== "object" || Array.isArray(map)) {
    throw new CheckpointError({ file: index, where: "weight_map", expected: "an object", found: quote(map) });
  }
  const namesByShard = new Map<string, Set<string>>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== "string") {
      const where = `weight_map ${quote(name)}`;
      throw new CheckpointError({ file: index, where, expected: "a file name", found: quote(shard) });
    }
    const names = namesByShard.get(shard);
    if (names === undefined) namesByShard.set(shard, new Set([name]));
    else names.add(name);
  }
  const parts: Part[] = [];
  try {
    for (const [shard, names] of namesByShard) {
      const part = await openPart(await shardPath(index, shard));
      parts.push(part);
      for (const name of names) {
        if (part.tensors.has(name)) continue;
        throw new CheckpointError({
          file: part.file.path,
          expected: `the tensor ${quote(name)} that ${basename(index)} says it holds`,
          found: `${part.tensors.size} others`,
          fix: "The index and the shards are from different downloads; download the whole folder again.",
        });
      }
      for (const name of part.tensors.keys()) if (!names.has(name)) part.tensors.delete(name);
    }
  } catch (error) {
    await Promise.all(parts.map((part) => part.file.close()));
    throw error;
  }
  return assemble(parts);
}

async function shardPath(index: string, shard: string): Promise<string> {
  const folder = dirname(resolve(index));
  const path = resolve(folder, shard);
  const outside = (found: string) =>
    new CheckpointError({
      file: index,
      where: `shard ${quote(shard)}`,
      expected: "a file inside the checkpoint's folder",
      found,
      fix: "Put the shard beside its index; do not trust this checkpoint if you did not write it.",
    });
  if (isAbsolute(shard) || !inside(folder, path)) throw outside("a path that leaves it");
  let [home, target] = [folder, path];
  try {
    [home, target] = await Promise.all([realpath(folder), realpath(path)]);
  } catch {
    return path; // opening it says what is missing
  }
  const cache = basename(dirname(home)) === "snapshots" ? join(dirname(dirname(home)), "blobs") : home;
  if (!inside(home, target) && !inside(cache, target)) throw outside("a symbolic link that leaves it");
  return target;
}

function inside(folder: string, path: string): boolean {
  const way = relative(folder, path);
  return way !== "" && way !== ".." && !way.startsWith(`..${sep}`) && !isAbsolute(way);
}

interface Part {
  file: RangeFile;
  tensors: Map<string, SafetensorsTensor>;
  metadata: Map<string, string>;
}

async function openPart(path: string): Promise<Part> {
  const file = await openRanges(path);
  try {
    return { file, ...(await readHeader(file)) };
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function readHeader(file: RangeFile): Promise<Omit<Part, "file">> {
  const path = file.path;
  const prefix = new Uint8Array(8);
  await file.read(prefix, 0);
  const length = new DataView(prefix.buffer).getBigUint64(0, true);
  if (length > BigInt(Math.min(LARGEST_HEADER, file.size - 8))) {
    const expected = `a header of at most ${Math.min(LARGEST_HEADER, file.size - 8)} bytes`;
    throw new CheckpointError({ file: path, where: "the header's length", expected, found: quote(length) });
  }
  const headerBytes = new Uint8Array(Number(length));
  await file.read(headerBytes, 8);
  let header: ReturnType<typeof parseHeader>;
  try {
    header = parseHeader(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(headerBytes));
  } catch (error) {
    if (error instanceof HeaderSyntaxError) {
      const { at, expected, found } = error;
      throw new CheckpointError({ file: path, where: `character ${at} of the header`, expected, found });
    }
    throw new CheckpointError({ file: path, where: "the header", expected: "UTF-8", found: "other bytes" });
  }
  const dataStart = 8 + Number(length);
  const tensors = new Map<string, SafetensorsTensor>();
  for (const [name, { dtype, shape, offsets }] of header.entries) {
    const where = `tensor ${quote(name)}`;
    if (!Object.hasOwn(DTYPE_BYTES, dtype)) {
      const expected = `a dtype of ${Object.keys(DTYPE_BYTES).join(", ")}`;
      throw new CheckpointError({ file: path, where, expected, found: quote(dtype) });
    }
    const known = dtype as SafetensorsDtype;
    const bytes = offsets[1] - offsets[0];
    const needed = DTYPE_BYTES[known] * numel(shape);
    if (needed !== bytes) {
      const expected = `data_offsets ${quote(needed)} bytes apart, as ${dtype} of shape ${quote(shape)} needs`;
      throw new CheckpointError({ file: path, where, expected, found: `offsets ${quote(offsets)}` });
    }
    tensors.set(name, { dtype: known, shape, file: path, offset: dataStart + offsets[0], bytes });
  }
  checkCoverage(file, dataStart, tensors);
  return { tensors, metadata: header.metadata };
}

/** Every byte after the header belongs to exactly one tensor: nothing hidden, nothing shared, nothing missing. */
function checkCoverage(file: RangeFile, dataStart: number, tensors: Map<string, SafetensorsTensor>): void {
  let end = dataStart;
  for (const [name, { offset, bytes }] of [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes,
  )) {
    if (offset !== end || end + bytes > file.size) {
      const expected =
        offset === end ? `data that ends within the file's ${file.size} bytes` : `data that starts at byte ${end}`;
      const found = `bytes ${offset} to ${offset + bytes}`;
      throw new CheckpointError({ file: file.path, where: `tensor ${quote(name)}`, expected, found });
    }
    end += bytes;
  }
  if (end !== file.size) {
    const expected = `${end} bytes, where the last tensor ends`;
    throw new CheckpointError({ file: file.path, expected, found: `${file.size}` });
  }
}

function assemble(parts: Part[]): Safetensors {
  const tensors = new Map<string, SafetensorsTensor>();
  const files = new Map<string, RangeFile>();
  for (const part of parts) {
    files.set(part.file.path, part.file);
    for (const [name, tensor] of part.tensors) tensors.set(name, tensor);
  }
  const segment = (name: string): Segment => {
    const tensor = tensors.get(name);
    const path = parts[0]?.file.path ?? "checkpoint";
    if (tensor === undefined) throw absent(path, name, tensors.keys());
    const codec = CODECS[tensor.dtype];
    if (codec === undefined) {
      throw new CheckpointError({
        file: tensor.file,
        where: `tensor ${quote(name)}`,
        expected: `one of the types ${Object.keys(CODECS).join(", ")}`,
        found: tensor.dtype,
        fix: "Convert the checkpoint to one of these.",
      });
    }
    const elements = tensor.bytes / codec.blockBytes;
    return { file: files.get(tensor.file)!, name, codec, offset: tensor.offset, elements };
  };
  return {
    tensors,
    metadata: parts[0]?.metadata ?? new Map(),
    async read(name) {
      const source = segment(name);
      const out = allocate(source);
      await decodeInto(source, out);
      return out;
    },
    readInto: async (name, target) => decodeInto(segment(name), target),
    close: async () => void (await Promise.all(parts.map((part) => part.file.close()))),
  };
}

/** The error for a tensor that is not there, with names that end alike. */
export function absent(file: string, name: string, names: Iterable<string>): CheckpointError {
  const ending = name.split(".").slice(-2).join(".");
  const near = [...names].filter((other) => other.endsWith(ending)).slice(0, 3);
  return new CheckpointError({
    file,
    expected: `a tensor ${quote(name)}`,
    found: near.length > 0 ? `only such as ${near.map(quote).join(", ")}` : "none of that name",
    fix: "List the names in `tensors`.",
  });
}
