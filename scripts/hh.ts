// What scripts that measure on published pairs share: the first 1,500 rows of the test split of hh-rlhf's harmless-base, in the
// file's order; the last are to test on, and nothing that is trained on begins with a first turn of theirs.
import { join } from "node:path";
import { openDataset, type PreferenceRow, rowsOf } from "@tenet/align";

/** The last pairs of the file. */
export const testPairs = 300;

export async function readPairs(file: string): Promise<PreferenceRow[]> {
  const rows: PreferenceRow[] = [];
  for await (const row of rowsOf(await openDataset(file, { as: "preferences" }))) rows.push(row);
  return rows;
}

export const firstTurn = ({ prompt }: PreferenceRow): string => prompt[0]!.content;

/** The rows that begin with no first turn of the others. */
export function without(rows: readonly PreferenceRow[], others: readonly PreferenceRow[]): PreferenceRow[] {
  const asked = new Set(others.map(firstTurn));
  return rows.filter((row) => !asked.has(firstTurn(row)));
}

export async function harmlessPairs(data: string): Promise<{ train: PreferenceRow[]; test: PreferenceRow[] }> {
  const rows = await readPairs(join(data, "hh-rlhf", "harmless-base.first1500.jsonl.gz"));
  const test = rows.slice(-testPairs);
  return { train: without(rows.slice(0, -testPairs), test), test };
}

/** The row with the end of its dialogue; a turn of each speaker goes at a time, so that it still begins with the person's. */
export function shortened(row: PreferenceRow, most: number, tokens: (row: PreferenceRow) => number): PreferenceRow {
  let short = row;
  while (short.prompt.length > 2 && tokens(short) > most) short = { ...short, prompt: short.prompt.slice(2) };
  return short;
}
