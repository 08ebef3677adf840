import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { Worker } from "node:worker_threads";
import * as zlib from "node:zlib";
import type { DataFile } from "./bytes.ts";
import { DatasetError, excerptOf } from "./errors.ts";
import type { Fields, ReadRecord } from "./records.ts";

/** What hyparquet and Node decompress; Node has zstd since 22.15. */
const codecs = ["UNCOMPRESSED", "SNAPPY", "GZIP", "BROTLI", ...("zstdDecompressSync" in zlib ? ["ZSTD"] : [])];

/** The footer, as far as it matters here. */
interface Footer {
  readonly columns: readonly string[];
  readonly groups: readonly {
    readonly rows: number;
    readonly columns: readonly { readonly name: string; readonly codec: string; readonly bytes: number }[];
  }[];
}

/*
 * A count that is damaged, or made so, keeps the decoder counting for minutes or filling memory; nothing in a page says so beforehand. So
 * decoding is done by a thread, which can be stopped and has a bound on its memory. Its source is text because it has to start from the
 * workspace's TypeScript and from a bundle alike. It answers with the footer, then with the rows [start, end) it is asked for.
 */
const decoder = `
import { parentPort, workerData } from "node:worker_threads";
import * as zlib from "node:zlib";
const { asyncBufferFromFile, parquetMetadataAsync, parquetReadObjects, parquetSchema } = await import(workerData.hyparquet);
const isGiven = (value) => {
  if (ArrayBuffer.isView(value)) return value.byteLength > 0;
  if (typeof value === "object" && value !== null) return Object.values(value).some(isGiven);
  return value !== null && value !== undefined && value !== "" && !Number.isNaN(value);
};
const bounded = (decompress) => (page, size) => decompress(page, { maxOutputLength: Math.max(1, size) });
const compressors = { GZIP: bounded(zlib.gunzipSync), BROTLI: bounded(zlib.brotliDecompressSync), ZSTD: zlib.zstdDecompressSync && bounded(zlib.zstdDecompressSync) };
const file = await asyncBufferFromFile(workerData.path);
let metadata;
const answer = async (request) => {
  if (request) {
    const { named, columns, ...rows } = request;
    const records = await parquetReadObjects({ file, metadata, compressors, ...rows, columns: [...columns, ...named] });
    for (const record of records) for (const name of named) record[name] = isGiven(record[name]) ? "not read" : null;
    return records;
  }
  metadata = await parquetMetadataAsync(file);
  const columns = parquetSchema(metadata).children.map(({ element }) => element.name);
  const chunk = ({ meta_data: { path_in_schema, codec, total_uncompressed_size } }) => ({ name: path_in_schema[0], codec, bytes: Number(total_uncompressed_size) });
  return { columns, groups: metadata.row_groups.map((group) => ({ rows: Number(group.num_rows), columns: group.columns.map(chunk) })) };
};
parentPort.on("message", (request) => answer(request).then((value) => parentPort.postMessage({ value }), (error) => parentPort.postMessage({ error: String(error?.message) })));
`;

/**
 * Records of a Parquet file, one row group in memory at a time; of its columns only `fields`, and of those that
 * are `named` whether a record has something there: "not read", or null.
 * @throws DatasetError when the file is damaged, holds none of the fields, is compressed with an unknown codec, or a row group
 *   is larger than `maxGroupBytes`
 */
export async function* readParquet(
  file: DataFile,
  fields: readonly string[],
  {
    maxGroupBytes,
    seconds,
    named: others = [],
  }: { readonly maxGroupBytes: number; readonly seconds: number; readonly named?: readonly string[] },
): AsyncGenerator<ReadRecord> {
  const thread = new Decoder(file);
  try {
    const footer = await thread.ask<Footer>(undefined, seconds);
    const columns = footer.columns.filter((name) => fields.includes(name));
    if (columns.length === 0)
      throw new DatasetError(
        `${file.path} has the columns ${excerptOf(footer.columns.join(", ")) || "none"}; expected some of ${fields.join(", ")}.`,
      );
    const named = footer.columns.filter((name) => others.includes(name));
    const sizes = sizesOf(file, footer, [...columns, ...named], maxGroupBytes);
    let rowStart = 0;
    for (const [i, { rows }] of footer.groups.entries()) {
      const rowEnd = rowStart + rows;
      // No machine is slower than a megabyte a second.
      const records = await thread.ask<Fields[]>({ columns, named, rowStart, rowEnd }, seconds + sizes[i]! / 1e6);
      for (const [j, value] of records.entries())
        yield { record: { source: `${file.name}:${rowStart + j + 1}`, value } };
      rowStart = rowEnd;
    }
  } finally {
    await thread.stop();
  }
}

/** Bytes of every row group. @throws DatasetError when one is too large or compressed in a way that is not read */
function sizesOf(file: DataFile, footer: Footer, columns: readonly string[], maxGroupBytes: number): number[] {
  return footer.groups.map((group, i) => {
    const chunks = group.columns.filter(({ name }) => columns.includes(name));
    const other = chunks.find(({ codec }) => !codecs.includes(codec));
    if (other)
      throw new DatasetError(
        `${file.path} is compressed with ${other.codec}, which is not read here; expected ${codecs.join(", ")}${
          other.codec === "ZSTD" ? " (ZSTD with Node 22.15 or newer)" : ""
        }. Write it again with compression "snappy".`,
      );
    const bytes = chunks.reduce((all, chunk) => all + chunk.bytes, 0);
    if (!(bytes >= 0 && bytes <= maxGroupBytes))
      throw new DatasetError(
        `${file.path} holds a row group of ${bytes} bytes (number ${i + 1}); a group is read whole and may have ${maxGroupBytes}. Write it again with smaller row groups.`,
      );
    return bytes;
  });
}

class Decoder {
  readonly #file: DataFile;
  readonly #worker: Worker;
  /** Why the thread died. */
  #death: Error | undefined;

  constructor(file: DataFile) {
    this.#file = file;
    const hyparquet = pathToFileURL(createRequire(import.meta.url).resolve("hyparquet")).href;
    this.#worker = new Worker(new URL(`data:text/javascript,${encodeURIComponent(decoder)}`), {
      workerData: { hyparquet, path: file.path },
      execArgv: [],
      // Below the length at which V8 ends the process instead of the thread: an array of 2^27 numbers.
      resourceLimits: { maxOldGenerationSizeMb: 768 },
    });
    this.#worker.on("error", (error) => {
      this.#death = error;
    });
  }

  /** The answer to one request; an error, a thread that dies and one that takes longer than `seconds` are the file's fault. */
  async ask<T>(request: object | undefined, seconds: number): Promise<T> {
    const worker = this.#worker;
    const fault = (message: string, cause?: Error) =>
      new DatasetError(`${this.#file.path} is no readable Parquet file: ${message}. Fetch it again.`, { cause });
    let finish = () => {};
    try {
      return await new Promise<T>((resolve, reject) => {
        const timer = setTimeout(() => reject(fault(`decoding took over ${Math.round(seconds)} s`)), seconds * 1000);
        const answered = ({ value, error }: { value: T; error?: string }) =>
          error === undefined ? resolve(value) : reject(fault(excerptOf(error)));
        const failed = (error: Error) => reject(fault(excerptOf(error.message), error));
        if (this.#death) return failed(this.#death);
        worker.on("message", answered).on("error", failed);
        finish = () => {
          clearTimeout(timer);
          worker.off("message", answered).off("error", failed);
        };
        worker.postMessage(request);
      });
    } finally {
      finish();
    }
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }
}
