import { nearest } from "@tenet/data";
import type { RunInfo, StageInfo, Store, SupersededStage } from "@tenet/runs";
import type { SampleCounts } from "./api.ts";
import { NotFoundError } from "./errors.ts";
import type { Kept } from "./kept.ts";
import type { LastEvents } from "./last-events.ts";
import type { Live } from "./live.ts";
import type { PairKey } from "./pair-key.ts";
import type { Planned } from "./planned.ts";
import type { Judge } from "./verdicts.ts";

/** What the routes share. */
export interface ViewContext {
  readonly store: Store;
  readonly version: string;
  /** Whether runs and exports can be started here. */
  readonly launches: boolean;
  /** Verdicts of checks on stored replies, kept while the server lives. */
  readonly judge: Judge;
  readonly live: Live;
  readonly plans: LastEvents<Planned[] | undefined>;
  readonly pairs: Kept<readonly PairKey[]>;
  readonly counts: Kept<SampleCounts>;
}

/** A run by its id, the beginning of one, or "latest". @throws NotFoundError with the nearest. */
export function runNamed({ store }: Pick<ViewContext, "store">, id: string): RunInfo {
  const ids = store.runIds();
  const exact = ids.includes(id) ? id : id === "latest" ? ids[0] : undefined;
  if (exact !== undefined) return store.run(exact);
  const begin = ids.filter((one) => id !== "" && one.startsWith(id));
  if (begin.length === 1) return store.run(begin[0]!);
  const guess = nearest(id, ids);
  throw new NotFoundError(
    `there is no run ${JSON.stringify(id)} here${guess === undefined ? ";" : `; did you mean ${guess}?`} tenet ls lists them`,
  );
}

/** A result of a stage of a run that a later one replaced. @throws NotFoundError */
export function formerResult(
  { store }: Pick<ViewContext, "store">,
  run: string,
  name: string,
  identity: string,
): SupersededStage {
  const found = store.superseded(run).findLast((stage) => stage.name === name && stage.identity === identity);
  if (found) return found;
  throw new NotFoundError(
    `run ${run} has no former result ${JSON.stringify(identity)} of its stage ${JSON.stringify(name)}`,
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
    `run ${run} has no stage ${JSON.stringify(name)} that has begun${guess === undefined ? ";" : `; did you mean ${guess}?`} tenet show ${run} lists them`,
  );
}
