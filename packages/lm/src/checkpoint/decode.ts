import { CheckpointError, quote } from "./errors.ts";
import type { RangeFile } from "./file.ts";
import type { Codec } from "./floats.ts";

/** Bytes read and decoded at a time: large enough for the disk, small enough for the processor's cache. */
const CHUNK = 1 << 18;

/** Where one tensor's bytes lie and how they are read. */
export interface Segment {
  file: RangeFile;
  /** For messages. */
  name: string;
  codec: Codec;
  /** Of the first byte in the file. */
  offset: number;
  elements: number;
  /** Moves row r of the stored matrix to row `order(r)` of the result; each row is `columns` numbers. */
  rows?: { columns: number; order: (row: number) => number };
}

/**
 * Reads a tensor into `out` as float32.
 *
 * Float32 goes straight from the file to its place. Every other type passes through two small chunks (one is read while
 * the other is decoded), so memory stays at the result plus half a megabyte whatever the tensor's size.
 * Throws CheckpointError when `out` has another length than the tensor or the file ends early.
 */
export async function decodeInto(segment: Segment, out: Float32Array): Promise<void> {
  const { file, codec, offset, elements, rows } = segment;
  if (out.length !== elements) {
    throw new CheckpointError({
      file: file.path,
      where: `tensor ${quote(segment.name)}`,
      expected: `a target of ${elements} numbers`,
      found: `one of ${out.length}`,
      fix: "Allocate the target from the tensor's shape.",
    });
  }
  if (elements === 0) return;
  if (rows === undefined && codec.blockSize === 1 && codec.blockBytes === 4) {
    return file.read(new Uint8Array(out.buffer, out.byteOffset, out.byteLength), offset);
  }
  // A run is what stays together in the result: a row where rows move, a block where they do not.
  const runBlocks = rows === undefined ? 1 : rows.columns / codec.blockSize;
  const runBytes = runBlocks * codec.blockBytes;
  const totalRuns = elements / (runBlocks * codec.blockSize);
  const chunkRuns = Math.max(1, Math.min(totalRuns, Math.floor(CHUNK / runBytes)));
  let current = new Uint8Array(chunkRuns * runBytes);
  let next = totalRuns > chunkRuns ? new Uint8Array(chunkRuns * runBytes) : current;
  const fetch = (target: Uint8Array, first: number) =>
    file.read(target.subarray(0, Math.min(chunkRuns, totalRuns - first) * runBytes), offset + first * runBytes);

  let pending = fetch(current, 0);
  for (let first = 0; first < totalRuns; first += chunkRuns) {
    await pending;
    const runs = Math.min(chunkRuns, totalRuns - first);
    if (first + runs < totalRuns) pending = fetch(next, first + runs);
    if (rows === undefined) {
      codec.decode(current, out, first * codec.blockSize, runs);
    } else {
      // The widest view of `codec` is two bytes and a row of it is a multiple of that, so a row may start anywhere.
      for (let run = 0; run < runs; run++) {
        const bytes = current.subarray(run * runBytes, (run + 1) * runBytes);
        codec.decode(bytes, out, rows.order(first + run) * rows.columns, runBlocks);
      }
    }
    [current, next] = [next, current];
  }
}

/**
 * Allocates a tensor's result; a size that no memory can hold is the file's fault and is said so.
 *
 * Returns `elements` zeros. Throws CheckpointError.
 */
export function allocate(segment: Pick<Segment, "elements" | "file" | "name">): Float32Array {
  try {
    return new Float32Array(segment.elements);
  } catch (cause) {
    throw new CheckpointError({
      file: segment.file.path,
      where: `tensor ${quote(segment.name)}`,
      expected: "a tensor that fits in memory as float32",
      found: `${segment.elements} numbers`,
      fix: "Use a machine with more memory or a smaller model.",
      cause,
    });
  }
}
