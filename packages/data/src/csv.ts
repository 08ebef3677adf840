import { excerptOf } from "./errors.ts";
import type { Line } from "./lines.ts";
import type { ReadRecord } from "./records.ts";

/**
 * Records of a CSV file (RFC 4180: commas, fields in double quotes may hold commas, line ends and doubled quotes). The first
 * line names the columns. A record whose number of fields differs is set aside; so is one that grows over `maxBytes`, which is
 * what a quotation mark that is never closed looks like, and reading goes on behind the line that broke the bound.
 */
export async function* readCsv(lines: AsyncIterable<Line>, name: string, maxBytes: number): AsyncGenerator<ReadRecord> {
  let columns: readonly string[] | undefined;
  let record: Record | undefined;
  for await (const line of lines) {
    const start = record?.line ?? line.line;
    const source = `${name}:${start}`;
    if (!("text" in line)) {
      yield { aside: { source, reason: line.reason, excerpt: line.excerpt } };
      record = undefined;
      continue;
    }
    if (!record && line.text.trim() === "") continue;
    record = scan(line.text, record ?? { line: line.line, fields: [], open: undefined, length: 0 });
    if (line.damaged) record = { ...record, damaged: true };
    if (record.open !== undefined) {
      if (record.length <= maxBytes) continue;
      const reason = `longer than ${maxBytes} bytes (option maxRecordBytes); is a quotation mark on line ${start} not closed?`;
      yield { aside: { source, reason, excerpt: excerptOf([...record.fields, record.open].join(",")) } };
    } else if (!columns) columns = record.fields.map((field) => field.trim());
    else yield toRecord(record, columns, source);
    record = undefined;
  }
  if (record) {
    const reason = `a quotation mark opened in the record of line ${record.line} is not closed before the end of the file`;
    const excerpt = excerptOf([...record.fields, record.open].join(","));
    yield { aside: { source: `${name}:${record.line}`, reason, excerpt } };
  }
}

interface Record {
  /** Line it begins on. */
  readonly line: number;
  readonly fields: string[];
  /** The quoted field that the next line continues. */
  readonly open: string | undefined;
  readonly length: number;
  readonly damaged?: true;
}

/** Reads one line on from where the record stands. */
function scan(text: string, record: Record): Record {
  const fields = [...record.fields];
  let field = record.open === undefined ? "" : `${record.open}\n`;
  let quoted = record.open !== undefined;
  let i = 0;
  for (;;) {
    if (quoted) {
      const quote = text.indexOf('"', i);
      if (quote < 0) return { ...record, fields, open: field + text.slice(i), length: record.length + text.length + 1 };
      field += text.slice(i, quote);
      i = quote + 1;
      if (text[i] === '"') {
        field += '"';
        i++;
      } else quoted = false;
    } else if (field === "" && text[i] === '"') {
      quoted = true;
      i++;
    } else {
      const comma = text.indexOf(",", i);
      fields.push(field + text.slice(i, comma < 0 ? text.length : comma));
      if (comma < 0) return { ...record, fields, open: undefined };
      field = "";
      i = comma + 1;
    }
  }
}

function toRecord({ fields, damaged }: Record, columns: readonly string[], source: string): ReadRecord {
  if (fields.length === columns.length) {
    const value = Object.fromEntries(columns.map((column, i) => [column, fields[i]]));
    return { record: { source, value }, ...(damaged && { damaged }) };
  }
  const reason = `${fields.length} fields; expected ${columns.length} (${excerptOf(columns.join(", "))})`;
  return { aside: { source, reason, excerpt: excerptOf(fields.join(",")) } };
}
