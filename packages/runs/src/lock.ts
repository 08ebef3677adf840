import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { type Access, type Database, openDatabase, withSqliteCode } from "./database.ts";
import { storeError } from "./errors.ts";
import { makeFolder } from "./folder.ts";

/** How long `acquire` waits: longer than a look by `isLocked` lasts. */
const PATIENCE_MILLISECONDS = 250;

/** Paths of the locks that this process holds. */
const held = new Set<string>();

/**
 * A lock between processes: an open write transaction on an empty database. The operating system ends it with the
 * process that holds it, however that dies, so there is nothing to clean up and no process id to misread.
 *
 * The file must never be opened by other means in a process that may hold it: on POSIX closing any handle of a file gives
 * up the process' locks on it.
 */
export class Lock {
  readonly #path: string;
  #database: Database | undefined;

  private constructor(path: string, database: Database) {
    this.#path = path;
    this.#database = database;
  }

  /** The lock, or undefined where someone has it. Makes the file and its folder. */
  static acquire(path: string): Lock | undefined {
    const place = resolve(path);
    if (held.has(place)) return undefined;
    try {
      makeFolder(dirname(place));
      const database = begin(place, PATIENCE_MILLISECONDS);
      if (!database) return undefined;
      held.add(place);
      return new Lock(place, database);
    } catch (error) {
      throw storeError(error, place);
    }
  }

  /** Gives the lock up; once is enough, twice does no harm. */
  release(): void {
    if (!this.#database) return;
    held.delete(this.#path);
    end(this.#database);
    this.#database = undefined;
  }
}

/** Whether someone holds the lock, this process or another; true as well where this user may not look. */
export function isLocked(path: string): boolean {
  const place = resolve(path);
  if (held.has(place)) return true;
  if (!existsSync(place)) return false;
  // Where nothing can be written, on a read-only file system, reading finds a writer too: it lets nobody read.
  for (const access of ["write", "read"] as const) {
    try {
      const database = begin(place, 0, access);
      if (database) end(database);
      return database === undefined;
    } catch {
      // Tried in the other way.
    }
  }
  return true;
}

/** A connection with an open transaction that is alone, or undefined where another has one. With "read" others may read too. */
function begin(path: string, patience: number, access: Access = "write"): Database | undefined {
  const database = openDatabase(path, patience, access);
  try {
    database.exec(access === "write" ? "BEGIN EXCLUSIVE" : "BEGIN; SELECT count(*) FROM sqlite_schema");
    return database;
  } catch (error) {
    database.close();
    const fault = withSqliteCode(error) as { code?: string };
    if (fault.code === "SQLITE_BUSY") return undefined;
    throw fault;
  }
}

function end(database: Database): void {
  database.exec("ROLLBACK");
  database.close();
}
