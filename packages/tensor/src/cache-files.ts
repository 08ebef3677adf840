import { randomBytes } from "node:crypto";
import { type FileHandle, open, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { join } from "node:path";

/*
 * Files that a cache keeps: each appears whole or not at all, can be made again at any time, and goes when nobody wants it any more.
 */

const temporaryEnd = ".tmp";
/** A file that is being written changes every few seconds: one that did not for an hour was left by a process that ended. */
const abandonedMs = 3_600_000;
/** What no process opened for so long is made again when it is needed again. */
const unusedMs = 30 * 24 * 3_600_000;
/** What is said of a place that is full or not ours to write in. */
const unwritable = new Set(["ENOSPC", "EDQUOT", "EROFS", "EACCES", "EPERM"]);

/** A name beside a file's place under which it is written first. */
export function temporaryPath(path: string): string {
  return `${path}.${randomBytes(6).toString("hex")}${temporaryEnd}`;
}

/** Writes a file that appears whole or not at all: beside its place, flushed, renamed. Errors: what `fill` and the disk throw. */
export async function writeWhole(path: string, fill: (file: FileHandle) => Promise<void>): Promise<void> {
  const temporary = temporaryPath(path);
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

/** Says that a file is wanted: `pruneCache` goes by its time. A folder shared by others may not let itself be told. */
export async function touch(path: string): Promise<void> {
  await utimes(path, new Date(), new Date()).catch(() => undefined);
}

/**
 * Whether a disk took a change of a cache: false where it is full or the place is not ours to write in, which costs time and nothing else.
 * Errors: all that say something else.
 */
export function taken(writing: Promise<unknown>): Promise<boolean> {
  return writing.then(
    () => true,
    (error: NodeJS.ErrnoException) => {
      if (unwritable.has(error.code ?? "")) return false;
      throw error;
    },
  );
}

export interface CacheFile {
  readonly path: string;
  readonly bytes: number;
}

export interface PruneOptions {
  /** Bytes that may stay: what was wanted longest ago goes first. Default all. */
  readonly most?: number;
  /** Default false: say what would go, and leave it. */
  readonly dryRun?: boolean;
}

/**
 * Removes from a folder what was left half written, what was not opened for 30 days, and the oldest of what is too much. Returns what
 * went; nothing where there is no such folder. Errors: what the disk refuses.
 */
export async function pruneCache(folder: string, options: PruneOptions = {}): Promise<readonly CacheFile[]> {
  const { most = Number.POSITIVE_INFINITY, dryRun = false } = options;
  const files = await filesIn(folder);
  let total = 0;
  const gone = files
    .sort((a, b) => a.age - b.age)
    .filter(({ path, bytes, age }) => {
      // What is being written now is another process's.
      if (path.endsWith(temporaryEnd)) return age > abandonedMs;
      if (age >= unusedMs || total + bytes > most) return true;
      total += bytes;
      return false;
    });
  if (!dryRun) for (const { path } of gone) await rm(path, { force: true });
  return gone.map(({ path, bytes }) => ({ path, bytes }));
}

/** The files of a folder with the milliseconds since each was written or, if it is whole, opened; none where there is no such folder. */
async function filesIn(folder: string): Promise<(CacheFile & { readonly age: number })[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw error;
  });
  const files: (CacheFile & { readonly age: number })[] = [];
  for (const name of names) {
    const path = join(folder, name);
    // Another process may have put it in its place, or cleared it away.
    const status = await stat(path).catch(() => undefined);
    if (status?.isFile()) files.push({ path, bytes: status.size, age: Date.now() - status.mtimeMs });
  }
  return files;
}
