import { createHash, type Hash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type FileHandle, open, rm, stat } from "node:fs/promises";
import { sleep } from "../language-model/work.ts";
import { DownloadError, IntegrityError } from "./errors.ts";

export interface ExpectedFile {
  bytes?: number | undefined;
  sha256?: string | undefined;
  /** The id that git gives the content: SHA-1 of `blob <length>\0` and the bytes. What the hub lists for small files. */
  gitBlob?: string | undefined;
}

export interface DownloadOptions {
  expected?: ExpectedFile;
  headers?: Record<string, string>;
  signal?: AbortSignal | undefined;
  onBytes?: ((done: number, total: number | undefined) => void) | undefined;
  fetch?: typeof globalThis.fetch;
  /** Attempts without a single new byte before giving up. */
  patience?: number;
  /** Milliseconds without a byte after which a connection counts as dead. */
  idleMs?: number;
}

/**
 * Downloads `url` to `file`, continuing what an earlier attempt or process left there.
 *
 * A broken connection is taken up where it broke (HTTP ranges, guarded by the ETag); a server without ranges is read from the
 * start again. When all has come, size and hash are checked against `expected`; the file is removed when they differ.
 * Errors: DownloadError (status, network), IntegrityError, the signal's reason (what has come stays for the next time).
 */
export async function download(url: string, file: string, options: DownloadOptions = {}): Promise<void> {
  const { expected = {}, signal } = options;
  const leftOver = (await sizeOf(file)) > 0;
  await fetchWhole(url, file, options);
  try {
    await verify(file, expected, url, signal);
  } catch (error) {
    // What an earlier process left may be of another version; a second try has nothing to continue.
    if (!(error instanceof IntegrityError) || !leftOver) throw error;
    await fetchWhole(url, file, options);
    await verify(file, expected, url, signal);
  }
}

async function fetchWhole(url: string, file: string, options: DownloadOptions): Promise<void> {
  const { expected = {}, signal, patience = 5 } = options;
  const version: Version = {};
  let idle = 0;
  for (;;) {
    const before = await sizeOf(file);
    if (expected.bytes !== undefined && before > expected.bytes) await rm(file);
    else if (before === expected.bytes) return;
    try {
      if (await fetchPart(url, file, before, version, options)) return;
    } catch (error) {
      signal?.throwIfAborted();
      if (error instanceof DownloadError || error instanceof IntegrityError) throw error;
      idle = (await sizeOf(file)) > before ? 0 : idle + 1;
      if (idle >= patience)
        throw new DownloadError(
          `${url}: ${reasonOf(error)} (${patience} attempts in a row brought nothing; what has come is kept)`,
        );
      await sleep(Math.min(5000, 100 * 2 ** idle), signal);
    }
  }
}

/** Which content the bytes so far are of, as the server names it. */
interface Version {
  etag?: string;
}

/** Checks size and hashes; removes the file and throws IntegrityError when they differ. */
export async function verify(
  file: string,
  { bytes, sha256, gitBlob }: ExpectedFile,
  source: string,
  signal?: AbortSignal,
): Promise<void> {
  const size = await sizeOf(file);
  const differ = async (what: string, given: string | number, wanted: string | number) => {
    await rm(file, { force: true });
    throw new IntegrityError(`${source}: ${what} is ${given}, expected ${wanted}; the file has been removed`);
  };
  if (bytes !== undefined && size !== bytes) await differ("the size", size, bytes);
  const checks: [string, Hash, string][] = [];
  if (sha256) checks.push(["SHA-256", createHash("sha256"), sha256]);
  if (gitBlob) checks.push(["git id", createHash("sha1").update(`blob ${size}\0`), gitBlob]);
  if (checks.length === 0) return;
  for await (const chunk of createReadStream(file, { highWaterMark: 2 ** 20, signal }))
    for (const [, hash] of checks) hash.update(chunk as Buffer);
  for (const [what, hash, wanted] of checks) {
    const given = hash.digest("hex");
    if (given !== wanted) await differ(`the ${what}`, given, wanted);
  }
}

/** One connection's worth; true when all has come. */
async function fetchPart(
  url: string,
  file: string,
  from: number,
  version: Version,
  { headers = {}, signal, onBytes, fetch = globalThis.fetch, expected, idleMs = 30_000 }: DownloadOptions,
): Promise<boolean> {
  const dead = new AbortController();
  const timer = setTimeout(() => dead.abort(new Error(`no byte for ${idleMs / 1000} s`)), idleMs);
  let handle: FileHandle | undefined;
  try {
    const response = await fetch(url, {
      headers: {
        ...headers,
        ...(from > 0 && { range: `bytes=${from}-`, ...(version.etag && { "if-range": version.etag }) }),
      },
      signal: signal ? AbortSignal.any([signal, dead.signal]) : dead.signal,
    });
    if (response.status === 416) {
      // Nothing behind what we have: whole, or of another version. The check of size and hash tells.
      await response.body?.cancel();
      const total = Number(/\/(\d+)$/.exec(response.headers.get("content-range") ?? "")?.[1]);
      if (total === from) return true;
      await rm(file, { force: true });
      return false;
    }
    if (response.status >= 500 || response.status === 429) throw new Error(`status ${response.status}`);
    if (!response.ok || !response.body)
      throw new DownloadError(`${url}: status ${response.status} ${response.statusText}`.trim());
    const etag = response.headers.get("etag");
    // A weak one promises no equal bytes.
    if (etag && !etag.startsWith("W/")) version.etag = etag;
    const resumed = response.status === 206;
    const start = resumed ? Number(/^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1]) : 0;
    if (resumed && start !== from)
      throw new DownloadError(`${url}: asked for bytes from ${from}, got them from ${start}`);
    const length = response.headers.get("content-length");
    // A length counts encoded bytes where the body is encoded.
    const encoded = response.headers.get("content-encoding") !== null;
    const total = expected?.bytes ?? (length !== null && !encoded ? start + Number(length) : undefined);
    handle = await open(file, resumed ? "r+" : "w");
    let at = start;
    for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
      timer.refresh();
      if (total !== undefined && at + chunk.length > total)
        throw new IntegrityError(`${url}: sends more than the ${total} bytes expected`);
      await handle.write(chunk, 0, chunk.length, at);
      at += chunk.length;
      onBytes?.(at, total);
    }
    if (total !== undefined && at < total) throw new Error(`the connection ended after ${at} of ${total} bytes`);
    return true;
  } catch (error) {
    throw dead.signal.aborted ? dead.signal.reason : error;
  } finally {
    clearTimeout(timer);
    await handle?.close();
  }
}

export function sizeOf(file: string): Promise<number> {
  return stat(file).then(
    ({ size }) => size,
    () => 0,
  );
}

function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error ? `${message}: ${cause.message}` : message;
}
