import { openStore, type RunStatus, type RunWriter, type Store } from "@tenet/runs";
import { constitutionHash } from "../constitution/index.ts";
import type { RunEvent } from "./events.ts";
import { ModelPool, type PoolOptions } from "./models.ts";
import type { OpenRecipe } from "./open.ts";
import { EventQueue } from "./queue.ts";
import { sequential } from "./sequential.ts";
import { execute, GateError } from "./stages.ts";

export interface RunOptions extends PoolOptions {
  /** Folder of the run store. Default "runs". */
  readonly store?: string;
  /** Of programs, for the record. */
  readonly versions?: Readonly<Record<string, string>>;
}

/** A run under way. */
export interface TenetRun {
  readonly id: string;
  /** Everything that happens, once, for one reader; ends with the run. */
  readonly events: AsyncIterable<RunEvent>;
  /** Resolves when all is done. Rejects with what stopped the run; the store keeps what there is, and a further run continues. */
  readonly finished: Promise<void>;
}

/**
 * Runs a recipe, or continues it where it stopped. The run's id is made of its name, the recipe with its defaults, and the
 * constitution: a changed one is a run of its own, which takes from the store whatever it shares with earlier ones.
 *
 * Errors: RunBusyError while another process runs the same; StoreError; those of the stages through `finished`: GateError
 * when a gate refused, the signal's reason when it aborted.
 */
export function startRun(open: OpenRecipe, options: RunOptions = {}): TenetRun {
  const { store: folder = "runs", versions = {}, signal, ...pool } = options;
  const store = openStore(folder);
  let run: RunWriter;
  try {
    run = store.begin(runSpec(open, versions));
  } catch (error) {
    store.close();
    throw error;
  }
  const events = new EventQueue<RunEvent>();
  const emit = (event: RunEvent) => {
    record(run, event);
    events.push(event);
  };
  const poolOptions: PoolOptions = signal ? { ...pool, signal } : pool;
  const finished = work(open, { store, run, emit, signal, poolOptions });
  finished.then(
    () => events.end(),
    () => events.end(),
  );
  return { id: run.id, events, finished };
}

/** What makes a run's id. */
export function runSpec({ name, written, constitution }: OpenRecipe, versions: RunOptions["versions"] = {}) {
  return { name, recipe: { ...written, constitutionHash: constitutionHash(constitution) }, versions: { ...versions } };
}

async function work(
  open: OpenRecipe,
  context: {
    store: Store;
    run: RunWriter;
    emit: (event: RunEvent) => void;
    signal: AbortSignal | undefined;
    poolOptions: PoolOptions;
  },
): Promise<void> {
  const { store, run, emit, signal, poolOptions } = context;
  const models = new ModelPool(poolOptions);
  let end: { status: Exclude<RunStatus, "running">; error?: unknown } = { status: "done" };
  try {
    emit({ type: "run", run: run.id, status: "running" });
    const { targets } = sequential({ ...open, options: poolOptions });
    await execute(targets, { store, run, models, seed: open.recipe.seed, signal, emit });
  } catch (error) {
    const status = signal?.aborted ? "interrupted" : error instanceof GateError ? "refused" : "failed";
    end = { status, error };
  }
  try {
    const message = end.error instanceof Error ? end.error.message : undefined;
    emit({ type: "run", run: run.id, status: end.status, ...(message === undefined ? {} : { message }) });
    run.end(end.status, message);
  } finally {
    await models.close();
    store.close();
  }
  if ("error" in end) throw end.error;
}

/** Keeps what somebody who comes later wants to know; progress is not, and metrics have a table of their own. */
function record(run: RunWriter, event: RunEvent): void {
  if (event.type === "progress" || event.type === "metrics") return;
  const { type, ...data } = event;
  const stage = "stage" in event ? event.stage : undefined;
  const message = "message" in event ? event.message : undefined;
  run.event({
    kind: type,
    data,
    ...(stage === undefined ? {} : { stage }),
    ...(message === undefined ? {} : { message }),
  });
}
