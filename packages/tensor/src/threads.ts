import { availableParallelism } from "node:os";
import { TensorError } from "./errors.ts";

/** A number of threads that this machine cannot sensibly run. */
export class ThreadsError extends TensorError {
  override name = "ThreadsError";
}

/** More threads than this for each processor only wait for one another; thousands do not even start. */
const threadsPerProcessor = 4;

/** Refuses numbers of threads below 1 and far above the machine's processors. @throws ThreadsError naming the limit */
export function checkThreads(threads: number | undefined): void {
  if (threads === undefined) return;
  const processors = availableParallelism();
  const most = threadsPerProcessor * processors;
  if (Number.isInteger(threads) && threads >= 1 && threads <= most) return;
  throw new ThreadsError(
    `expected 1 to ${most} threads on this machine's ${processors} processors, got ${threads}; left out, one runs on each core`,
  );
}
