import { existsSync, mkdirSync } from "node:fs";
import { dirname, resolve } from "node:path";
import type Libsql from "libsql";
import { openDatabase } from "./database.ts";
import { storeError } from "./errors.ts";

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
  #database: Libsql.Database | undefined;

  private constructor(path: string, database: Libsql.Database) {
    this.#path = path;
    this.#database = database;
  }

  /** The lock, or undefined where someone has it. Makes the file and its folder. */
  static acquire(path: string): Lock | undefined {
    const place = resolve(path);
    if (held.has(place)) return undefined;
    try {
      mkdirSync(dirname(place), { recursive: true });
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
  try {
    const database = begin(place, 0);
    if (database) end(database);
    return database === undefined;
  } catch {
    return true;
  }
}

/** A connection with an open write transaction, or undefined where another has one. */
function begin(path: string, patience: number): Libsql.Database | undefined {
  const database = openDatabase(path, patience);
  try {
    database.exec("BEGIN IMMEDIATE");
    return database;
  } catch (error) {
    database.close();
    if ((error as { code?: string }).code === "SQLITE_BUSY") return undefined;
    throw error;
  }
}

function end(database: Libsql.Database): void {
  database.exec("ROLLBACK");
  database.close();
}
