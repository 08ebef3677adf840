import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { crc32 } from "node:zlib";
import { type Entry, openPromise, type ZipFile } from "yauzl";
import { DownloadError, IntegrityError } from "./errors.ts";

export interface WheelOptions {
  signal?: AbortSignal | undefined;
  /** Python commands to try, in order. */
  pythons?: string[];
}

/**
 * Downloads one wheel with pip into `folder` and returns its path.
 *
 * pip knows the user's mirrors, proxies and keys, which is why it is asked instead of the registry. Nothing is installed and
 * no code of the package runs (wheels only). Errors: DownloadError when no Python with pip is found, or with pip's own words.
 */
export async function downloadWheel(
  name: string,
  version: string,
  folder: string,
  { signal, pythons = defaultPythons() }: WheelOptions = {},
): Promise<string> {
  const python = await findPython(pythons, signal);
  if (!python)
    throw new DownloadError(
      `pypi:${name}==${version} needs Python with pip to download it, and none of ${pythons.join(", ")} has it: install Python, or name one with TENET_PYTHON`,
    );
  const pip = ["-m", "pip", "--disable-pip-version-check", "--no-input", "download"];
  const what = [
    "--no-deps",
    "--only-binary",
    ":all:",
    "--progress-bar",
    "off",
    "--dest",
    folder,
    `${name}==${version}`,
  ];
  const { code, output } = await run(python, [...pip, ...what], signal);
  const wheel = (await readdir(folder)).find((file) => file.endsWith(".whl"));
  if (code !== 0 || !wheel)
    throw new DownloadError(
      `pip could not download ${name}==${version}: ${lastWords(output) || `it ended with code ${code}`}`,
    );
  return join(folder, wheel);
}

/**
 * Writes one member of a wheel (a zip file) to `file`, without unpacking the rest or holding it in memory.
 *
 * Names that would leave a folder are refused by the reader, as are sizes that do not hold.
 * Errors: DownloadError, where there is no such member naming those that there are; IntegrityError for a wrong checksum.
 */
export async function extractMember(
  wheel: string,
  member: string,
  file: string,
  {
    signal,
    onBytes,
  }: { signal?: AbortSignal | undefined; onBytes?: ((done: number, total: number) => void) | undefined } = {},
): Promise<void> {
  let zip: ZipFile;
  try {
    zip = await openPromise(wheel, { lazyEntries: true, strictFileNames: true, autoClose: false });
  } catch (error) {
    throw new DownloadError(`${wheel}: not a readable wheel: ${(error as Error).message}`);
  }
  try {
    const names: string[] = [];
    let found: Entry | undefined;
    for await (const entry of zip.eachEntry()) {
      names.push(entry.fileName);
      if (entry.fileName === member) found = entry;
    }
    if (!found)
      throw new DownloadError(
        `the wheel has no '${member}'; it has ${names.slice(0, 20).join(", ")}${names.length > 20 ? ", …" : ""}`,
      );
    const total = found.uncompressedSize;
    let done = 0;
    let checksum = 0;
    const count = new Transform({
      transform(chunk: Buffer, _, next) {
        done += chunk.length;
        checksum = crc32(chunk, checksum);
        onBytes?.(done, total);
        next(null, chunk);
      },
    });
    await pipeline(await zip.openReadStreamPromise(found), count, createWriteStream(file), { signal });
    if (checksum !== found.crc32) throw new IntegrityError(`${wheel}: '${member}' does not match its checksum`);
  } catch (error) {
    signal?.throwIfAborted();
    if (error instanceof DownloadError || error instanceof IntegrityError) throw error;
    throw new DownloadError(`${wheel}: ${(error as Error).message}`);
  } finally {
    zip.close();
  }
}

function defaultPythons(): string[] {
  const named = process.env.TENET_PYTHON;
  return [...(named ? [named] : []), ...(process.platform === "win32" ? ["py", "python"] : ["python3", "python"])];
}

/** The first Python with pip, by the name it is called by; undefined where there is none. */
export async function findPython(
  pythons: string[] = defaultPythons(),
  signal?: AbortSignal,
): Promise<string | undefined> {
  for (const python of pythons) {
    const { code } = await run(python, ["-m", "pip", "--version"], signal).catch(() => ({ code: -1 }));
    signal?.throwIfAborted();
    if (code === 0) return python;
  }
  return undefined;
}

function run(
  command: string,
  args: string[],
  signal: AbortSignal | undefined,
): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "ignore", "pipe"], ...(signal && { signal }) });
    let output = "";
    child.stderr.on("data", (chunk: Buffer) => {
      output = (output + chunk.toString("utf8")).slice(-4000);
    });
    child.on("error", (error) => reject(signal?.aborted ? signal.reason : error));
    child.on("close", (code) => resolve({ code, output }));
  });
}

/** pip's errors, without its warnings. */
function lastWords(output: string): string {
  const lines = output.split("\n").filter((line) => line.trim() && !line.startsWith("WARNING"));
  return lines.slice(-3).join(" ").slice(0, 600);
}
