import { canonicalJson } from "./canonical.ts";
import type { Connection } from "./database.ts";
import { NotInStoreError, StoreError } from "./errors.ts";
import {
  type Annotation,
  type Answer,
  annotationSchema,
  answerSchema,
  checked,
  type Label,
  labelSchema,
  type Queue,
  type QueueItem,
  type QueueSpec,
  queueSpecSchema,
  type RunNote,
  runNoteSchema,
  type StoredAnnotation,
  type StoredAnswer,
  type StoredLabel,
  type StoredRunNote,
} from "./types.ts";

/*
 * What people say: about pairs (labels), runs (notes), rows (annotations), and in turn, item by item of a queue (answers).
 * Everything is added and nothing written over; who says something again changes their mind.
 */

const now = () => new Date().toISOString();

export function addLabel(db: Connection, label: Label): number {
  const { pair, p, who, note } = checked(labelSchema, label, "label");
  return db
    .prepare("INSERT INTO label(pair, p, who, time, note) VALUES(?, ?, ?, ?, ?)")
    .run(pair, p, who, now(), note ?? null).lastInsertRowid;
}

/** Adds a label that alone stands: those of others on the pair are taken back, and stay to be read as answers. */
export function settleLabel(db: Connection, label: Label): void {
  db.transaction(() => {
    const standing = db
      .prepare<{ id: number }>("SELECT id FROM label WHERE pair = ? AND id NOT IN (SELECT label FROM retraction)")
      .all(label.pair);
    for (const { id } of standing) db.prepare("INSERT INTO retraction VALUES(?, ?, ?)").run(id, label.who, now());
    addLabel(db, label);
  });
}

/** Each person's latest label of each pair; none where their latest word is that they prefer neither reply, or do not say. */
export function readLabels(db: Connection, pair: string | undefined): StoredLabel[] {
  const silent = silences(db, pair);
  return db
    .prepare<Omit<StoredLabel, "note"> & { note: string | null; answer: number | null }>(`
      SELECT pair, p, who, time, note, (SELECT id FROM answer WHERE label = label.id) AS answer FROM label WHERE id IN
        (SELECT max(id) FROM label WHERE id NOT IN (SELECT label FROM retraction) GROUP BY pair, who)
        AND (?1 IS NULL OR pair = ?1) ORDER BY id`)
    .all(pair ?? null)
    .flatMap(({ note, answer, ...label }) => {
      const later = silent.get(JSON.stringify([label.pair, label.who]));
      if (later && (answer === null ? later.time > label.time : later.id > answer)) return [];
      return [{ ...label, ...(note === null ? {} : { note }) }];
    });
}

/** Answers that stand and are no label, the latest of each person about each row; what was known of an item before is left out. */
function silences(
  db: Connection,
  row: string | undefined,
): Map<string, { readonly id: number; readonly time: string }> {
  const found = db
    .prepare<{ id: number; row: string; who: string; time: string }>(`
      SELECT id, answer.row AS row, who, time FROM answer JOIN queue_item USING (queue, row)
      WHERE label IS NULL AND undoes IS NULL AND gold IS NULL AND (?1 IS NULL OR answer.row = ?1)
        AND id NOT IN (SELECT undoes FROM answer WHERE undoes IS NOT NULL) ORDER BY id`)
    .all(row ?? null);
  return new Map(found.map(({ id, time, ...whose }) => [JSON.stringify([whose.row, whose.who]), { id, time }]));
}

export function addRunNote(db: Connection, note: RunNote): void {
  const { run, value, who } = checked(runNoteSchema, note, "note");
  db.prepare("INSERT INTO note(run, value, who, time) VALUES(?, ?, ?, ?)").run(run, canonicalJson(value), who, now());
}

/** The latest note on each run, or on one. */
export function readRunNotes(db: Connection, run: string | undefined): StoredRunNote[] {
  return db
    .prepare<Omit<StoredRunNote, "value"> & { value: string }>(
      "SELECT run, value, who, time FROM note WHERE id IN (SELECT max(id) FROM note WHERE ?1 IS NULL OR run = ?1 GROUP BY run) ORDER BY id",
    )
    .all(run ?? null)
    .map((note) => ({ ...note, value: JSON.parse(note.value) }));
}

export function addAnnotation(db: Connection, annotation: Annotation): void {
  const { row, kind, about, value, who } = checked(annotationSchema, annotation, "annotation");
  db.prepare("INSERT INTO annotation(row, kind, about, value, who, time) VALUES(?, ?, ?, ?, ?, ?)").run(
    row,
    kind,
    about,
    canonicalJson(value),
    who,
    now(),
  );
}

