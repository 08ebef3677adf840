import { EXIT, Interrupted } from "./errors.ts";
import type { Io } from "./io.ts";

/**
 * Does work that Ctrl-C stops: once, through the signal, so that it ends cleanly; twice, at once.
 *
 * Rejects with Interrupted where the signal stopped it, whatever the work made of that; else as the work does.
 */
export async function stoppable<Result>(
  io: Io,
  work: (signal: AbortSignal) => Promise<Result>,
  onStop?: () => void,
): Promise<Result> {
  const controller = new AbortController();
  const stop = io.onInterrupt(() => {
    if (controller.signal.aborted) return io.exit(EXIT.interrupted);
    controller.abort(new Interrupted());
    onStop?.();
  });
  try {
    return await work(controller.signal);
  } catch (error) {
    throw controller.signal.aborted ? new Interrupted() : error;
  } finally {
    stop();
  }
}
