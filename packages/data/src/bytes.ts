import { createReadStream } from "node:fs";
import { open, stat } from "node:fs/promises";
import { basename } from "node:path";
import { pipeline } from "node:stream";
import { createGunzip } from "node:zlib";
import { DatasetError } from "./errors.ts";

/** A data file that is there and not empty. */
export interface DataFile {
  readonly path: string;
  /** The name rows carry as their source: no folder, so that ids and provenance are equal on every machine. */
  readonly name: string;
  /** Bytes on the disk. */
  readonly size: number;
  readonly gzip: boolean;
}

const compressions: readonly [name: string, magic: readonly number[]][] = [
  ["zstd", [0x28, 0xb5, 0x2f, 0xfd]],
  ["zip", [0x50, 0x4b, 0x03, 0x04]],
  ["bzip2", [0x42, 0x5a, 0x68]],
  ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a]],
  ["7z", [0x37, 0x7a, 0xbc, 0xaf]],
];

/** @throws DatasetError for what is missing, no file, empty, or compressed otherwise than by gzip */
export async function findFile(path: string): Promise<DataFile> {
  const name = basename(path);
  const facts = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code === "ENOENT" || cause.code === "ENOTDIR")
      throw new DatasetError(`${path} does not exist; expected a data file. Check the path.`, { cause });
    throw new DatasetError(`${path} cannot be read: ${cause.message}`, { cause });
  });
  if (facts.isDirectory())
    throw new DatasetError(
      `${path} is a folder; expected a data file. Name one of its files, e.g. data/train-00000-of-00001.parquet of a Hugging Face dataset.`,
    );
  if (!facts.isFile())
    throw new DatasetError(
      `${path} is no ordinary file, and datasets are read more than once. Save it to a file first.`,
    );
  if (facts.size === 0)
    throw new DatasetError(`${path} is empty (0 bytes); expected at least one record. Fetch or write it again.`);
  const head = await readHead(path);
  for (const [format, magic] of compressions)
    if (magic.every((byte, i) => head[i] === byte))
      throw new DatasetError(`${path} is compressed with ${format}; only gzip is read directly. Decompress it first.`);
  return { path, name, size: facts.size, gzip: head[0] === 0x1f && head[1] === 0x8b };
}

async function readHead(path: string): Promise<Uint8Array> {
  try {
    const handle = await open(path);
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(8), 0, 8, 0);
      return buffer.subarray(0, bytesRead);
    } finally {
      await handle.close();
    }
  } catch (cause) {
    throw new DatasetError(`${path} cannot be read: ${(cause as Error).message}`, { cause });
  }
}

/** The file's bytes, decompressed, in pieces of 64 KiB. @throws DatasetError when the compressed stream is damaged or cut off */
export async function* readBytes(file: DataFile): AsyncGenerator<Buffer> {
  const raw = createReadStream(file.path);
  // The iterator of the last stream reports the failures of all; the callback keeps them from being thrown twice.
  const stream = file.gzip ? pipeline(raw, createGunzip({ chunkSize: 65_536 }), () => {}) : raw;
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "Z_BUF_ERROR")
      throw new DatasetError(`${file.path} is cut off: its compressed data end too early. Fetch it again.`, { cause });
    if (code?.startsWith("Z_"))
      throw new DatasetError(`${file.path} is damaged: ${message}. Fetch it again.`, { cause });
    if (code) throw new DatasetError(`${file.path} cannot be read: ${message}`, { cause });
    throw cause;
  } finally {
    stream.destroy();
  }
}
