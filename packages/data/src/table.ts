import { findFile, readBytes } from "./bytes.ts";
import { readCsv } from "./csv.ts";
import { excerptOf } from "./errors.ts";
import { readLines } from "./lines.ts";
import type { ReadRecord } from "./records.ts";

/** Bytes of a record, at most. */
const largestRecord = 1 << 20;

/**
 * The records of a table as its columns name their fields, whatever it is about: JSON Lines where the file's name says so, else CSV. A
 * record that cannot be read is yielded with its reason.
 *
 * Errors: DatasetError for a file that is missing, empty or cannot be read.
 */
export async function* readTable(path: string): AsyncGenerator<ReadRecord> {
  const file = await findFile(path);
  const lines = readLines(readBytes(file), largestRecord);
  if (!/\.(jsonl|ndjson)(\.gz)?$/i.test(file.name)) return yield* readCsv(lines, file.name, largestRecord);
  for await (const line of lines) {
    const source = `${file.name}:${line.line}`;
    if (!("text" in line)) yield { aside: { source, reason: line.reason, excerpt: line.excerpt } };
    else if (line.text.trim() !== "") yield recordOf(line.text, source);
  }
}

function recordOf(text: string, source: string): ReadRecord {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return { aside: { source, reason: `no JSON: ${(error as Error).message}`, excerpt: excerptOf(text) } };
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value))
    return { record: { source, value: value as Record<string, unknown> } };
  return { aside: { source, reason: "expected an object with named fields", excerpt: excerptOf(text) } };
}
