import { createHash, randomBytes } from "node:crypto";
import { constants, createReadStream, existsSync, renameSync } from "node:fs";
import { copyFile, lstat, mkdir, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Connection } from "./database.ts";
import { ArtifactChangedError, NotInStoreError, StoreError, storeError } from "./errors.ts";
import { makeFolder } from "./folder.ts";
import { readSeal, writeSeal } from "./seal.ts";
import { type ArtifactInfo, hashSchema } from "./types.ts";

/** Begins the names of what is not, or no longer, an artifact: copies under way and what is being removed. */
export const TEMPORARY = ".tmp-";

/**
 * Copies a file or a folder into the store under the hash of its names and contents.
 *
 * The copy is written under a temporary name, flushed to the disk, and renamed: an artifact is whole or absent. What is
 * hashed is the copy. Empty folders, permissions and times are not part of an artifact.
 *
 * @throws StoreError for symbolic links, devices and names that other systems cannot hold; StoreFullError; StoreAccessError.
 */
export async function addArtifact(
  db: Connection,
  source: string,
  options: { work?: number | undefined } = {},
): Promise<ArtifactInfo> {
  const temporary = join(db.folder, "artifacts", `${TEMPORARY}${process.pid}-${randomBytes(6).toString("hex")}`);
  try {
    makeFolder(join(db.folder, "artifacts"));
    await copy(source, temporary);
    const { hash, bytes, files } = await measure(temporary);
    const place = artifactPlace(db.folder, hash);
    // One that was changed where it lies is no reason to throw the good one away.
    if (existsSync(place) && !(await isIntact(db, hash))) await removeArtifact(db.folder, hash);
    db.transaction(() => {
      db.prepare("INSERT INTO artifact VALUES(?, ?, ?, ?) ON CONFLICT(hash) DO UPDATE SET added = excluded.added").run(
        hash,
        bytes,
        files,
        new Date().toISOString(),
      );
      if (options.work !== undefined)
        db.prepare("INSERT INTO work_artifact VALUES(?, ?) ON CONFLICT DO NOTHING").run(options.work, hash);
      // Inside the transaction, so that no garbage collection runs between the entry and the folder.
      if (!existsSync(place)) renameSync(temporary, place);
    });
    await flushFolder(join(db.folder, "artifacts"));
    await sealArtifact(db, hash);
    return { hash, bytes };
  } catch (error) {
    throw storeError(error, db.folder);
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

/** Where an artifact lies, whether it exists or not. */
export function artifactPlace(folder: string, hash: string): string {
  const { success } = hashSchema.safeParse(hash);
  if (!success)
    throw new NotInStoreError(`${JSON.stringify(hash)} is no artifact's hash, expected 64 hexadecimal digits`);
  return join(folder, "artifacts", hash);
}

/** Whether an artifact's contents, read whole, still have the hash that it is named by. */
export async function hasItsHash(folder: string, hash: string): Promise<boolean> {
  return (await measure(artifactPlace(folder, hash))).hash === hash;
}

/**
 * Whether an artifact is as it was made. Files whose size, place on the disk and times are those that were written down
 * when they were last read whole are not read again: whoever writes to a file, or puts another in its place, changes one of
 * them, `cp -p` and `rsync -t` too. What a failing disk changes by itself is found by `Store.verify` alone.
 */
export async function isIntact(db: Connection, hash: string): Promise<boolean> {
  if (readSeal(db, sealName(hash)) === (await standing(artifactPlace(db.folder, hash)))) return true;
  if (!(await hasItsHash(db.folder, hash))) return false;
  await sealArtifact(db, hash);
  return true;
}

/** The path of an artifact that is as it was made. @throws NotInStoreError, ArtifactChangedError */
export async function intactArtifact(db: Connection, hash: string): Promise<string> {
  const place = artifactPlace(db.folder, hash);
  if (!existsSync(place)) throw new NotInStoreError(`${db.folder} holds no artifact ${hash}`);
  let intact: boolean;
  try {
    intact = await isIntact(db, hash);
  } catch (error) {
    throw storeError(error, db.folder);
  }
  if (!intact) throw new ArtifactChangedError(place);
  return place;
}

/** Removes an artifact's files; a reader that has one open keeps it. */
export async function removeArtifact(folder: string, hash: string): Promise<void> {
  const rubbish = join(folder, "artifacts", `${TEMPORARY}${process.pid}-${randomBytes(6).toString("hex")}`);
  renameSync(artifactPlace(folder, hash), rubbish);
  await rm(rubbish, { recursive: true, force: true });
}

async function sealArtifact(db: Connection, hash: string): Promise<void> {
  writeSeal(db, sealName(hash), await standing(artifactPlace(db.folder, hash)));
}

const sealName = (hash: string) => `artifact ${hash}`;

/** How the files of an artifact stand: what changes with whatever is done to one of them. */
async function standing(path: string): Promise<string> {
  const names = (await lstat(path)).isFile() ? [""] : await filesBelow(path);
  const hash = createHash("sha256");
  for (const name of names) {
    const { size, ino, mtimeNs, ctimeNs } = await lstat(join(path, name), { bigint: true });
    hash.update(`${size} ${ino} ${mtimeNs} ${ctimeNs}  ${name}\n`);
  }
  return hash.digest("hex");
}

/** Hash, bytes and number of files of a file or folder. */
async function measure(path: string): Promise<ArtifactInfo & { files: number }> {
  if ((await lstat(path)).isFile()) return { ...(await hashFile(path)), files: 1 };
  const list = createHash("sha256");
  const total = { bytes: 0, files: 0 };
  for (const name of await filesBelow(path)) {
    const { hash, bytes } = await hashFile(join(path, name));
    list.update(`${hash}  ${name}\n`);
    total.bytes += bytes;
    total.files++;
  }
  return { hash: list.digest("hex"), ...total };
}

async function hashFile(path: string): Promise<ArtifactInfo> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  return { hash: hash.digest("hex"), bytes };
}

/** Copies and flushes. */
async function copy(source: string, target: string): Promise<void> {
  if ((await kindOf(source)) === "file") return copyFlushed(source, target);
  const folders = new Set([target]);
  await mkdir(target);
  for (const name of await filesBelow(source)) {
    const parts = name.split("/");
    for (let depth = 1; depth < parts.length; depth++) {
      const folder = join(target, ...parts.slice(0, depth));
      if (!folders.has(folder)) await mkdir(folder);
      folders.add(folder);
    }
    await copyFlushed(join(source, ...parts), join(target, ...parts));
  }
  for (const folder of folders) await flushFolder(folder);
}

async function copyFlushed(source: string, target: string): Promise<void> {
  await copyFile(source, target, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  // Windows flushes only what may be written; elsewhere a copy of a read-only file must not be opened for writing.
  const file = await open(target, process.platform === "win32" ? "r+" : "r");
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes the names in a folder durable; Windows has no such call and needs none. */
async function flushFolder(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const folder = await open(path, "r");
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/** Paths of the files of a folder, with forward slashes, sorted by their bytes. */
async function filesBelow(folder: string, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for (const name of await readdir(join(folder, prefix))) {
    const path = prefix ? `${prefix}/${name}` : name;
    // Control characters would break the list that is hashed; a backslash means a folder on Windows.
    // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
    if (/[\u0000-\u001f\\]/.test(name))
      throw new StoreError(
        `${JSON.stringify(join(folder, path))}: rename the file; control characters and backslashes cannot be stored`,
      );
    if ((await kindOf(join(folder, path))) === "folder") found.push(...(await filesBelow(folder, path)));
    else found.push(path);
  }
  return found.sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

async function kindOf(path: string): Promise<"file" | "folder"> {
  const entry = await lstat(path);
  if (entry.isFile()) return "file";
  if (entry.isDirectory()) return "folder";
  throw new StoreError(
    `${path} is neither a file nor a folder; artifacts hold no links and no devices. Copy what it points to`,
  );
}
