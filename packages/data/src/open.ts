import { dirname, extname } from "node:path";
import { type DataFile, findFile, readBytes } from "./bytes.ts";
import { readCsv } from "./csv.ts";
import { DatasetError, Doubtful, excerptOf, foreignJson, Unusable } from "./errors.ts";
import { IdSet } from "./id-set.ts";
import { imagesNamed, readImages } from "./image.ts";
import { type Line, readLines } from "./lines.ts";
import { readLiteral } from "./literal.ts";
import { readParquet } from "./parquet.ts";
import type { Aside, Read } from "./read.ts";
import { type Fields, type Kinds, kinds, type ReadRecord, type SourceRecord } from "./records.ts";
import type { PreferenceRow } from "./rows.ts";
import { readStackExchange, type StackExchangeOptions } from "./stackexchange.ts";

export type DatasetFormat = "jsonl" | "parquet" | "csv" | "stackexchange";

export interface DatasetOptions<As extends keyof Kinds> {
  /** What the rows are wanted as. A file of pairs also serves as prompts. */
  readonly as: As;
  /** By default told from the name and the first bytes. */
  readonly format?: DatasetFormat;
  /** At most so many rows; all by default. */
  readonly limit?: number;
  /** Who preferred, where a file of pairs does not say: "human" by default. */
  readonly label?: PreferenceRow["label"];
  /** Bytes the texts of a record or a post may have; 1 MiB by default: a prompt of more is hours of work, or none that fits. */
  readonly maxRecordBytes?: number;
  /**
   * Whether a record of JSON Lines or CSV that names images (`images` or `image`: paths beside the file, or data URLs) becomes a row whose
   * prompt shows them, as prompts and preferences can; false by default: who reads the rows sees none, and such a record is set aside.
   */
  readonly images?: boolean;
  /** Bytes the images of a record may have, together; 4 MiB by default. */
  readonly maxImageBytes?: number;
  readonly stackexchange?: StackExchangeOptions;
}

/** A file of rows. Each iteration reads it anew and yields the same. */
export interface Dataset<Row> extends AsyncIterable<Read<Row>> {
  readonly path: string;
  /** The file's name, as in its rows' `origin.source`. */
  readonly name: string;
  readonly format: DatasetFormat;
}

/** Of one Parquet row group, which is read whole: bytes, decompressed, and seconds beyond what its bytes take. */
const GROUP = { maxGroupBytes: 2 ** 28, seconds: 60 };
/** Bytes of a line of JSON: what nobody reads of it may be larger than what is read, and costs no row. */
const LINE = 2 ** 24;
/** So many unusable records in front of the first usable one make a file of the wrong kind. */
const WRONG_KIND = 100;

/**
 * Opens a file as prompts, examples (a completion behind its prompt) or preferences.
 *
 * Reads JSON Lines, Parquet, CSV and StackExchange's `Posts.xml`, the text ones also compressed with gzip; records are plain, message
 * lists, hh-rlhf transcripts or the questions of the CAI paper. Memory stays flat, but for 16 bytes a row by which duplicates are known.
 * A record that cannot be used is yielded with its reason, a duplicate with its id; rows are merged when their ids are equal.
 * @throws DatasetError when there is no such file, or it is empty; while reading, when it is damaged or none of its first 100
 *   records can be used
 * @example
 * await expect(openDataset("no-such.jsonl", { as: "prompts" })).rejects.toThrow("does not exist");
 */
export async function openDataset<As extends keyof Kinds>(
  path: string,
  options: DatasetOptions<As>,
): Promise<Dataset<Kinds[As]>> {
  const { limit = Number.POSITIVE_INFINITY, maxRecordBytes = 2 ** 20 } = options;
  if (!(limit >= 0)) throw new RangeError(`limit is ${limit}; expected a number of rows`);
  const file = await findFile(path);
  const format = options.format ?? (await detect(file));
  const read = (): AsyncGenerator<Read<Kinds[As]>> =>
    format === "stackexchange"
      ? readStackExchange(file, options.as, { ...options.stackexchange, maxRecordBytes })
      : rowsFrom(file, format, records(file, format, options, maxRecordBytes), options);
  return { path, name: file.name, format, [Symbol.asyncIterator]: () => bounded(merged(read()), limit) };
}

function records<As extends keyof Kinds>(
  file: DataFile,
  format: Exclude<DatasetFormat, "stackexchange">,
  options: DatasetOptions<As>,
  maxBytes: number,
): AsyncGenerator<ReadRecord> {
  const { fields } = kinds[options.as];
  const lines = (most: number) => readLines(readBytes(file), most);
  const all =
    format === "parquet"
      ? readParquet(file, fields, { ...GROUP, named: ["image", "images"] })
      : format === "csv"
        ? readCsv(lines(maxBytes), file.name, maxBytes)
        : readJsonLines(lines(Math.max(LINE, maxBytes)), file.name, { long: maxBytes, images: seesImages(options) });
  return usable(all, fields, maxBytes);
}

