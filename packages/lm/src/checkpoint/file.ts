import { type FileHandle, open, readdir, readFile, stat } from "node:fs/promises";
import { CheckpointError, quote } from "./errors.ts";

/** A regular file open for reading by ranges, with its size taken once. */
export interface RangeFile {
  readonly path: string;
  /** Bytes. */
  readonly size: number;
  /**
   * Fills `target` with the bytes from `position` on; any number of reads may be under way at once.
   *
   * Throws CheckpointError when the file ends first.
   */
  read(target: Uint8Array, position: number): Promise<void>;
  close(): Promise<void>;
}

/** libuv refuses a read of 2 GiB or more. */
const LARGEST_READ = 1 << 30;

/** Configs and tokenizers; the largest published `tokenizer.json` is a third of this. */
const LARGEST_JSON = 100_000_000;

/**
 * Opens a file for reading by ranges.
 *
 * Throws CheckpointError when it is missing, unreadable, or not a regular file (reading a pipe would wait for ever).
 */
export async function openRanges(path: string): Promise<RangeFile> {
  const { size } = await statFile(path);
  let handle: FileHandle;
  try {
    handle = await open(path, "r");
  } catch (error) {
    throw unreadable(path, error);
  }
  return {
    path,
    size,
    async read(target, position) {
      let done = 0;
      while (done < target.byteLength) {
        const part = Math.min(target.byteLength - done, LARGEST_READ);
        const { bytesRead } = await handle.read(target, done, part, position + done).catch((error) => {
          throw unreadable(path, error);
        });
        if (bytesRead === 0) {
          throw new CheckpointError({
            file: path,
            where: `byte ${position + done}`,
            expected: `${target.byteLength - done} more bytes`,
            found: "the end of the file",
            fix: "The file is cut short; download it again.",
          });
        }
        done += bytesRead;
      }
    },
    close: () => handle.close(),
  };
}

/** The size of a regular file in bytes; throws CheckpointError for anything else. */
export async function statFile(path: string): Promise<{ size: number }> {
  const status = await stat(path).catch((error) => {
    throw unreadable(path, error);
  });
  if (!status.isFile()) {
    throw new CheckpointError({
      file: path,
      expected: "a regular file",
      found: status.isDirectory() ? "a folder" : "a device, pipe or socket",
      fix: "Give the path of the file itself.",
    });
  }
  return status;
}

/** The names in a folder, sorted; throws CheckpointError when it cannot be listed. */
export async function listFolder(path: string): Promise<string[]> {
  const names = await readdir(path).catch((error) => {
    throw unreadable(path, error);
  });
  return names.sort();
}

/**
 * Reads a JSON file that must hold one object.
 *
 * Throws CheckpointError when it is missing, larger than 100 MB, not JSON, or JSON of another kind.
 */
export async function readJson(path: string): Promise<Record<string, unknown>> {
  const value: unknown = parseJson(await readText(path), path);
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new CheckpointError({ file: path, expected: "a JSON object", found: quote(value) });
  }
  return value as Record<string, unknown>;
}

/** Reads a text file of at most 100 MB; throws CheckpointError when it is missing or larger. */
export async function readText(path: string): Promise<string> {
  const { size } = await statFile(path);
  if (size > LARGEST_JSON) {
    throw new CheckpointError({
      file: path,
      expected: `at most ${LARGEST_JSON} bytes of text`,
      found: `${size} bytes`,
    });
  }
  return readFile(path, "utf8").catch((error) => {
    throw unreadable(path, error);
  });
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new CheckpointError({ file: path, expected: "JSON", found: quote((error as Error).message), cause: error });
  }
}

function unreadable(path: string, error: unknown): CheckpointError {
  if (error instanceof CheckpointError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  const missing = code === "ENOENT" || code === "ENOTDIR";
  return new CheckpointError({
    file: path,
    expected: "a readable file",
    found: missing ? "nothing at this path" : `the error ${code}`,
    fix: missing ? "Check the path; a relative one starts at the current folder." : "Check its permissions.",
    cause: error,
  });
}
