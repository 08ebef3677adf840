import { join } from "node:path";
import Libsql from "libsql";
import { storeError } from "./errors.ts";

/** What a column holds. The binding ends the whole process when it is given anything else. */
export type Value = string | number | null | Uint8Array;

export interface Statement<Row> {
  all: (...values: readonly Value[]) => Row[];
  get: (...values: readonly Value[]) => Row | undefined;
  run: (...values: readonly Value[]) => { changes: number; lastInsertRowid: number };
}

/** How long a process waits for another one's transaction. Ours last milliseconds. */
const BUSY_MILLISECONDS = 30_000;

/**
 * One connection to a store's database: prepared statements by their text, transactions, errors for people.
 *
 * Statements are always read to the end: one left open would keep its snapshot, and the write-ahead log could not shrink.
 */
export class Connection {
  readonly folder: string;
  readonly #libsql: Libsql.Database;
  readonly #statements = new Map<string, Statement<unknown>>();
  #inTransaction = false;

  /** Opens `store.db` in `folder`, and makes the file if there is none. */
  constructor(folder: string) {
    this.folder = folder;
    this.#libsql = this.#guard(() => openDatabase(join(folder, "store.db"), BUSY_MILLISECONDS));
  }

  prepare<Row>(sql: string): Statement<Row> {
    const known = this.#statements.get(sql);
    if (known) return known as Statement<Row>;
    const prepared = this.#guard(() => this.#libsql.prepare<unknown[]>(sql));
    const statement: Statement<Row> = {
      all: (...values) => this.#guard(() => prepared.all(values.map(bound)) as Row[]),
      get: (...values) => this.#guard(() => withoutMetadata(prepared.get(values.map(bound))) as Row | undefined),
      run: (...values) =>
        this.#guard(() => prepared.run(values.map(bound)) as { changes: number; lastInsertRowid: number }),
    };
    this.#statements.set(sql, statement as Statement<unknown>);
    return statement;
  }

  exec(sql: string): void {
    this.#guard(() => this.#libsql.exec(sql));
  }

  /** Everything that `work` writes, or nothing of it. Within another transaction it is part of that one. */
  transaction<Result>(work: () => Result): Result {
    if (this.#inTransaction) return work();
    this.exec("BEGIN IMMEDIATE");
    this.#inTransaction = true;
    try {
      const result = work();
      this.exec("COMMIT");
      return result;
    } catch (error) {
      try {
        this.#libsql.exec("ROLLBACK");
      } catch {
        // A full disk has SQLite roll back by itself. What went wrong first is what is to be told.
      }
      throw error;
    } finally {
      this.#inTransaction = false;
    }
  }

  close(): void {
    this.#statements.clear();
    this.#libsql.close();
  }

  #guard<Result>(call: () => Result): Result {
    try {
      return call();
    } catch (error) {
      throw storeError(error, this.folder);
    }
  }
}

/** A libsql database; its errors have SQLite's codes, also when the file cannot be opened. */
export function openDatabase(path: string, busyMilliseconds: number): Libsql.Database {
  try {
    return new Libsql(path, { timeout: busyMilliseconds });
  } catch (error) {
    // The constructor is the one place where the binding gives a text instead of a code.
    throw Object.assign(new Error(error instanceof Error ? error.message : String(error)), { code: "SQLITE_CANTOPEN" });
  }
}

/** The binding adds how long a query took to the one row it gives. */
function withoutMetadata(row: unknown): unknown {
  if (typeof row === "object" && row !== null) delete (row as { _metadata?: unknown })._metadata;
  return row;
}

/** The binding ends a text at its first NUL. */
function bound(value: Value): Value {
  return typeof value === "string" && value.includes("\0") ? value.replaceAll("\0", "\ufffd") : value;
}
