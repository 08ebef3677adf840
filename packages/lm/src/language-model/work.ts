import { setMaxListeners } from "node:events";

/**
 * Runs tasks side by side and yields their results as they come.
 *
 * `tasks` are started in order, at most `width` at a time. When one throws, no further one is started, those under way are
 * finished and yielded, then the error is thrown. When `signal` aborts, nothing is waited for: what has come, and what tasks
 * give at once in answer to it (their text so far), is yielded, then the signal's reason is thrown. Each task gets a signal that also aborts when the consumer leaves.
 */
export async function* inOrderOfCompletion<T>(
  tasks: readonly ((signal: AbortSignal) => Promise<T>)[],
  { width = Number.POSITIVE_INFINITY, signal }: { width?: number; signal?: AbortSignal | undefined } = {},
): AsyncGenerator<T> {
  const left = new AbortController();
  const inner = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
  setMaxListeners(0, inner); // one per task that waits
  const ready: T[] = [];
  let failure: { error: unknown } | undefined;
  let started = 0;
  let running = 0;
  let wake = () => {};
  const aborted = () => wake();
  signal?.addEventListener("abort", aborted);

  const start = () => {
    while (!failure && !inner.aborted && running < width && started < tasks.length) {
      const task = tasks[started++]!;
      running++;
      task(inner)
        .then(
          (result) => void ready.push(result),
          (error) => {
            failure ??= { error };
          },
        )
        .finally(() => {
          running--;
          start();
          wake();
        });
    }
  };

  try {
    signal?.throwIfAborted();
    start();
    for (;;) {
      while (ready.length > 0) yield ready.shift()!;
      if (signal?.aborted) {
        await new Promise((resolve) => setImmediate(resolve));
        yield* ready;
        throw signal.reason;
      }
      if (running === 0) {
        if (failure) throw failure.error;
        return;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
        if (ready.length > 0 || running === 0 || signal?.aborted) resolve();
      });
    }
  } finally {
    signal?.removeEventListener("abort", aborted);
    left.abort(new Error("the consumer has left"));
  }
}

/** Waits; rejects with the signal's reason as soon as it aborts. */
export function sleep(milliseconds: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const abort = () => {
      clearTimeout(timer);
      reject(signal!.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", abort);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/** The promise, or the signal's reason as soon as it aborts: a call that ignores its signal cannot hold up a cancellation. */
export function untilAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return promise;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener("abort", abort));
  });
}
