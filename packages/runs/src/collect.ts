import { randomBytes } from "node:crypto";
import { renameSync } from "node:fs";
import { readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { TEMPORARY } from "./artifacts.ts";
import type { Connection } from "./database.ts";
import { linesOf } from "./dataset.ts";
import { RunBusyError, storeError } from "./errors.ts";
import { Lock } from "./lock.ts";
import { readRun, runLock } from "./read.ts";
import { type Collected, hashSchema } from "./types.ts";

/** Items removed in one transaction: other processes wait no longer than it takes. */
const CHUNK = 500;

/** Forgets a run. What it computed stays until `collect`. */
export function removeRun(db: Connection, run: string): void {
  const lock = Lock.acquire(runLock(db.folder, run));
  if (!lock) throw new RunBusyError(run, readRun(db, run)?.writer);
  try {
    db.transaction(() => {
      for (const table of ["stage", "superseded", "progress", "event", "usage"])
        db.prepare(`DELETE FROM ${table} WHERE run = ?`).run(run);
      db.prepare("DELETE FROM run WHERE id = ?").run(run);
    });
  } finally {
    lock.release();
  }
}

const NEEDED_WORK = "SELECT 1 FROM holder WHERE holder.work = work.id";
const NEEDED_ITEM = "SELECT 1 FROM member JOIN holder ON holder.work = member.work WHERE member.item = item.id";
const NEEDED_ARTIFACT =
  "SELECT 1 FROM work_artifact JOIN holder ON holder.work = work_artifact.work WHERE artifact = ?";
const NEEDED_SCRATCH =
  "SELECT 1 FROM stage JOIN work ON work.id = stage.work WHERE identity = ? AND work.finished IS NULL";

/**
 * Removes what no stage of a run needs. Each decision is taken in the transaction that carries it out, so a run that begins
 * to need something meanwhile keeps it.
 */
export async function collect(db: Connection, options: { dryRun: boolean; graceSeconds: number }): Promise<Collected> {
  const collected: Collected = { works: 0, items: 0, artifacts: 0, scratch: 0, bytes: 0 };
  try {
    collectItems(db, options.dryRun, collected);
    await collectFolders(db, "artifacts", NEEDED_ARTIFACT, options, collected);
    await collectFolders(db, "scratch", NEEDED_SCRATCH, options, collected);
  } catch (error) {
    throw storeError(error, db.folder);
  }
  return collected;
}

function collectItems(db: Connection, dryRun: boolean, collected: Collected): void {
  const total = db
    .prepare<{ items: number; bytes: number }>(`
      SELECT count(*) AS items, coalesce(sum(octet_length(jsonl) + octet_length(input)), 0) AS bytes
      FROM item WHERE NOT EXISTS (${NEEDED_ITEM})`)
    .get()!;
  const works = db.prepare<{ id: number }>(`SELECT id FROM work WHERE NOT EXISTS (${NEEDED_WORK})`).all();
  if (dryRun) {
    collected.works = works.length;
    collected.items = total.items;
    collected.bytes += total.bytes;
    return;
  }

  for (const { id } of works) if (removeWork(db, id)) collected.works++;

  const page = db.prepare<{ id: number; jsonl: string; bytes: number }>(`
    SELECT id, jsonl, octet_length(jsonl) + octet_length(input) AS bytes
    FROM item WHERE NOT EXISTS (SELECT 1 FROM member WHERE member.item = item.id) AND id > ? ORDER BY id LIMIT ${CHUNK}`);
  const removeRow = db.prepare("DELETE FROM row WHERE id = ? AND item = ?");
  const removeItem = db.prepare("DELETE FROM item WHERE id = ?");
  for (let last = 0, more = true; more; ) {
    more = db.transaction(() => {
      const found = page.all(last);
      for (const { id, jsonl, bytes } of found) {
        for (const line of linesOf(jsonl)) removeRow.run((JSON.parse(line) as { id: string }).id, id);
        removeItem.run(id);
        collected.items++;
        collected.bytes += bytes;
        last = id;
      }
      return found.length === CHUNK;
    });
  }
  db.exec("PRAGMA incremental_vacuum");
  db.exec("PRAGMA wal_checkpoint(TRUNCATE)");
}

/** Removes a work, unless a run came to need it. Its members go in portions: other processes must not wait for all of them. */
function removeWork(db: Connection, id: number): boolean {
  const removed = db.transaction(() => {
    if (!db.prepare(`SELECT id FROM work WHERE id = ? AND NOT EXISTS (${NEEDED_WORK})`).get(id)) return false;
    db.prepare("DELETE FROM seal WHERE name = 'output ' || (SELECT identity FROM work WHERE id = ?)").run(id);
    // Nobody finds it any more, also if this process dies before the members are gone.
    db.prepare("UPDATE work SET identity = 'removed ' || id WHERE id = ?").run(id);
    return true;
  });
  if (!removed) return false;
  const portion = db.prepare(
    `DELETE FROM member WHERE work = ?1 AND ordinal IN (SELECT ordinal FROM member WHERE work = ?1 LIMIT ${10 * CHUNK})`,
  );
  while (portion.run(id).changes > 0);
  db.transaction(() => {
    for (const table of ["metric", "step", "rollout", "work_artifact"])
      db.prepare(`DELETE FROM ${table} WHERE work = ?`).run(id);
    db.prepare("DELETE FROM work WHERE id = ?").run(id);
  });
  return true;
}

/** Folders and files named by a hash that `needed` does not find, and forgotten temporary ones. Others are not ours. */
async function collectFolders(
  db: Connection,
  kind: "artifacts" | "scratch",
  needed: string,
  options: { dryRun: boolean; graceSeconds: number },
  collected: Collected,
): Promise<void> {
  const parent = join(db.folder, kind);
  const isNeeded = db.prepare(needed);
  const before = Date.now() - options.graceSeconds * 1000;
  for (const name of await namesIn(parent)) {
    const place = join(parent, name);
    const temporary = name.startsWith(TEMPORARY);
    if (!temporary && !hashSchema.safeParse(name).success) continue;
    if (!temporary && isNeeded.get(name)) continue;
    if ((temporary || kind === "artifacts") && (await addedAt(db, kind, name, place)) > before) continue;
    const bytes = await sizeOf(place);
    if (!options.dryRun) {
      const rubbish = temporary ? place : join(parent, `${TEMPORARY}${process.pid}-${randomBytes(6).toString("hex")}`);
      const moved = db.transaction(() => {
        if (temporary) return true;
        if (isNeeded.get(name)) return false;
        if (kind === "artifacts") {
          db.prepare("DELETE FROM artifact WHERE hash = ?").run(name);
          db.prepare("DELETE FROM work_artifact WHERE artifact = ?").run(name);
          db.prepare("DELETE FROM seal WHERE name = ?").run(`artifact ${name}`);
        }
        renameSync(place, rubbish);
        return true;
      });
      if (!moved) continue;
      await rm(rubbish, { recursive: true, force: true });
    }
    if (!temporary) collected[kind]++;
    collected.bytes += bytes;
  }
}

/** Milliseconds since 1970. An artifact that was added again is as young as the second time. */
async function addedAt(db: Connection, kind: string, name: string, place: string): Promise<number> {
  const entry =
    kind === "artifacts" && db.prepare<{ added: string }>("SELECT added FROM artifact WHERE hash = ?").get(name);
  return entry ? Date.parse(entry.added) : (await stat(place)).mtimeMs;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Bytes of the files of a file or folder. */
async function sizeOf(path: string): Promise<number> {
  const entry = await stat(path);
  if (!entry.isDirectory()) return entry.size;
  let bytes = 0;
  for (const name of await readdir(path)) bytes += await sizeOf(join(path, name));
  return bytes;
}
