import type { Progress as StoredProgress } from "@tenet/runs";
import type { Progress } from "./api.ts";

/** How far a stage has come, with the time that is left at the rate since the process that works on it began. */
export function progressOf({ begun, started, ...progress }: StoredProgress): Progress {
  const done = progress.done - begun;
  const seconds = (Date.parse(progress.updated) - Date.parse(started)) / 1000;
  const left = progress.total - progress.done;
  return {
    ...progress,
    // A rate of one word is none.
    ...(done > 0 && seconds > 0 && { secondsLeft: (left * seconds) / done }),
  };
}
