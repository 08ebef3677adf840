import { createHash } from "node:crypto";
import type { Connection } from "./database.ts";
import type { DatasetInfo, SetAside, StoredRow } from "./types.ts";

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
