import type { Connection } from "./database.ts";
import { NotInStoreError, StoreVersionError } from "./errors.ts";
import { prepareSeals } from "./seal.ts";
import { versions } from "./tables.ts";

/** Version of the tables, in the database's `user_version`. */
export const SCHEMA_VERSION = versions.length;

/** "TeNe", in the database's header: tells a store from another program's database. */
const APPLICATION_ID = 0x54654e65;

/**
 * Makes the tables of a new store, or adds to those of an old one what later versions brought. Of an old one that is only
 * read, the connection has what it lacks as empty tables of its own.
 *
 * @throws StoreVersionError for a database of a newer Tenet, or of another program; NotInStoreError for an empty one that is only read.
 */
export function prepareSchema(db: Connection): void {
  if (!db.readOnly) {
    // Only works before the first table; lets `collect` give room back without a second copy of the database.
    db.exec("PRAGMA auto_vacuum = INCREMENTAL");
    db.exec("PRAGMA journal_mode = WAL");
    db.exec("PRAGMA synchronous = FULL");
  }
  // Keys and row ids are hashes: their indexes are written all over. A larger cache and a longer log (64 MB each) let
  // many changes of a page be written as one.
  db.exec("PRAGMA cache_size = -65536");
  db.exec("PRAGMA wal_autocheckpoint = 16384");

  if (version(db) === 0 && !db.readOnly) {
    db.transaction(() => {
      if (version(db) !== 0) return; // another process was faster
      if (!isEmpty(db)) throw notOurs(db);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      migrate(db);
    });
  }
  const application = db.prepare<{ application_id: number }>("PRAGMA application_id").get()!.application_id;
  if (application !== APPLICATION_ID && isEmpty(db))
    throw new NotInStoreError(`${db.folder} holds no run yet: its store.db is empty. A run makes it a store`);
  if (application !== APPLICATION_ID) throw notOurs(db);
  const found = version(db);
  if (found > SCHEMA_VERSION)
    throw new StoreVersionError(
      `${db.folder} was written by a newer Tenet (store version ${found}; this one knows ${SCHEMA_VERSION}). Update Tenet, ` +
        "or use another folder",
    );
  if (db.readOnly) {
    lend(db, found);
    return;
  }
  if (found < SCHEMA_VERSION) db.transaction(() => migrate(db));
  prepareSeals(db);
}

/**
 * Gives a connection that only reads a store of an earlier version what that lacks, as empty tables of its own. Another process may give
 * the store the tables themselves meanwhile: those are read then, and not the empty ones that would stand before them.
 */
function lend(db: Connection, found: number): void {
  for (const tables of versions.slice(found))
    db.exec(tables.replaceAll(/CREATE (TABLE|VIEW) /g, "CREATE TEMP $1 ").replaceAll(/CREATE INDEX [^;]*;/g, ""));
  db.exec("PRAGMA query_only = ON");
  if (found === SCHEMA_VERSION) return;
  const look = () => {
    db.beforeUse = undefined;
    const now = version(db);
    if (now === found) {
      db.beforeUse = look;
      return;
    }
    db.exec("PRAGMA query_only = OFF");
    const lent = db
      .prepare<{ type: string; name: string }>(
        "SELECT type, name FROM sqlite_temp_schema WHERE type IN ('view', 'table')",
      )
      .all();
    for (const { type, name } of lent) db.exec(`DROP ${type} temp.${name}`);
    lend(db, Math.min(now, SCHEMA_VERSION));
  };
  db.beforeUse = look;
}

/** Adds what later versions brought; nothing where another process was faster. */
function migrate(db: Connection): void {
  for (const tables of versions.slice(version(db))) db.exec(tables);
  db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
}

function isEmpty(db: Connection): boolean {
  return db.prepare<{ n: number }>("SELECT count(*) AS n FROM sqlite_schema").get()!.n === 0;
}

function version(db: Connection): number {
  return db.prepare<{ user_version: number }>("PRAGMA user_version").get()!.user_version;
}

function notOurs(db: Connection): StoreVersionError {
  return new StoreVersionError(`${db.folder}: store.db belongs to another program. Use another folder`);
}
