import type { RunEvent } from "@tenet/align";
import type { RunStatus, Store } from "@tenet/runs";
import { EXIT } from "./errors.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { runProgress } from "./run-progress.ts";
import { stoppable } from "./stop.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

/** How often the progress of another process is asked for. It tells once a second. */
const lookMilliseconds = 500;

/**
 * `tenet watch`: a run that another process writes, as that process's own terminal shows it, until it ends. Ctrl-C ends the watching and
 * not the run. Gives the exit code that the run's own command ends with.
 */
export async function watch(io: Io, name: string, options: StoreOptions): Promise<number> {
  return withStore(io, options, async (store) => {
    const { id } = findRun(store, name);
    const progress = runProgress(io);
    const show = options.json ? (event: RunEvent) => printJson(io, event) : progress.show;
    const timer = setInterval(() => {
      const now = progressOf(store, id);
      if (now) show(now);
    }, lookMilliseconds);
    try {
      await stoppable(io, async (signal) => {
        // What an earlier process did is over.
        const after = (store.lastEvent(id, "opened")?.sequence ?? 1) - 1;
        for await (const { kind, data } of store.events(id, { after, follow: true, signal }))
          if (kind === "stage" || kind === "message") show({ type: kind, ...(data as object) } as RunEvent);
      });
    } finally {
      clearInterval(timer);
      progress.end();
    }
    const { status, error } = store.run(id);
    if (options.json) printJson(io, { type: "run", run: id, status, ...(error !== undefined && { error }) });
    else {
      say(io, `run ${id}: ${status}${error === undefined ? "" : `: ${error}`}\n`);
      if (status === "done") say(io, `${commandName(io)} report ${id}\n`);
    }
    return exitCodes[status] ?? EXIT.failed;
  });
}

/** What a run's own command ends with; by which signal it was interrupted is not kept. */
const exitCodes: Partial<Record<RunStatus, number>> = {
  done: EXIT.done,
  refused: EXIT.refused,
  waiting: EXIT.waiting,
  interrupted: EXIT.interrupted,
};

function progressOf(store: Store, run: string): RunEvent | undefined {
  const last = store.progress(run).at(-1);
  if (!last || store.stage(run, last.stage)?.status !== "running") return undefined;
  const { stage, done, total, unit } = last;
  return { type: "progress", stage, done, total, unit } as RunEvent;
}
