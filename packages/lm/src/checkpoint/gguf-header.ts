import { numel } from "@tenet/tensor";
import { CheckpointError, quote } from "./errors.ts";
import type { RangeFile } from "./file.ts";
import { BF16, type Codec, F16, F32 } from "./floats.ts";
import { MOST_METADATA, MOST_TENSORS } from "./json-header.ts";
import { IQ4_NL, IQ4_XS, Q2_K, Q3_K, Q4_0, Q4_1, Q4_K, Q5_0, Q5_1, Q5_K, Q6_K, Q8_0 } from "./quants.ts";

/*
 * Why this is not @huggingface/gguf 0.4.6: it pads its window with zeros past the end of a local file, so a truncated
 * header parses as one full of empty keys; it parses a value again from its start each time two more megabytes arrive;
 * metadata come as a plain object (a key `__proto__` sets its prototype) with each number boxed apart; and nothing checks
 * that tensors lie inside the file. A reader that must be safe on hostile files would have to redo all of that.
 */

/** A metadata value; numbers beyond 2^53 stay bigint, arrays of numbers stay typed arrays. */
export type GgufValue = number | bigint | boolean | string | string[] | GgufNumbers;
export type GgufNumbers =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | BigUint64Array
  | BigInt64Array
  | Float32Array
  | Float64Array;

/** One tensor as the file describes it. */
export interface GgufTensorInfo {
  type: string;
  codec: Codec;
  /** Row-major, slowest dimension first: the reverse of GGML's own order. */
  shape: number[];
  elements: number;
  /** Of the first byte in the file. */
  offset: number;
  bytes: number;
}

export interface GgufHeader {
  version: number;
  metadata: Map<string, GgufValue>;
  tensors: Map<string, GgufTensorInfo>;
}

/** Tensor types by their number in the file. */
const CODECS = new Map<number, [name: string, codec: Codec]>([
  [0, ["F32", F32]],
  [1, ["F16", F16]],
  [2, ["Q4_0", Q4_0]],
  [3, ["Q4_1", Q4_1]],
  [6, ["Q5_0", Q5_0]],
  [7, ["Q5_1", Q5_1]],
  [8, ["Q8_0", Q8_0]],
  [10, ["Q2_K", Q2_K]],
  [11, ["Q3_K", Q3_K]],
  [12, ["Q4_K", Q4_K]],
  [13, ["Q5_K", Q5_K]],
  [14, ["Q6_K", Q6_K]],
  [20, ["IQ4_NL", IQ4_NL]],
  [23, ["IQ4_XS", IQ4_XS]],
  [30, ["BF16", BF16]],
]);

/** Those that are not read, for messages: numbers 9 to 29 but for the above, and a few later ones. */
const UNREAD = new Map<number, string>([
  ...["Q8_1", "Q2_K", "Q3_K"].map((name, i) => [9 + i, name] as const),
  ...["Q8_K", "IQ2_XXS", "IQ2_XS", "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S"].map((name, i) => [15 + i, name] as const),
  ...["IQ2_S", "IQ4_XS", "I8", "I16", "I32", "I64", "F64", "IQ1_M"].map((name, i) => [22 + i, name] as const),
  ...([
    [34, "TQ1_0"],
    [35, "TQ2_0"],
    [39, "MXFP4"],
    [40, "NVFP4"],
  ] as const),
]);

/** The number under which a file names a type that can be read. */
export function typeNumber(type: string): number {
  for (const [number, [name]] of CODECS) if (name === type) return number;
  throw new Error(`there is no GGUF type ${type}`);
}

/** The types that can be read, for messages and documentation. */
export const GGUF_TYPES: readonly string[] = [...CODECS.values()].map(([name]) => name);

/** Bytes of each fixed-size metadata type, and the array that holds many; 7 (bool), 8 (string), 9 (array) stand apart. */
const NUMBERS = new Map<number, [new (buffer: ArrayBuffer) => GgufNumbers, number]>([
  [0, [Uint8Array, 1]],
  [1, [Int8Array, 1]],
  [2, [Uint16Array, 2]],
  [3, [Int16Array, 2]],
  [4, [Uint32Array, 4]],
  [5, [Int32Array, 4]],
  [6, [Float32Array, 4]],
  [10, [BigUint64Array, 8]],
  [11, [BigInt64Array, 8]],
  [12, [Float64Array, 8]],
]);
export const [BOOL, STRING, ARRAY] = [7, 8, 9] as const;

/** A 262,144-entry vocabulary with its merges is 15 MB; nothing honest comes near these. */
const LARGEST_HEADER = 100_000_000;
const LONGEST_STRING = 10_000_000;
const MOST_DIMENSIONS = 4;
export const DEFAULT_ALIGNMENT = 32;