/** Records without those of which what is read is too long, or no UTF-8: they are set aside. What nobody reads may be either. */
async function* usable(
  records: AsyncIterable<ReadRecord>,
  fields: readonly string[],
  maxBytes: number,
): AsyncGenerator<ReadRecord> {
  for await (const item of records) {
    const reason = "aside" in item ? undefined : faultOf(item, fields, maxBytes);
    if ("aside" in item || reason === undefined) yield item;
    else yield { aside: { source: item.record.source, reason, excerpt: excerptOf(printed(item.record.value)) } };
  }
}

function faultOf(
  { record: { value }, damaged }: Extract<ReadRecord, { record: SourceRecord }>,
  fields: readonly string[],
  maxBytes: number,
): string | undefined {
  const read = fields.filter((field) => Object.hasOwn(value, field)).map((field) => value[field]);
  try {
    const bytes = bytesOf(read);
    if (bytes > maxBytes) return `${bytes} bytes long; a record may have ${maxBytes} (option maxRecordBytes)`;
    return damaged && holds(read, "\ufffd") ? notUtf8 : undefined;
  } catch (cause) {
    if (cause instanceof RangeError) return tooDeep;
    throw cause;
  }
}

/** Walking a value that is nested a hundred thousand levels deep exhausts the stack: a RangeError. */
const tooDeep = "nested too deeply";

const notUtf8 = "not UTF-8; expected text in UTF-8";

/** Whether a text in a value holds a character. */
function holds(value: unknown, character: string): boolean {
  if (typeof value === "string") return value.includes(character);
  return typeof value === "object" && value !== null && Object.values(value).some((part) => holds(part, character));
}

/** Bytes of the texts in a value. */
function bytesOf(value: unknown): number {
  if (typeof value === "string") return Buffer.byteLength(value);
  if (typeof value !== "object" || value === null) return 0;
  return Object.values(value).reduce<number>((sum, part) => sum + bytesOf(part), 0);
}

/** Whether images that records name are read. */
function seesImages<As extends keyof Kinds>({ as, images = false }: DatasetOptions<As>): boolean {
  return images && kinds[as].shows === true;
}

async function* readJsonLines(
  lines: AsyncIterable<Line>,
  name: string,
  { long, images }: { readonly long: number; readonly images: boolean },
): AsyncGenerator<ReadRecord> {
  for await (const line of lines) {
    const source = `${name}:${line.line}`;
    if (!("text" in line)) yield { aside: { source, reason: line.reason, excerpt: line.excerpt } };
    else if (line.text.trim() !== "") {
      const { text, damaged } = line;
      const notes: string[] = [];
      const value = parseJson(text, notes);
      if (value instanceof Error) {
        yield { aside: { source, reason: damaged ? notUtf8 : value.message, excerpt: excerptOf(text) } };
        continue;
      }
      if (damaged) notes.push("columns that are not read are no UTF-8");
      if (text.length > long && !(images && imagesNamed(value))) notes.push("columns that are not read are long");
      yield { record: { source, value, ...(notes.length > 0 && { notes }) }, ...(damaged && { damaged }) };
    }
  }
}

/** An object in JSON, or as Python prints it, whose `NaN` is no JSON. */
function parseJson(text: string, notes: string[]): Fields | Error {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    value = readLiteral(text);
    if (value === undefined) return new Error(`not JSON: ${excerptOf((cause as Error).message)}`);
    notes.push("lines were no JSON, but what Python prints");
  }
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  return new Error(`${Array.isArray(value) ? "a JSON list" : "a JSON value"}; expected an object with named fields`);
}

async function* rowsFrom<As extends keyof Kinds>(
  file: DataFile,
  format: DatasetFormat,
  records: AsyncIterable<ReadRecord>,
  options: DatasetOptions<As>,
): AsyncGenerator<Read<Kinds[As]>> {
  const { as, label = "human", maxImageBytes = 2 ** 22 } = options;
  let first: Aside | undefined;
  let [rows, asides] = [0, 0];
  const wrongKind = () =>
    new DatasetError(
      `${file.path} cannot be read as ${as}: no usable record among the first ${asides}. ` +
        `${first!.reason.includes(kinds[as].expected) ? "" : `Expected ${kinds[as].expected}. `}` +
        `At ${first!.source}: ${first!.reason}. It begins: ${first!.excerpt}`,
    );
  const imagesIn = async (value: Fields): Promise<string[]> => {
    const named = imagesNamed(value);
    if (named === undefined) return [];
    if (!seesImages(options))
      throw new Doubtful(
        "it names an image, which nobody sees who reads this file. Leave the record out, or what it says of the image",
      );
    if (format === "parquet")
      throw new Doubtful(
        "it names an image, and images of a Parquet file are not read. Give the records as JSON Lines or CSV, and the images beside them",
      );
    return readImages(named, dirname(file.path), maxImageBytes);
  };
  for await (const item of records) {
    const read =
      "aside" in item
        ? item
        : await attempt(item.record, async (notes) =>
            kinds[as].row(item.record, { label, notes, images: await imagesIn(item.record.value) }),
          );
    if ("aside" in read) {
      first ??= read.aside;
      if (++asides >= WRONG_KIND && rows === 0) throw wrongKind();
    } else rows++;
    yield read;
  }
  if (rows === 0 && asides > 0) throw wrongKind();
  if (rows === 0)
    throw new DatasetError(`${file.path} holds no records; expected at least one. Fetch or write it again.`);
}

