/*
 * What a store's database holds, by version: a store of version n has the tables of the first n. Each is written once, and
 * never changed afterwards; what a later version needs goes into a list of its own.
 */

/*
 * `work` is what is computed, once for an identity; `stage` is a run's view of it, so that runs share what they have in
 * common. A work's items are `member`s in the order of its inputs. An item's rows are lines of canonical JSON: the rows
 * of a dataset, printed one after the other, are the bytes that its hash is taken of.
 */
const first = `
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

/*
 * What is looked at while a run works (`progress`, `step`: when a step's figures were written), results that a later one
 * replaced under the same name, and what people say. People's tables are only ever added to; their latest word counts.
 */
const second = `
  CREATE TABLE progress(
    run TEXT NOT NULL, stage TEXT NOT NULL, done INTEGER NOT NULL, total INTEGER NOT NULL, unit TEXT NOT NULL,
    started TEXT NOT NULL, begun INTEGER NOT NULL, updated TEXT NOT NULL, PRIMARY KEY(run, stage)) STRICT, WITHOUT ROWID;
  CREATE TABLE step(
    work INTEGER NOT NULL, step INTEGER NOT NULL, time TEXT NOT NULL, PRIMARY KEY(work, step)) STRICT, WITHOUT ROWID;
  CREATE TABLE superseded(
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, name TEXT NOT NULL, work INTEGER NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL, started TEXT NOT NULL, finished TEXT, seconds REAL NOT NULL, error TEXT,
    replaced TEXT NOT NULL) STRICT;
  CREATE INDEX superseded_work ON superseded(work);
  CREATE INDEX superseded_run ON superseded(run, name);
  CREATE VIEW holder AS
    SELECT id, run, name, work, NULL AS replaced FROM stage
    UNION ALL SELECT id, run, name, work, replaced FROM superseded;
  CREATE TABLE note(
    id INTEGER PRIMARY KEY, run TEXT NOT NULL, value TEXT NOT NULL, who TEXT NOT NULL, time TEXT NOT NULL) STRICT;
  CREATE TABLE annotation(
    id INTEGER PRIMARY KEY, row TEXT NOT NULL, kind TEXT NOT NULL, about TEXT NOT NULL, value TEXT NOT NULL,
    who TEXT NOT NULL, time TEXT NOT NULL) STRICT;
  CREATE INDEX annotation_row ON annotation(row);
  CREATE TABLE queue(
    id TEXT PRIMARY KEY, name TEXT NOT NULL, spec TEXT NOT NULL, who TEXT NOT NULL, created TEXT NOT NULL) STRICT;
  CREATE TABLE queue_item(
    queue TEXT NOT NULL, ordinal INTEGER NOT NULL, row TEXT NOT NULL, gold TEXT,
    PRIMARY KEY(queue, ordinal)) STRICT, WITHOUT ROWID;
  CREATE TABLE answer(
    id INTEGER PRIMARY KEY, queue TEXT NOT NULL, row TEXT NOT NULL, value TEXT, label INTEGER, undoes INTEGER,
    who TEXT NOT NULL, time TEXT NOT NULL) STRICT;
  CREATE INDEX answer_queue ON answer(queue);
  CREATE TABLE retraction(label INTEGER PRIMARY KEY, who TEXT NOT NULL, time TEXT NOT NULL) STRICT;
`;

/** What a policy said in each iteration of its training. */
const third = `
  CREATE TABLE rollout(
    work INTEGER NOT NULL, step INTEGER NOT NULL, ordinal INTEGER NOT NULL, json TEXT NOT NULL,
    PRIMARY KEY(work, step, ordinal)) STRICT, WITHOUT ROWID;
`;

/** Each version's tables, the oldest first. */
export const versions: readonly string[] = [first, second, third];