/** Each person's latest word of each kind about each matter of a row; one that is null was taken back. */
export function readAnnotations(db: Connection, row: string | undefined): StoredAnnotation[] {
  return db
    .prepare<Omit<StoredAnnotation, "value"> & { value: string }>(`
      SELECT row, kind, about, value, who, time FROM annotation
      WHERE id IN (SELECT max(id) FROM annotation GROUP BY row, kind, about, who) AND (?1 IS NULL OR row = ?1) ORDER BY id`)
    .all(row ?? null)
    .map((annotation) => ({ ...annotation, value: JSON.parse(annotation.value) }))
    .filter(({ value }) => value !== null);
}

export function addQueue(db: Connection, spec: QueueSpec): void {
  const { id, name, items, who, ...rest } = checked(queueSpecSchema, spec, "queue");
  db.transaction(() => {
    if (db.prepare("SELECT 1 FROM queue WHERE id = ?").get(id)) throw new StoreError(`a queue ${id} is there already`);
    db.prepare("INSERT INTO queue VALUES(?, ?, ?, ?, ?)").run(id, name, canonicalJson(rest.spec), who, now());
    const insert = db.prepare("INSERT INTO queue_item VALUES(?, ?, ?, ?)");
    for (const [ordinal, { row, gold }] of items.entries())
      insert.run(id, ordinal, row, gold === undefined ? null : canonicalJson(gold));
  });
}

export function readQueues(db: Connection): Queue[] {
  return db
    .prepare<Omit<Queue, "spec"> & { spec: string }>(`
      SELECT id, name, spec, who, created, (SELECT count(*) FROM queue_item WHERE queue = id) AS items
      FROM queue ORDER BY created DESC, id`)
    .all()
    .map((queue) => ({ ...queue, spec: JSON.parse(queue.spec) }));
}

export function readQueueItems(db: Connection, queue: string): QueueItem[] {
  return db
    .prepare<{ row: string; gold: string | null }>("SELECT row, gold FROM queue_item WHERE queue = ? ORDER BY ordinal")
    .all(queue)
    .map(({ row, gold }) => ({ row, ...(gold === null ? {} : { gold: JSON.parse(gold) }) }));
}

/**
 * Takes an answer, and with it the label that it stands for, both or neither. An item of which the answer was known is asked to see who judges:
 * what is said of it is no label. Gives the answer's number.
 */
export function addAnswer(db: Connection, answer: Answer): number {
  const { queue, row, who, value, p, note } = checked(answerSchema, answer, "answer");
  return db.transaction(() => {
    const item = db
      .prepare<{ gold: string | null }>("SELECT gold FROM queue_item WHERE queue = ? AND row = ?")
      .get(queue, row);
    if (!item) throw new NotInStoreError(`queue ${queue} holds no item ${row}`);
    const taught = p !== undefined && item.gold === null;
    const label = !taught ? null : addLabel(db, { pair: row, p, who, ...(note !== undefined && { note }) });
    return insertAnswer(db, { queue, row, who, value: canonicalJson(value), label, undoes: null });
  });
}

/** Takes a person's last answer back, its label too; what it was. Undefined where there is none. */
export function undoAnswer(db: Connection, queue: string, who: string): StoredAnswer | undefined {
  return db.transaction(() => {
    const last = readAnswers(db, queue).findLast((one) => one.who === who);
    if (!last) return undefined;
    const { label } = db.prepare<{ label: number | null }>("SELECT label FROM answer WHERE id = ?").get(last.id)!;
    // Whoever settled the pair took the label back already.
    if (label !== null) db.prepare("INSERT OR IGNORE INTO retraction VALUES(?, ?, ?)").run(label, who, now());
    insertAnswer(db, { queue, row: last.row, who, value: null, label: null, undoes: last.id });
    return last;
  });
}

/** The answers that stand, in the order in which they were given. */
export function readAnswers(db: Connection, queue: string): StoredAnswer[] {
  return db
    .prepare<Omit<StoredAnswer, "value"> & { value: string }>(`
      SELECT id, queue, row, value, who, time FROM answer WHERE queue = ?1 AND undoes IS NULL
        AND id NOT IN (SELECT undoes FROM answer WHERE queue = ?1 AND undoes IS NOT NULL) ORDER BY id`)
    .all(queue)
    .map((answer) => ({ ...answer, value: JSON.parse(answer.value) }));
}

function insertAnswer(
  db: Connection,
  one: {
    queue: string;
    row: string;
    who: string;
    value: string | null;
    label: number | null;
    undoes: number | null;
  },
): number {
  return db
    .prepare("INSERT INTO answer(queue, row, value, label, undoes, who, time) VALUES(?, ?, ?, ?, ?, ?, ?)")
    .run(one.queue, one.row, one.value, one.label, one.undoes, one.who, now()).lastInsertRowid;
}
