import { randomUUID } from "node:crypto";
import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { sleep } from "../language-model/work.ts";

/** A holder that has not been heard of for this long is taken for dead. */
const staleMs = 15_000;
const beatMs = 3_000;

/**
 * Runs `work` while holding a lock file, so that of several processes one works and the others wait.
 *
 * The holder renews the file's time; a lock whose time has not changed for 15 s is taken over. `onWait` is told once when
 * somebody else holds it. Errors: the signal's reason; whatever `work` throws.
 */
export async function withLock<T>(
  file: string,
  work: () => Promise<T>,
  {
    signal,
    onWait,
    deadAfterMs = staleMs,
  }: { signal?: AbortSignal | undefined; onWait?: (() => void) | undefined; deadAfterMs?: number } = {},
): Promise<T> {
  await mkdir(dirname(file), { recursive: true });
  const token = randomUUID();
  const seen = { time: Number.NaN, since: 0 };
  for (let told = false; ; ) {
    signal?.throwIfAborted();
    if (await create(file, token)) break;
    if (!told) onWait?.();
    told = true;
    const time = await stat(file).then(
      ({ mtimeMs }) => mtimeMs,
      () => Date.now(),
    );
    if (time !== seen.time) Object.assign(seen, { time, since: performance.now() });
    // Its clock, or its file system's, may be ahead of ours: a time that stays the same is as dead as an old one.
    if (Date.now() - time > deadAfterMs || performance.now() - seen.since > deadAfterMs)
      await rm(file, { force: true });
    else await sleep(100, signal);
  }
  const beat = setInterval(() => {
    const now = new Date();
    utimes(file, now, now).catch(() => {});
  }, beatMs);
  beat.unref();
  try {
    return await work();
  } finally {
    clearInterval(beat);
    // A holder that slept through its own time must not remove its successor's lock.
    if ((await readFile(file, "utf8").catch(() => "")) === token) await rm(file, { force: true });
  }
}

async function create(file: string, token: string): Promise<boolean> {
  try {
    await writeFile(file, token, { flag: "wx" });
    return true;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    // Windows says EPERM of a file that is being removed.
    if (code === "EEXIST" || (code === "EPERM" && process.platform === "win32")) return false;
    throw error;
  }
}
