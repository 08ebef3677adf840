import { randomBytes } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { cacheFolder } from "../catalogue/index.ts";

const temporaryEnd = ".tmp";
/** A file that is being written changes every few seconds: one that did not for an hour was left by a process that ended. */
const abandonedMs = 3_600_000;
/** Weights that no process opened for so long are made again when they are needed again. */
const unusedMs = 30 * 24 * 3_600_000;

/** Where a cache keeps weights as they are mapped into memory. */
export function weightsFolder(cacheDir: string = cacheFolder()): string {
  return join(cacheDir, "weights");
}

/** Writes a file that appears whole or not at all: beside its place, flushed, renamed. Errors: what `fill` and the disk throw. */
export async function writeWhole(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const temporary = `${path}.${randomBytes(6).toString("hex")}${temporaryEnd}`;
  const file = await open(temporary, "wx");
  try {
    await fill(file);
    await file.sync();
    await file.close();
    await rename(temporary, path);
  } catch (cause) {
    await file.close().catch(() => undefined);
    await rm(temporary, { force: true });
    throw cause;
  }
}

/** Removes what processes that were killed while they wrote left in the folder. */
export async function removeAbandoned(folder: string): Promise<void> {
  for (const { path, abandoned } of await filesIn(folder)) if (abandoned) await rm(path, { force: true });
}

/**
 * Removes from a cache what was left half written, and weights that were not opened for 30 days: they are made again from
 * their checkpoint when needed. Returns how many files that were, and their bytes; `dryRun` removes nothing.
 */
export async function collectWeights(
  options: { cacheDir?: string; dryRun?: boolean } = {},
): Promise<{ files: number; bytes: number }> {
  const collected = { files: 0, bytes: 0 };
  for (const { path, bytes, age, abandoned } of await filesIn(weightsFolder(options.cacheDir))) {
    if (!abandoned && age < unusedMs) continue;
    if (!options.dryRun) await rm(path, { force: true });
    collected.files++;
    collected.bytes += bytes;
  }
  return collected;
}

interface WeightFile {
  readonly path: string;
  readonly bytes: number;
  /** Milliseconds since it was written or, if it is whole, opened. */
  readonly age: number;
  readonly abandoned: boolean;
}

/** The files of a folder; none where there is no such folder. */
async function filesIn(folder: string): Promise<WeightFile[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const files: WeightFile[] = [];
  for (const name of names) {
    const path = join(folder, name);
    // Another process may have put it in its place, or cleared it away.
    const status = await stat(path).catch(() => undefined);
    if (!status?.isFile()) continue;
    const age = Date.now() - status.mtimeMs;
    files.push({ path, bytes: status.size, age, abandoned: name.endsWith(temporaryEnd) && age > abandonedMs });
  }
  return files;
}
