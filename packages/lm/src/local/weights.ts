import { createHash, randomBytes } from "node:crypto";
import { mkdir, open, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Tensor, weight } from "@tenet/tensor";
import type { Checkpoint } from "../checkpoint/index.ts";
import { weightShapes } from "../decoder/index.ts";

/** Weights begin at multiples of this many bytes: what memory mapping takes on every system. */
const alignment = 65536;

/**
 * A checkpoint's weights as graph tensors backed by one float32 file, which every process maps instead of reading.
 *
 * The file is written once per checkpoint, tensor by tensor, under a name made of the checkpoint's files, sizes and
 * times; it appears whole or not at all, and may be deleted at any time it is not in use.
 * Errors: those of reading the checkpoint, and what the disk refuses.
 */
export async function mappedWeights(checkpoint: Checkpoint, folder: string): Promise<ReadonlyMap<string, Tensor>> {
  const shapes = Object.entries(weightShapes(checkpoint.config));
  const offsets = new Map<string, number>();
  let end = 0;
  for (const [name, shape] of shapes) {
    offsets.set(name, end);
    const bytes = 4 * shape.reduce((a, b) => a * b, 1);
    end += Math.ceil(bytes / alignment) * alignment;
  }
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${await identity(checkpoint)}.f32`);
  const size = await stat(path).then(
    (status) => status.size,
    () => undefined,
  );
  if (size !== end) await convert(checkpoint, offsets, end, path);
  return new Map(
    shapes.map(([name, shape]) => [name, weight(name, shape as number[], { path, offset: offsets.get(name)! })]),
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

async function convert(
  checkpoint: Checkpoint,
  offsets: ReadonlyMap<string, number>,
  size: number,
  path: string,
): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}.tmp`;
  const file = await open(temporary, "wx");
  try {
    for (const [name, offset] of offsets) {
      const values = await checkpoint.read(name);
      await file.write(
        new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
        0,
        values.byteLength,
        offset,
      );
    }
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