async function attempt<Row>(
  { source, value, notes: told = [] }: SourceRecord,
  rowOf: (notes: string[]) => Promise<Row>,
): Promise<Read<Row>> {
  const notes: string[] = [...told];
  try {
    const row = await rowOf(notes);
    return notes.length > 0 ? { row, notes: [...new Set(notes)] } : { row };
  } catch (cause) {
    const reason = cause instanceof RangeError ? tooDeep : (cause as Error).message;
    if (!(cause instanceof Unusable || cause instanceof RangeError)) throw cause;
    const doubtful = cause instanceof Doubtful && ({ doubtful: true } as const);
    return { aside: { source, reason, excerpt: excerptOf(printed(value)), ...doubtful } };
  }
}

function printed(value: Fields): string {
  try {
    return foreignJson(value);
  } catch {
    return Object.keys(value).join(", ");
  }
}

/** Rows with equal ids once. */
async function* merged<Row extends { id: string; origin: { source?: string | undefined } }>(
  reads: AsyncIterable<Read<Row>>,
): AsyncGenerator<Read<Row>> {
  const seen = new IdSet();
  for await (const read of reads) {
    if (!("row" in read) || seen.add(read.row.id)) yield read;
    else yield { duplicate: { id: read.row.id, source: read.row.origin.source ?? "" } };
  }
}

async function* bounded<Row>(reads: AsyncIterable<Read<Row>>, limit: number): AsyncGenerator<Read<Row>> {
  let rows = 0;
  if (limit === 0) return;
  for await (const read of reads) {
    yield read;
    if ("row" in read && ++rows >= limit) return;
  }
}

const extensions: Readonly<Record<string, DatasetFormat>> = {
  ".jsonl": "jsonl",
  ".ndjson": "jsonl",
  ".json": "jsonl",
  ".parquet": "parquet",
  ".csv": "csv",
  ".xml": "stackexchange",
};

/** The format by the file's name, held against its first bytes; by those alone where the name says nothing. */
async function detect(file: DataFile): Promise<DatasetFormat> {
  const head = await beginning(file);
  const text = head
    .toString("utf8")
    .replace(/^\ufeff/, "")
    .trimStart();
  const parquet = text.startsWith("PAR1");
  const named = extensions[extname(file.name.toLowerCase().replace(/\.gz$/, ""))];
  if ((head[0] === 0xff && head[1] === 0xfe) || (head[0] === 0xfe && head[1] === 0xff))
    throw new DatasetError(`${file.path} is written in UTF-16; expected UTF-8. Save it as UTF-8.`);
  if (text.startsWith("version https://git-lfs"))
    throw new DatasetError(`${file.path} is a pointer of Git LFS, not the data. Fetch them with: git lfs pull`);
  if (parquet && file.gzip)
    throw new DatasetError(
      `${file.path} is a Parquet file inside gzip; Parquet is read by position. Decompress it first.`,
    );
  if (parquet) return "parquet";
  if (named === "parquet")
    throw new DatasetError(
      `${file.path} is named .parquet but does not begin as one (PAR1). Fetch it again, or name its format.`,
    );
  if (named !== "csv" && text.startsWith("["))
    throw new DatasetError(
      `${file.path} is one JSON list; expected one object a line (JSON Lines). Convert it with: jq -c ".[]"`,
    );
  if (named) return named;
  if (text.startsWith("{")) return "jsonl";
  if (text.startsWith("<")) return "stackexchange";
  throw new DatasetError(
    `${file.path}: its name and beginning tell no format; expected ${Object.keys(extensions).join(", ")} (text also .gz). Name it with the option format.`,
  );
}

async function beginning(file: DataFile): Promise<Buffer> {
  for await (const chunk of readBytes(file)) return chunk.subarray(0, 1024);
  throw new DatasetError(
    `${file.path} is empty once decompressed; expected at least one record. Fetch or write it again.`,
  );
}
