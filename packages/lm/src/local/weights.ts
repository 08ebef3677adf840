import { createHash } from "node:crypto";
import { type FileHandle, mkdir, stat } from "node:fs/promises";
import { join } from "node:path";
import {
  type DType,
  numel,
  pruneCache,
  type Tensor,
  type TypedData,
  taken,
  touch,
  weight,
  writeWhole,
} from "@tenet/tensor";
import type { Checkpoint } from "../checkpoint/index.ts";
import { weightShapes } from "../decoder/index.ts";
import { changedMeanwhile, contentsHash } from "./contents.ts";

/** Weights begin at multiples of this many bytes: what memory mapping takes on every system. */
const alignment = 65536;

/** One tensor of a file of weights. */
export interface Piece {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

/**
 * A checkpoint's weights as graph tensors backed by one float32 file, which every process maps instead of reading.
 *
 * The file is written once per checkpoint, tensor by tensor, under a name made of the contents of the checkpoint's files; it
 * appears whole or not at all, and may be deleted at any time it is not in use.
 * Errors: those of reading the checkpoint, one that changes meanwhile included, and what the disk refuses.
 */
export async function mappedWeights(checkpoint: Checkpoint, folder: string): Promise<ReadonlyMap<string, Tensor>> {
  const pieces = Object.entries(weightShapes(checkpoint.config)).map(
    ([name, shape]): Piece => ({ name, dtype: "float32", shape }),
  );
  return mappedFile(checkpoint, folder, "f32", pieces, async function* () {
    for (const { name } of pieces) yield [name, await checkpoint.read(name)];
  });
}

const bytesPer: Partial<Record<DType, number>> = { float32: 4, int8: 1, uint8: 1 };

/**
 * Tensors made of a checkpoint, backed by one file that is written when there is none: `values` gives each of the pieces
 * by its name.
 */
export async function mappedFile(
  checkpoint: Checkpoint,
  folder: string,
  format: string,
  pieces: readonly Piece[],
  values: () => AsyncIterable<readonly [name: string, data: TypedData]>,
): Promise<ReadonlyMap<string, Tensor>> {
  const offsets = new Map<string, number>();
  let end = 0;
  for (const { name, dtype, shape } of pieces) {
    offsets.set(name, end);
    const bytes = bytesPer[dtype]! * numel(shape);
    end += Math.ceil(bytes / alignment) * alignment;
  }
  await mkdir(folder, { recursive: true });
  const name = await identity(checkpoint, folder);
  const path = join(folder, `${name}.${format}`);
  const size = await stat(path).then(
    (status) => status.size,
    () => undefined,
  );
  if (size !== end)
    await writeWhole(path, async (file) => {
      for await (const [name, data] of values()) await writeAt(file, data, offsets.get(name)!);
      await file.truncate(end);
      if ((await identity(checkpoint, folder)) !== name) throw changedMeanwhile(checkpoint.path);
    });
  else await touch(path);
  await taken(pruneCache(folder));
  return new Map(
    pieces.map(({ name, dtype, shape }) => [name, weight(name, shape, { path, offset: offsets.get(name)! }, dtype)]),
  );
}

/** Names what is made of a checkpoint by the contents of its files, wherever they lie. */
async function identity({ tensors, config }: Checkpoint, folder: string): Promise<string> {
  const hashes = new Map<string, string>();
  for (const { file } of tensors.values()) if (!hashes.has(file)) hashes.set(file, await contentsHash(file, folder));
  const places = [...tensors].map(([name, { file, offset }]) => [name, hashes.get(file), offset]);
  return createHash("sha256")
    .update(JSON.stringify([places, weightShapes(config)]))
    .digest("hex")
    .slice(0, 32);
}

/** Systems write less than 2 GiB at once. */
const largestWrite = 1 << 30;

async function writeAt(file: FileHandle, { buffer, byteOffset, byteLength }: TypedData, offset: number): Promise<void> {
  const bytes = new Uint8Array(buffer, byteOffset, byteLength);
  for (let done = 0; done < byteLength; ) {
    const { bytesWritten } = await file.write(bytes, done, Math.min(byteLength - done, largestWrite), offset + done);
    done += bytesWritten;
  }
}