/**
 * Reads and checks the header of a GGUF file (versions 2 and 3, little-endian): metadata and tensor descriptions.
 *
 * Time and memory are proportional to the header's real bytes, at most 100 MB, whatever counts and lengths it claims:
 * a count is believed only as far as the file is long enough for it. Throws CheckpointError.
 * Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export async function readGgufHeader(file: RangeFile): Promise<GgufHeader> {
  const cursor = new Cursor(file);
  const magic = await cursor.u32("the magic number");
  if (magic !== 0x46554747) cursor.fail("the magic number", `"GGUF"`, `0x${magic.toString(16)}`);
  const version = await cursor.u32("the version");
  if (version !== 2 && version !== 3) {
    const swapped = version === 0x02000000 || version === 0x03000000;
    const fix = swapped ? "Convert it for little-endian machines." : "Convert it again with a current llama.cpp.";
    cursor.fail("the version", "2 or 3, little-endian", swapped ? "a big-endian file" : `${version}`, fix);
  }
  // A tensor description takes 24 bytes at least, a metadata pair 13.
  const tensorCount = await cursor.count("the number of tensors", 24, MOST_TENSORS);
  const pairCount = await cursor.count("the number of metadata pairs", 13, MOST_METADATA);

  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < pairCount; i++) {
    const key = await cursor.string(`the key of metadata pair ${i}`);
    if (metadata.has(key)) cursor.fail(`metadata ${quote(key)}`, "each key once", "it twice");
    metadata.set(key, await value(cursor, key));
  }
  const infos = new Map<string, Omit<GgufTensorInfo, "offset"> & { relative: number }>();
  for (let i = 0; i < tensorCount; i++) {
    const name = await cursor.string(`the name of tensor ${i}`);
    if (infos.has(name)) cursor.fail(`tensor ${quote(name)}`, "each name once", "it twice");
    infos.set(name, await tensorInfo(cursor, name));
  }

  const alignment = metadata.get("general.alignment") ?? DEFAULT_ALIGNMENT;
  if (typeof alignment !== "number" || alignment < 1 || !Number.isInteger(Math.log2(alignment))) {
    return cursor.fail("general.alignment", "a power of two", quote(alignment));
  }
  const dataStart = Math.ceil(cursor.position / alignment) * alignment;
  const tensors = new Map<string, GgufTensorInfo>();
  for (const [name, { relative, ...info }] of infos) {
    if (relative % alignment !== 0) {
      cursor.fail(`tensor ${quote(name)}`, `an offset on a multiple of ${alignment}`, `${relative}`);
    }
    tensors.set(name, { ...info, offset: dataStart + relative });
  }
  checkPlaces(cursor, tensors);
  return { version, metadata, tensors };
}

async function value(cursor: Cursor, key: string): Promise<GgufValue> {
  const where = `metadata ${quote(key)}`;
  const type = await cursor.u32(where);
  if (type === STRING) return cursor.string(where);
  if (type === BOOL) return (await cursor.bytes(1, where))[0] !== 0;
  if (type === ARRAY) return array(cursor, where);
  const known = NUMBERS.get(type);
  if (known === undefined) return cursor.fail(where, "a value type from 0 to 12", `${type}`);
  const number = new known[0](copy(await cursor.bytes(known[1], where)))[0]!;
  return typeof number === "bigint" && Number.isSafeInteger(Number(number)) ? Number(number) : number;
}

async function array(cursor: Cursor, where: string): Promise<GgufValue> {
  const type = await cursor.u32(where);
  if (type === ARRAY) return cursor.fail(where, "an array of numbers or strings", "an array of arrays");
  if (type === STRING) {
    const length = await cursor.count(where, 8);
    const strings: string[] = [];
    for (let i = 0; i < length; i++) strings.push(cursor.stringNow() ?? (await cursor.string(where)));
    return strings;
  }
  const known = type === BOOL ? ([Uint8Array, 1] as const) : NUMBERS.get(type);
  if (known === undefined) return cursor.fail(where, "an element type from 0 to 12", `${type}`);
  const length = await cursor.count(where, known[1]);
  return new known[0](copy(await cursor.bytes(length * known[1], where)));
}

/** A buffer of its own, aligned for any number type; Buffer's own `slice` would share the window. */
const copy = (bytes: Buffer): ArrayBuffer => new Uint8Array(bytes).buffer;

