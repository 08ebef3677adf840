import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { DatabaseSync } from "@photostructure/sqlite";
import { storeError } from "./errors.ts";

/** What a column holds. */
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
  /** Nothing is written through it. */
  readonly readOnly: boolean;
  readonly #database: Database;
  readonly #statements = new Map<string, Statement<unknown>>();
  #inTransaction = false;
  /** Called before anything is read or written, while it is set. */
  beforeUse: (() => void) | undefined;

  /** Opens `store.db` in `folder`, and makes the file if there is none. */
  constructor(folder: string, { readOnly = false, access = "write" }: { readOnly?: boolean; access?: Access } = {}) {
    this.folder = folder;
    this.readOnly = readOnly;
    this.#database = this.#guard(() => openDatabase(join(folder, "store.db"), BUSY_MILLISECONDS, access));
  }

  prepare<Row>(sql: string): Statement<Row> {
    this.beforeUse?.();
    const known = this.#statements.get(sql);
    if (known) return known as Statement<Row>;
    const prepared = this.#guard(() => this.#database.prepare(sql));
    const statement: Statement<Row> = {
      all: (...values) => this.#guard(() => prepared.all(...values.map(bound)) as Row[]),
      get: (...values) => this.#guard(() => prepared.get(...values.map(bound)) as Row | undefined),
      run: (...values) =>
        this.#guard(() => prepared.run(...values.map(bound)) as { changes: number; lastInsertRowid: number }),
    };
    this.#statements.set(sql, statement as Statement<unknown>);
    return statement;
  }

  exec(sql: string): void {
    this.#guard(() => this.#database.exec(sql));
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
        this.#database.exec("ROLLBACK");
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
    this.#database.close();
  }

  #guard<Result>(call: () => Result): Result {
    try {
      return call();
    } catch (error) {
      throw storeError(withSqliteCode(error), this.folder);
    }
  }
}

export type Database = InstanceType<typeof DatabaseSync>;

/**
 * `write`: the file is made where there is none. `read`: nothing is written, but others may write. `still`: nobody may
 * write while it is read, and no lock is taken: what is left of files on a read-only file system.
 */
export type Access = "write" | "read" | "still";

/** An SQLite database; its errors have SQLite's codes. */
export function openDatabase(path: string, busyMilliseconds: number, access: Access = "write"): Database {
  const place = access === "still" ? `${pathToFileURL(path).href}?immutable=1` : path;
  try {
    return new DatabaseSync(place, { timeout: busyMilliseconds, readOnly: access !== "write" });
  } catch (error) {
    throw withSqliteCode(error);
  }
}

/** SQLite's result codes that are told apart, as sqlite3.h numbers them, and what sqlite3_errstr says of them. */
const codes: readonly (readonly [code: number, name: string, text?: string])[] = [
  [3, "SQLITE_PERM", "access permission denied"],
  [5, "SQLITE_BUSY", "database is locked"],
  [6, "SQLITE_LOCKED", "database table is locked"],
  [8, "SQLITE_READONLY", "attempt to write a readonly database"],
  [10, "SQLITE_IOERR", "disk I/O error"],
  [11, "SQLITE_CORRUPT", "database disk image is malformed"],
  [13, "SQLITE_FULL", "database or disk is full"],
  [14, "SQLITE_CANTOPEN", "unable to open database file"],
  [22, "SQLITE_NOLFS", "large file support is disabled"],
  [23, "SQLITE_AUTH", "authorization denied"],
  [26, "SQLITE_NOTADB", "file is not a database"],
  [10 + 256 * 19, "SQLITE_IOERR_SHMSIZE"],
];

/**
 * The binding gives all errors one code, as Node does, with SQLite's as a number beside it; where reading of rows fails,
 * only SQLite's text.
 */
export function withSqliteCode(error: unknown): unknown {
  if (!(error instanceof Error)) return error;
  const { code, sqliteExtendedCode, errcode } = error as {
    code?: string;
    sqliteExtendedCode?: number;
    errcode?: number;
  };
  if (code !== "ERR_SQLITE_ERROR") return error;
  const number = sqliteExtendedCode || errcode;
  const known =
    number === undefined
      ? codes.find(([, , text]) => text === error.message)
      : (codes.find(([one]) => one === number) ?? codes.find(([one]) => one === (number & 0xff)));
  return Object.assign(error, { code: known?.[1] ?? `SQLITE_${number ?? "ERROR"}` });
}

/** The binding ends a text at its first NUL. */
function bound(value: Value): Value {
  return typeof value === "string" && value.includes("\0") ? value.replaceAll("\0", "\ufffd") : value;
}
