import type { Connection } from "./database.ts";
import { NotInStoreError, StoreVersionError } from "./errors.ts";
import { prepareSeals } from "./seal.ts";

/** Version of the tables below, in the database's `user_version`. */
export const SCHEMA_VERSION = 1;

/** "TeNe", in the database's header: tells a store from another program's database. */
const APPLICATION_ID = 0x54654e65;

/*
 * `work` is what is computed, once for an identity; `stage` is a run's view of it, so that runs share what they have in
 * common. A work's items are `member`s in the order of its inputs. An item's rows are lines of canonical JSON: the rows
 * of a dataset, printed one after the other, are the bytes that its hash is taken of.
 */
const tables = `
  CREATE TABLE run(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, recipe TEXT NOT NULL, status TEXT NOT NULL, error TEXT,
    versions TEXT NOT NULL, created TEXT NOT NULL, updated TEXT NOT NULL, pid INTEGER, host TEXT, since TEXT) STRICT;
  CREATE TABLE work(
    id INTEGER PRIMARY KEY, identity TEXT NOT NULL UNIQUE, kind TEXT NOT NULL, settings TEXT,
    items INTEGER NOT NULL DEFAULT 0, aside INTEGER NOT NULL DEFAULT 0, row_count INTEGER NOT NULL DEFAULT 0,
    finished TEXT, hash TEXT, output TEXT) STRICT;
  CREATE TABLE stage(
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, work INTEGER NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL, started TEXT NOT NULL, finished TEXT, seconds REAL NOT NULL, error TEXT,
    UNIQUE(run, name)) STRICT;
  CREATE INDEX stage_work ON stage(work);
  CREATE TABLE item(
    id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, input TEXT NOT NULL, aside TEXT,
    row_count INTEGER NOT NULL, jsonl TEXT NOT NULL) STRICT;
  CREATE TABLE row(id TEXT NOT NULL, item INTEGER NOT NULL, PRIMARY KEY(id, item)) STRICT, WITHOUT ROWID;
  CREATE TABLE member(
    work INTEGER NOT NULL, ordinal INTEGER NOT NULL, item INTEGER NOT NULL,
    PRIMARY KEY(work, ordinal)) STRICT, WITHOUT ROWID;
  CREATE INDEX member_item ON member(item);
  CREATE TABLE artifact(hash TEXT PRIMARY KEY, bytes INTEGER NOT NULL, files INTEGER NOT NULL, added TEXT NOT NULL) STRICT;
  CREATE TABLE work_artifact(
    work INTEGER NOT NULL, artifact TEXT NOT NULL, PRIMARY KEY(work, artifact)) STRICT, WITHOUT ROWID;
  CREATE INDEX artifact_work ON work_artifact(artifact);
  CREATE TABLE metric(
    work INTEGER NOT NULL, name TEXT NOT NULL, step INTEGER NOT NULL, value REAL,
    PRIMARY KEY(work, name, step)) STRICT, WITHOUT ROWID;
  CREATE TABLE event(
    run TEXT NOT NULL, sequence INTEGER NOT NULL, time TEXT NOT NULL, stage TEXT, kind TEXT NOT NULL, message TEXT,
    data TEXT, PRIMARY KEY(run, sequence)) STRICT, WITHOUT ROWID;
  CREATE TABLE usage(
    run TEXT NOT NULL, stage TEXT NOT NULL, role TEXT NOT NULL, prompt_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL, calls INTEGER NOT NULL, seconds REAL NOT NULL, dollars REAL,
    PRIMARY KEY(run, stage, role)) STRICT, WITHOUT ROWID;
  CREATE TABLE label(
    id INTEGER PRIMARY KEY, pair TEXT NOT NULL, p REAL NOT NULL, who TEXT NOT NULL, time TEXT NOT NULL,
    note TEXT) STRICT;
  CREATE INDEX label_pair ON label(pair);
  CREATE VIEW dataset AS
    SELECT stage.run, stage.name AS stage, member.ordinal, item.input, item.aside, item.jsonl
    FROM stage JOIN member ON member.work = stage.work JOIN item ON item.id = member.item;
`;

/**
 * Makes the tables of a new store, or checks those of an old one.
 *
 * @throws StoreVersionError for a database of a newer Tenet, or of another program; NotInStoreError for an empty one that is only read.
 */
export function prepareSchema(db: Connection): void {
  if (db.readOnly) {
    db.exec("PRAGMA query_only = ON");
  } else {
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
      db.exec(tables);
      db.exec(`PRAGMA application_id = ${APPLICATION_ID}`);
      db.exec(`PRAGMA user_version = ${SCHEMA_VERSION}`);
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
  if (!db.readOnly) prepareSeals(db);
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
