import * as zlib from "node:zlib";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import {
  asyncBufferFromFile,
  type FileMetaData,
  parquetMetadataAsync,
  parquetReadObjects,
  parquetSchema,
} from "hyparquet";
import type { DataFile } from "./bytes.ts";
import { DatasetError } from "./errors.ts";
import type { ReadRecord } from "./records.ts";

/** Node has zstd since 22.15. */
const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof brotliDecompressSync };

/** What hyparquet does not decompress itself. A page that grows beyond the size it states ends there. */
const compressors = {
  GZIP: (page: Uint8Array, size: number) => gunzipSync(page, { maxOutputLength: Math.max(1, size) }),
  BROTLI: (page: Uint8Array, size: number) => brotliDecompressSync(page, { maxOutputLength: Math.max(1, size) }),
  ...(zstdDecompressSync && {
    ZSTD: (page: Uint8Array, size: number) => zstdDecompressSync(page, { maxOutputLength: Math.max(1, size) }),
  }),
};
const codecs = ["UNCOMPRESSED", "SNAPPY", ...Object.keys(compressors)];

/**
 * Records of a Parquet file, one row group in memory at a time; of its columns only `fields`.
 * @throws DatasetError when the file is damaged, holds none of the fields, is compressed with an unknown codec, or a row group
 *   is larger than `maxGroupBytes`
 */
export async function* readParquet(
  file: DataFile,
  fields: readonly string[],
  maxGroupBytes: number,
): AsyncGenerator<ReadRecord> {
  const buffer = await asyncBufferFromFile(file.path);
  const metadata = await guarded(file, () => parquetMetadataAsync(buffer));
  const columns = await guarded(file, async () => {
    const present = parquetSchema(metadata).children.map(({ element }) => element.name);
    return { present, read: present.filter((name) => fields.includes(name)) };
  });
  if (columns.read.length === 0)
    throw new DatasetError(
      `${file.path} has the columns ${columns.present.join(", ") || "none"}; expected some of ${fields.join(", ")}.`,
    );
  checkGroups(file, metadata, columns.read, maxGroupBytes);
  let rowStart = 0;
  for (const group of metadata.row_groups) {
    const rowEnd = rowStart + Number(group.num_rows);
    const records = await guarded(file, () =>
      parquetReadObjects({ file: buffer, metadata, columns: columns.read, rowStart, rowEnd, compressors }),
    );
    for (const [i, value] of records.entries()) yield { record: { source: `${file.name}:${rowStart + i + 1}`, value } };
    rowStart = rowEnd;
  }
}

function checkGroups(file: DataFile, metadata: FileMetaData, columns: readonly string[], maxGroupBytes: number): void {
  for (const [i, group] of metadata.row_groups.entries()) {
    let bytes = 0;
    for (const { meta_data: column } of group.columns) {
      if (!column || !columns.includes(column.path_in_schema[0]!)) continue;
      bytes += Number(column.total_uncompressed_size);
      if (!codecs.includes(column.codec))
        throw new DatasetError(
          `${file.path} is compressed with ${column.codec}, which is not read here; expected ${codecs.join(", ")}${
            column.codec === "ZSTD" ? " (ZSTD with Node 22.15 or newer)" : ""
          }. Write it again with compression "snappy".`,
        );
    }
    if (bytes > maxGroupBytes)
      throw new DatasetError(
        `${file.path} holds a row group of ${bytes} bytes (number ${i + 1}); a group is read whole and may have ${maxGroupBytes}. Write it again with smaller row groups.`,
      );
  }
}

/** Damage shows as any error of the decoder's. */
async function guarded<T>(file: DataFile, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    throw new DatasetError(`${file.path} is no readable Parquet file: ${(cause as Error).message}. Fetch it again.`, {
      cause,
    });
  }
}
