/*
 * What reading a file yields. A record that cannot be used is set aside with its reason instead of ending the job, and a row
 * that was there already is named instead of vanishing, so that every record of a file is accounted for.
 */

/** A record that could not become a row. */
export interface Aside {
  /** File and place: `pairs.jsonl:12` (line), `train.parquet:12` (row), `Posts.xml#12` (post). */
  readonly source: string;
  readonly reason: string;
  /** Beginning of what stood there, made safe to print. */
  readonly excerpt: string;
  /** It could be read, literally, and is plainly something else. */
  readonly doubtful?: true;
}

/** One step of reading: a row, a record set aside, or a row equal to one that was yielded before. */
export type Read<Row> =
  | {
      readonly row: Row;
      /** What of the record was plainly something else than it said, and was read as what it is. */
      readonly notes?: readonly string[];
    }
  | { readonly aside: Aside }
  | { readonly duplicate: { readonly id: string; readonly source: string } };

/** A whole dataset in memory, with what became of every record. */
export interface Collected<Row> {
  readonly rows: Row[];
  /** The first records that were set aside; `counts.aside` counts all. */
  readonly asides: Aside[];
  readonly counts: { readonly rows: number; readonly aside: number; readonly duplicates: number };
  /** The rows' notes, each with the number of rows that have it. */
  readonly notes: Readonly<Record<string, number>>;
}

/**
 * Reads everything into memory: the rows, the first `asides` records that were set aside (20 by default), and all counts.
 *
 * @example
 * async function* reads() {
 *   yield { row: "a" };
 *   yield { aside: { source: "x.jsonl:2", reason: "not JSON", excerpt: "{" } };
 * }
 * const { rows, counts } = await collect(reads());
 * rows.length; // 1
 * counts.aside; // 1
 */
export async function collect<Row>(
  reads: AsyncIterable<Read<Row>>,
  options: { readonly asides?: number } = {},
): Promise<Collected<Row>> {
  const { asides: kept = 20 } = options;
  const rows: Row[] = [];
  const asides: Aside[] = [];
  const counts = { rows: 0, aside: 0, duplicates: 0 };
  const notes: Record<string, number> = {};
  for await (const read of reads) {
    if ("row" in read) {
      rows.push(read.row);
      counts.rows++;
      for (const note of read.notes ?? []) notes[note] = (notes[note] ?? 0) + 1;
    } else if ("aside" in read) {
      if (asides.length < kept) asides.push(read.aside);
      counts.aside++;
    } else counts.duplicates++;
  }
  return { rows, asides, counts, notes };
}

/** The rows of a dataset without the rest, for consumers that do not count, such as a second pass. */
export async function* rowsOf<Row>(reads: AsyncIterable<Read<Row>>): AsyncGenerator<Row> {
  for await (const read of reads) if ("row" in read) yield read.row;
}
