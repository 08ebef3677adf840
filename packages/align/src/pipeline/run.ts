import { resolve } from "node:path";
import { nearest } from "@tenet/data";
import { UsageError } from "@tenet/lm";
import { openStore, type RunStatus, type RunWriter, runId, type Store } from "@tenet/runs";
import { constitutionHash } from "../constitution/index.ts";
import { type Arrangement, arrange, notesOf } from "./arrangement.ts";
import { withoutAddresses } from "./endpoint-identity.ts";
import { evaluationOnly } from "./evaluation-only.ts";
import type { RunEvent } from "./events.ts";
import { unsetKeys, unsetKeyText } from "./keys.ts";
import { ModelPool, type PoolOptions } from "./models.ts";
import type { OpenRecipe } from "./open.ts";
import { EventQueue } from "./queue.ts";
import type { EngineChoice } from "./run-engine.ts";
import { engineIdentity } from "./schema/engine.ts";
import { sayDeadServers } from "./servers-reached.ts";
import { chargeEarlier, execute, GateError, inOrder, type Stage } from "./stages/index.ts";
import { WaitError } from "./wait.ts";
import { warningsOf } from "./warnings.ts";
import { planOf, Watched } from "./watched.ts";

/** How local models hold their weights is the recipe's to say. */
export interface RunOptions extends Omit<PoolOptions, "weights"> {
  /** Folder of the run store. Default "runs". */
  readonly store?: string;
  /** Of programs, for the record. */
  readonly versions?: Readonly<Record<string, string>>;
  /** Names of the last stages to execute, with what they need; all where absent. */
  readonly only?: readonly string[];
  /** Folders of adapters by name: the scorecard of the recipe's model and of these is made, and nothing is trained. */
  readonly evaluate?: Readonly<Record<string, string>>;
}