async function tensorInfo(cursor: Cursor, name: string) {
  const where = `tensor ${quote(name)}`;
  const dimensions = await cursor.u32(where);
  if (dimensions > MOST_DIMENSIONS) cursor.fail(where, `at most ${MOST_DIMENSIONS} dimensions`, `${dimensions}`);
  const shape: number[] = [];
  for (let i = 0; i < dimensions; i++) shape.unshift(await cursor.u64(`a dimension of ${where}`));
  const id = await cursor.u32(where);
  const relative = await cursor.u64(`the offset of ${where}`);
  const known = CODECS.get(id);
  if (known === undefined) {
    const name = UNREAD.get(id) ?? `number ${id}`;
    // Codebooks of thousands of numbers that belong to llama.cpp: there is no rule to compute them by.
    const codebook = name.startsWith("IQ") ? `${name} packs by a codebook that is not built in here. ` : "";
    const fix = `${codebook}Take a file of the same model in one of these (IQ4_XS and Q2_K are the smallest), or make one with llama-quantize.`;
    return cursor.fail(where, `a type of ${GGUF_TYPES.join(", ")}`, name, fix);
  }
  const [type, codec] = known;
  const elements = numel(shape);
  if (!Number.isSafeInteger(elements)) cursor.fail(where, "at most 2^53 numbers", `shape ${quote(shape)}`);
  if ((shape.at(-1) ?? 1) % codec.blockSize !== 0) {
    cursor.fail(where, `rows of whole blocks of ${codec.blockSize} (${type})`, `rows of ${shape.at(-1)}`);
  }
  return { type, codec, shape, elements, bytes: (elements / codec.blockSize) * codec.blockBytes, relative };
}

/** Tensors lie inside the file and apart from each other; padding between them is allowed. */
function checkPlaces(cursor: Cursor, tensors: Map<string, GgufTensorInfo>): void {
  let end = 0;
  let previous = "the header";
  for (const [name, { offset, bytes }] of [...tensors].sort(
    ([, a], [, b]) => a.offset - b.offset || a.bytes - b.bytes,
  )) {
    const where = `tensor ${quote(name)}`;
    const place = `bytes ${offset} to ${offset + bytes}`;
    if (offset + bytes > cursor.file.size) {
      const fix = "The file is cut short or damaged; download it again.";
      cursor.fail(where, `data within the file's ${cursor.file.size} bytes`, place, fix);
    }
    if (offset < end) cursor.fail(where, `data after byte ${end}, where ${previous} ends`, place);
    end = offset + bytes;
    previous = where;
  }
}

/** A forward reader over a window of the file; every length is checked against what is left before it is used. */
class Cursor {
  readonly file: RangeFile;
  private window = Buffer.alloc(0);
  /** Of the window's first byte in the file, and of the next byte to read in the window. */
  private start = 0;
  private at = 0;

  constructor(file: RangeFile) {
    this.file = file;
  }

  get position(): number {
    return this.start + this.at;
  }

  fail(where: string, expected: string, found: string, fix?: string): never {
    const problem = { file: this.file.path, where: `${where} (before byte ${this.position})`, expected, found };
    throw new CheckpointError(fix === undefined ? problem : { ...problem, fix });
  }

  /** The next `length` bytes, valid until the next call. */
  async bytes(length: number, where: string): Promise<Buffer> {
    if (length > this.window.length - this.at) await this.fill(length, where);
    this.at += length;
    return this.window.subarray(this.at - length, this.at);
  }

  async u32(where: string): Promise<number> {
    return (await this.bytes(4, where)).readUInt32LE(0);
  }

  /** A 64-bit number that must be exact as a double. */
  async u64(where: string): Promise<number> {
    const number = (await this.bytes(8, where)).readBigUInt64LE(0);
    if (number > BigInt(Number.MAX_SAFE_INTEGER)) this.fail(where, "at most 2^53", quote(number));
    return Number(number);
  }

  /** A 64-bit count of things of at least `size` bytes each, for all of which the rest of the header must have room. */
  async count(where: string, size: number, most = Number.POSITIVE_INFINITY): Promise<number> {
    const count = await this.u64(where);
    if (count > most) this.fail(where, `at most ${most}`, `${count}`);
    const room = Math.floor((Math.min(this.file.size, LARGEST_HEADER) - this.position) / size);
    if (count > room) this.fail(where, `at most ${room}, for which there is room`, `${count}`);
    return count;
  }

  async string(where: string): Promise<string> {
    const length = await this.u64(where);
    if (length > LONGEST_STRING) this.fail(where, `text of at most ${LONGEST_STRING} bytes`, `${length}`);
    return (await this.bytes(length, where)).toString("utf8");
  }

  /** The next string if the window holds all of it: half a million tokens and merges are read without awaiting each. */
  stringNow(): string | undefined {
    const { window, at } = this;
    if (window.length - at < 8 || window.readUInt32LE(at + 4) !== 0) return undefined;
    const end = at + 8 + window.readUInt32LE(at);
    if (end > window.length) return undefined;
    this.at = end;
    return window.toString("utf8", at + 8, end);
  }

  private async fill(length: number, where: string): Promise<void> {
    const left = this.file.size - this.position;
    if (length > left) {
      this.fail(where, `${length} more bytes`, `${left} in the file`, "The file is cut short; download it again.");
    }
    if (this.position + length > LARGEST_HEADER) {
      this.fail(where, `a header of at most ${LARGEST_HEADER} bytes`, "a longer one");
    }
    const position = this.position;
    const next = Buffer.allocUnsafe(Math.min(left, Math.max(length, 1 << 20)));
    await this.file.read(next, position);
    this.window = next;
    this.start = position;
    this.at = 0;
  }
}
