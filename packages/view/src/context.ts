import { nearest } from "@tenet/data";
import type { RunInfo, StageInfo, Store } from "@tenet/runs";
import { NotFoundError } from "./errors.ts";
import type { Live } from "./live.ts";
import type { Judge } from "./verdicts.ts";

/** What the routes share. */
export interface ViewContext {
  readonly store: Store;
  readonly version: string;
  /** Verdicts of checks on stored replies, kept while the server lives. */
  readonly judge: Judge;
  readonly live: Live;
}

/** A run by its id, the beginning of one, or "latest". @throws NotFoundError with the nearest. */
export function runNamed({ store }: Pick<ViewContext, "store">, id: string): RunInfo {
  const runs = store.runs();
  const exact = runs.find((run) => run.id === id) ?? (id === "latest" ? runs[0] : undefined);
  if (exact) return exact;
  const begin = runs.filter((run) => id !== "" && run.id.startsWith(id));
  if (begin.length === 1) return begin[0]!;
  const guess = nearest(
    id,
    runs.map((run) => run.id),
  );
  throw new NotFoundError(
    `there is no run ${JSON.stringify(id)} here${guess === undefined ? "" : `; did you mean ${guess}?`} tenet ls lists them`,
  );
}

/** A stage of a run that has begun. @throws NotFoundError with the nearest. */
export function stageNamed({ store }: Pick<ViewContext, "store">, run: string, name: string): StageInfo {
  const found = store.stage(run, name);
  if (found) return found;
  const guess = nearest(
    name,
    store.stages(run).map((stage) => stage.name),
  );
  throw new NotFoundError(
    `run ${run} has no stage ${JSON.stringify(name)} that has begun${guess === undefined ? "" : `; did you mean ${guess}?`} tenet show ${run} lists them`,
  );
}
