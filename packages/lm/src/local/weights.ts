import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type DType, type Tensor, type TypedData, weight } from "@tenet/tensor";
import type { Checkpoint } from "../checkpoint/index.ts";
import { weightShapes } from "../decoder/index.ts";

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
 * The file is written once per checkpoint, tensor by tensor, under a name made of the checkpoint's files, sizes and
 * times; it appears whole or not at all, and may be deleted at any time it is not in use.
 * Errors: those of reading the checkpoint, and what the disk refuses.
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
    const bytes = shape.reduce((a, b) => a * b, bytesPer[dtype]!);
    end += Math.ceil(bytes / alignment) * alignment;
  }
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${await identity(checkpoint)}.${format}`);
  const size = await stat(path).then(
    (status) => status.size,
    () => undefined,
  );
  if (size !== end) await write(values(), offsets, end, path);
  return new Map(
    pieces.map(({ name, dtype, shape }) => [name, weight(name, shape, { path, offset: offsets.get(name)! }, dtype)]),
  );
}

/** Names a checkpoint's contents as far as can be told without reading them. */
async function identity(checkpoint: Checkpoint): Promise<string> {
  const files = [...new Set([...checkpoint.tensors.values()].map(({ file }) => file))].sort();
  const facts = await Promise.all(
    files.map(async (file) => {
      const { size, mtimeMs } = await stat(file);
      return [file, size, mtimeMs];
    }),
  );
  return createHash("sha256")
    .update(JSON.stringify([facts, weightShapes(checkpoint.config)]))
    .digest("hex")
    .slice(0, 32);
}

async function write(
  values: AsyncIterable<readonly [name: string, data: TypedData]>,
  offsets: ReadonlyMap<string, number>,
  size: number,
  path: string,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(temporary, "wx");
  try {
    for await (const [name, { buffer, byteOffset, byteLength }] of values)
      await file.write(new Uint8Array(buffer, byteOffset, byteLength), 0, byteLength, offsets.get(name)!);
    await file.truncate(size);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (cause) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw cause;
  }
}
