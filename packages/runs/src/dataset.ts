import { createHash } from "node:crypto";
import type { Connection } from "./database.ts";
import type { DatasetInfo, Made, RowPage, SetAside, StoredRow } from "./types.ts";

/** Items in memory at once while a dataset is read. */
const PAGE = 256;

interface Member {
  ordinal: number;
  input: string;
  aside: string | null;
  jsonl: string;
}

/**
 * A work's items in the order of its inputs, a page at a time. No snapshot is held in between: items are only ever added.
 */
function* members(db: Connection, work: number): Generator<Member> {
  const page = db.prepare<Member>(`
    SELECT ordinal, input, aside, jsonl FROM member JOIN item ON item.id = member.item
    WHERE work = ? AND ordinal > ? ORDER BY ordinal LIMIT ${PAGE}`);
  let last = -1;
  for (;;) {
    const found = page.all(work, last);
    yield* found;
    if (found.length < PAGE) return;
    last = found.at(-1)!.ordinal;
  }
}

/** The rows of a work's items: by input, then in the order the input gave them, whatever order they arrived in. */
export function* rowsOf<Row extends StoredRow>(db: Connection, work: number): Generator<Row> {
  for (const { jsonl } of members(db, work)) for (const line of linesOf(jsonl)) yield JSON.parse(line) as Row;
}

/** Rows of the inputs behind place `after`, at most `limit` inputs of them. */
export function pageOf<Row extends StoredRow>(
  db: Connection,
  work: number,
  { after, limit }: { after: number; limit: number },
): RowPage<Row> {
  const found = db
    .prepare<Pick<Member, "ordinal" | "jsonl">>(`
      SELECT ordinal, jsonl FROM member JOIN item ON item.id = member.item
      WHERE work = ? AND ordinal > ? ORDER BY ordinal LIMIT ?`)
    .all(work, after, limit);
  return pageFrom(found, limit);
}

/** The same, of inputs whose rows hold a text somewhere, as SQLite compares texts: the letters A to Z match in either case. */
export function findIn<Row extends StoredRow>(
  db: Connection,
  work: number,
  { text, after, limit }: { text: string; after: number; limit: number },
): RowPage<Row> {
  // As it stands in a JSON string.
  const written = JSON.stringify(text).slice(1, -1);
  const found = db
    .prepare<Pick<Member, "ordinal" | "jsonl">>(`
      SELECT ordinal, jsonl FROM member JOIN item ON item.id = member.item
      WHERE work = ? AND ordinal > ? AND instr(lower(jsonl), lower(?)) > 0 ORDER BY ordinal LIMIT ?`)
    .all(work, after, written, limit);
  return pageFrom(found, limit);
}

function pageFrom<Row extends StoredRow>(
  found: readonly Pick<Member, "ordinal" | "jsonl">[],
  limit: number,
): RowPage<Row> {
  const rows = found.flatMap(({ ordinal, jsonl }) =>
    linesOf(jsonl).map((line) => ({ ordinal, row: JSON.parse(line) as Row })),
  );
  return { rows, ...(found.length === limit ? { next: found.at(-1)!.ordinal } : {}) };
}

/** A row by its id, of whatever stage. */
export function rowOf<Row extends StoredRow>(db: Connection, id: string): Row | undefined {
  const items = db
    .prepare<{ jsonl: string }>(
      "SELECT jsonl FROM row JOIN item ON item.id = row.item WHERE row.id = ? ORDER BY item.id LIMIT 1",
    )
    .all(id);
  return items
    .flatMap(({ jsonl }) => linesOf(jsonl).map((line) => JSON.parse(line) as Row))
    .find((row) => row.id === id);
}

/** Rows that an input became, in whatever stage, and why where it became none. Looks through all items. */
export function madeOf<Row extends StoredRow>(db: Connection, input: string, limit: number): Made<Row>[] {
  return db
    .prepare<{ jsonl: string; aside: string | null; stage: string; run: string }>(`
      SELECT jsonl, aside, stage.name AS stage, stage.run FROM item JOIN member ON member.item = item.id
      JOIN stage ON stage.work = member.work WHERE item.input = ? ORDER BY stage.id LIMIT ?`)
    .all(input, limit)
    .map(({ jsonl, aside, ...where }) => ({
      ...where,
      rows: linesOf(jsonl).map((line) => JSON.parse(line) as Row),
      ...(aside === null ? {} : { aside }),
    }));
}

export function* setAsideOf(db: Connection, work: number): Generator<SetAside> {
  for (const { ordinal, input, aside } of members(db, work))
    if (aside !== null) yield { ordinal, input, reason: aside };
}

/** How often each reason was given, the most frequent first. */
export function reasonsOf(db: Connection, work: number): { reason: string; count: number }[] {
  return db
    .prepare<{ reason: string; count: number }>(`
      SELECT aside AS reason, count(*) AS count FROM member JOIN item ON item.id = member.item
      WHERE work = ? AND aside IS NOT NULL GROUP BY aside ORDER BY count DESC, reason`)
    .all(work);
}

/** Reads the dataset once: its hash and its counts. */
export function summarise(db: Connection, work: number): DatasetInfo {
  const hash = createHash("sha256");
  const info = { rows: 0, items: 0, aside: 0 };
  for (const { jsonl, aside } of members(db, work)) {
    info.items++;
    if (aside !== null) info.aside++;
    if (jsonl === "") continue;
    info.rows += linesOf(jsonl).length;
    hash.update(jsonl).update("\n");
  }
  return { hash: hash.digest("hex"), ...info };
}

/** Canonical JSON has no line feed of its own. */
export function linesOf(jsonl: string): string[] {
  return jsonl === "" ? [] : jsonl.split("\n");
}
