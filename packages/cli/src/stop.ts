import { Interrupted } from "./errors.ts";
import type { Io } from "./io.ts";

/**
 * Does work that Ctrl-C stops, or another signal to end: once, through the signal, so that it ends cleanly; twice, at once.
 *
 * Rejects with Interrupted where the signal stopped it, whatever the work made of that; else as the work does.
 */
export async function stoppable<Result>(
  io: Io,
  work: (signal: AbortSignal) => Promise<Result>,
  onStop?: () => void,
): Promise<Result> {
  const controller = new AbortController();
  const stop = io.onInterrupt((code) => {
    if (controller.signal.aborted) return io.exit(code);
    controller.abort(new Interrupted(code));
    onStop?.();
  });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? controller.signal.reason : error;
  } finally {
    stop();
  }
}