/** A stage is asked for that the recipe does not lead to. */
export class StageNameError extends Error {
  override name = "StageNameError";
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
 * constitution: a changed one is a run of its own, which takes from the store whatever it shares with earlier ones. A run that is
 * left before its last stages because `only` names others ends as interrupted.
 *
 * Errors: StageNameError; UsageError for a key that is not set; RunBusyError while another process runs the same; StoreError; those of the stages through `finished`: GateError
 * when a gate refused, WaitError where people have to say something first, the signal's reason when it aborted.
 */
export function startRun(open: OpenRecipe, options: RunOptions = {}): TenetRun {
  const { store: folder = "runs", versions = {}, only, evaluate, signal, ...pool } = options;
  const { engine, model, inference, training } = open.recipe;
  const rounded = engine?.dtype === "bfloat16" ? { rounded: { reference: model, dtype: engine.dtype } } : {};
  const speaking = inference ? { weights: inference.weights } : {};
  const trained = training ? { trained: { reference: model, on: training.weights } } : {};
  const poolOptions: PoolOptions = { ...pool, ...rounded, ...speaking, ...trained, ...(signal && { signal }) };
  const context = { ...open, options: poolOptions };
  const arrangement = evaluate === undefined ? arrange(context) : evaluationOnly(context, evaluate);
  const { targets, refused } = arrangement;
  const last = only === undefined ? targets : stagesNamed(only, targets);
  const store = openStore(folder);
  let run: RunWriter;
  try {
    const spec = runSpec(open, versions, evaluate);
    requireKeys(open.recipe, { store, run: runId(spec), stages: inOrder(last), environment: pool.environment });
    run = store.begin(spec);
    run.event({ kind: "opened", data: opened(open, arrangement) });
    run.event({ kind: "plan", data: planOf(last) });
  } catch (error) {
    store.close();
    throw error;
  }
  const events = new EventQueue<RunEvent>();
  const watch = new Watched(run);
  const emit = (event: RunEvent) => {
    events.push(event);
    watch.take(event);
    record(run, event);
  };
  const finished = work(open, { store, run, emit, signal, poolOptions, targets, last, refused });
  finished.then(
    () => events.end(),
    () => events.end(),
  );
  return { id: run.id, events, finished };
}

/**
 * Errors: UsageError where the key of an endpoint is not set that one of the stages would ask and that is not done yet: it would be
 * found missing after hours of other stages.
 */
function requireKeys(
  recipe: OpenRecipe["recipe"],
  {
    store,
    run,
    stages,
    environment,
  }: {
    store: Store;
    run: string;
    stages: readonly Stage[];
    environment: PoolOptions["environment"];
  },
): void {
  const unset = unsetKeys(recipe, environment);
  if (unset.length === 0) return;
  const known = store.runs().some(({ id }) => id === run);
  const asks = (role: string) =>
    stages.some(
      ({ name, inputs }) =>
        inputs.some((input) => input.name === role) && !(known && store.stage(run, name)?.status === "done"),
    );
  const needed = unset.filter(({ roles }) => roles.some(asks));
  if (needed.length === 0) return;
  throw new UsageError(`${needed.map(unsetKeyText).join("; ")}: set it, and run again`);
}

/** What makes a run's id. An evaluation has a name of its own, beside the recipe's. */
export function runSpec(
  { name, written, constitution, unseen }: OpenRecipe,
  versions: RunOptions["versions"] = {},
  evaluate?: RunOptions["evaluate"],
) {
  const recipe = {
    ...written,
    roles: Object.fromEntries(Object.entries(written.roles).map(([name, role]) => [name, withoutAddresses(role)])),
    ...(written.engine && { engine: engineIdentity(written.engine) }),
    constitutionHash: constitutionHash(constitution),
    ...(unseen && { unseenHash: constitutionHash(unseen) }),
  };
  const shared = { versions: { ...versions } };
  if (evaluate === undefined) return { name, recipe, ...shared };
  return { name: `${name.slice(0, 75)}.eval`, recipe: { ...recipe, adapters: Object.keys(evaluate) }, ...shared };
}

/** What the id does not hold, and somebody who comes back to the run needs: where its model lies, its principles, and its checkpoints. */
function opened({ file, recipe, constitution }: OpenRecipe, arrangement: Arrangement): unknown {
  const checkpoints = notesOf(arrangement);
  // Through JSON, since checks in modules are functions.
  return JSON.parse(JSON.stringify({ file: resolve(file), model: recipe.model, constitution, checkpoints }));
}

/** Errors: StageNameError with what the recipe leads to, and the nearest of it. */
function stagesNamed(names: readonly string[], targets: readonly Stage[]): Stage[] {
  const stages = new Map(inOrder(targets).map((stage) => [stage.name, stage]));
  return names.map((name) => {
    const stage = stages.get(name);
    if (stage) return stage;
    const guess = nearest(name, [...stages.keys()]);
    throw new StageNameError(
      `the recipe leads to no stage "${name}"${guess ? `; did you mean "${guess}"? It has` : ": it has"} ${[...stages.keys()].join(", ")}`,
    );
  });
}

async function work(
  open: OpenRecipe,
  context: {
    store: Store;
    run: RunWriter;
    emit: (event: RunEvent) => void;
    signal: AbortSignal | undefined;
    poolOptions: PoolOptions;
    /** Where the recipe leads to, and where this call does. */
    targets: readonly Stage[];
    last: readonly Stage[];
    /** What is still worth executing behind a gate that refused. */
    refused: (gate: Stage) => readonly Stage[];
  },
): Promise<void> {
  const { store, run, emit, signal, poolOptions, targets, last, refused } = context;
  const models = new ModelPool(poolOptions, engineOf(open, context));
  let end: { status: Exclude<RunStatus, "running">; message?: string; error?: unknown } = { status: "done" };
  try {
    emit({ type: "run", run: run.id, status: "running" });
    for (const message of warningsOf(open)) emit({ type: "message", level: "warning", message });
    chargeEarlier(targets, { store, run, models });
    const executed = { store, run, models, signal, emit };
    await sayDeadServers(last, { store, run: run.id, models, emit });
    await execute(last, executed).catch(async (error: unknown) => {
      if (error instanceof GateError && error.stage) await execute(refused(error.stage), executed, error.reached);
      throw error;
    });
    // Models that are given are no stages of the store.
    const left = targets.filter(
      ({ name, inputs }) => inputs.length > 0 && store.stage(run.id, name)?.status !== "done",
    );
    if (left.length > 0)
      end = { status: "interrupted", message: `only ${last.map(({ name }) => name).join(", ")} was asked for` };
  } catch (error) {
    const status = signal?.aborted ? "interrupted" : statusOf(error);
    end = { status, error, ...(error instanceof Error && { message: error.message }) };
  }
  try {
    // Who waits, was refused or failed holds no cluster meanwhile; who was interrupted comes back.
    await models.release({ over: end.status !== "interrupted" });
    const { status, message } = end;
    emit({ type: "run", run: run.id, status, ...(message === undefined ? {} : { message }) });
  } catch (error) {
    // What stopped the run comes before a disk that has no room to write it down.
    if (!("error" in end)) end = { status: "failed", error, ...(error instanceof Error && { message: error.message }) };
  }
  try {
    run.end(end.status, end.message);
  } catch (error) {
    if (!("error" in end)) end = { status: "failed", error };
  } finally {
    await models.close();
    store.close();
  }
  if ("error" in end) throw end.error;
}

function statusOf(error: unknown): "waiting" | "refused" | "failed" {
  if (error instanceof WaitError) return "waiting";
  return error instanceof GateError ? "refused" : "failed";
}

/** Where a run's model is trained, where that is not here. */
function engineOf(
  { recipe: { engine: settings, model: reference } }: OpenRecipe,
  { run, signal, poolOptions, emit }: Pick<Parameters<typeof work>[1], "run" | "signal" | "poolOptions" | "emit">,
): EngineChoice | undefined {
  if (settings === undefined) return undefined;
  const { environment } = poolOptions;
  const say: EngineChoice["say"] = (level, message) => emit({ type: "message", level, message });
  return { settings, reference, run: run.id, environment, signal, say };
}

/** Keeps what somebody who comes later wants to know; progress and metrics have tables of their own. */
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
