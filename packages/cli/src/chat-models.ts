import type { StoredCheckpoint } from "@tenet/align";
import type { LanguageModel, LocalOptions, SamplingInput } from "@tenet/lm";
import { CommandUsageError, Interrupted, nearest } from "./errors.ts";
import { type Io, tell } from "./io.ts";
import { checkName, faultOfNamed } from "./models.ts";
import { downloadProgress } from "./progress.ts";
import { findRun, withStore } from "./store.ts";

export interface ChatOptions {
  /** A run whose checkpoints are talked to, instead of a model. */
  run?: string;
  checkpoint?: string;
  /** Ids of checkpoints, with commas between. */
  compare?: string;
  store?: string;
  adapter?: string;
  system?: string;
  endpoint?: string;
  apiKeyVariable?: string;
  device?: NonNullable<LocalOptions["device"]>;
  weights?: NonNullable<LocalOptions["weights"]>;
  threads?: number;
  memoryBudget?: number;
  json?: boolean;
  debug?: boolean;
  sampling: SamplingInput;
}

/** Opens the model that a chat is held with; tests put their own in its place. */
export type OpenModel = (model: string | undefined, options: ChatOptions, io: Io) => Promise<LanguageModel>;

/** A model that is talked to; of several, each has its name. */
export interface Speaker {
  readonly model: LanguageModel;
  readonly checkpoint?: Pick<StoredCheckpoint, "id" | "label">;
}

export interface Speakers {
  readonly speakers: readonly Speaker[];
  /** The run that they are checkpoints of. */
  readonly run?: string;
  close(): Promise<void>;
}

/** Opens the model that is named, or checkpoints of a run. Errors: UsageError for options that do not go together. */
export async function openSpeakers(
  io: Io,
  reference: string | undefined,
  options: ChatOptions,
  openModel: OpenModel = openChatModel,
): Promise<Speakers> {
  const { run, compare, checkpoint, store } = options;
  if (run === undefined) {
    for (const [name, value] of Object.entries({ compare, checkpoint, store }))
      if (value !== undefined) throw new CommandUsageError(`--${name} belongs to --run`);
    const model = await openModel(reference, options, io);
    return { speakers: [{ model }], close: () => model.close() };
  }
  const { adapter, endpoint, apiKeyVariable } = options;
  for (const [name, value] of Object.entries({ adapter, endpoint, "api-key-variable": apiKeyVariable }))
    if (value !== undefined)
      throw new CommandUsageError(`--${name} does not go with --run, which says what to talk to`);
  if (compare !== undefined && checkpoint !== undefined)
    throw new CommandUsageError("--checkpoint is for one model and --compare for several; give one of them");
  const { id, all, meant } = await checkpointsOf(io, run, options);
  const wanted = compare?.split(",").map((name) => name.trim()) ?? [checkpoint ?? meant.checkpoint.id];
  const chosen = chosenOf(wanted, all, id);
  const best = meant.checkpoint;
  if (compare === undefined && meant.recommended && chosen[0]!.id !== best.id)
    tell(io, `note: the scorecard recommends ${best.id} (${best.label}), not ${chosen[0]!.id}\n`);
  if (all.length === 1)
    tell(
      io,
      `note: run ${id} has trained nothing yet: ${chosen[0]!.id} (${chosen[0]!.label}) is the model that it began with\n`,
    );
  if (!options.json) tell(io, `loading ${chosen.map((one) => `${one.id} (${one.label})`).join(", ")} …\n`);
  const { openCheckpoints } = await import("@tenet/align");
  const { models, close } = await fetching(io, (given) =>
    openCheckpoints(chosen, { ...localOptions(options), ...given }),
  );
  return { speakers: chosen.map((one, i) => ({ model: models[i]!, checkpoint: one })), run: id, close };
}

async function checkpointsOf(io: Io, name: string, options: ChatOptions) {
  const { chosenCheckpoint, storedCheckpoints } = await import("@tenet/align");
  return withStore(io, options, async (store) => {
    const { id } = findRun(store, name);
    const all = await storedCheckpoints(store, id);
    if (all.length === 0) throw new CommandUsageError(`run ${id} does not say which model it began with`);
    return { id, all, meant: chosenCheckpoint(store, id, all) };
  });
}

/** Errors: UsageError naming what the run has, and the nearest of it. */
export function chosenOf(wanted: readonly string[], all: readonly StoredCheckpoint[], run: string): StoredCheckpoint[] {
  const ids = all.map(({ id }) => id);
  if (new Set(wanted).size < wanted.length) throw new CommandUsageError(`${wanted.join(",")} names a checkpoint twice`);
  return wanted.map((name) => {
    const found = all.find(({ id }) => id === name);
    if (found) return found;
    const guess = nearest(name, ids);
    throw new CommandUsageError(
      `run ${run} has no checkpoint "${name}"${guess ? `; did you mean "${guess}"? It has` : ": it has"} ${ids.join(", ")}`,
    );
  });
}

function localOptions({ device, weights, threads, memoryBudget }: ChatOptions): LocalOptions {
  return {
    ...(device !== undefined && { device }),
    ...(weights !== undefined && { weights }),
    ...(threads !== undefined && { threads }),
    ...(memoryBudget !== undefined && { memoryBudget }),
  };
}

/** Opens a local model, which may have to be fetched: with progress, and until Ctrl-C. */
async function fetching<Opened>(
  io: Io,
  open: (options: Pick<LocalOptions, "signal" | "onProgress">) => Promise<Opened>,
): Promise<Opened> {
  const controller = new AbortController();
  const stop = io.onInterrupt((code) =>
    controller.signal.aborted ? io.exit(code) : controller.abort(new Interrupted(code)),
  );
  const progress = downloadProgress(io);
  try {
    return await open({ signal: controller.signal, onProgress: progress.show });
  } finally {
    progress.end();
    stop();
  }
}

async function openChatModel(reference: string | undefined, options: ChatOptions, io: Io): Promise<LanguageModel> {
  const { adapter, device, weights, threads, memoryBudget } = options;
  if (options.endpoint !== undefined) {
    if (!/^https?:\/\//i.test(options.endpoint) || !URL.canParse(options.endpoint))
      throw new CommandUsageError(
        `--endpoint: expected an address such as http://localhost:8000/v1, got ${options.endpoint}`,
      );
    for (const [name, value] of Object.entries({ adapter, device, weights, threads, "memory-budget": memoryBudget }))
      if (value !== undefined)
        throw new CommandUsageError(`--${name} is for local models; an endpoint decides by itself`);
    const { endpoint } = await import("@tenet/lm");
    const { apiKeyVariable } = options;
    const settings = {
      baseUrl: options.endpoint,
      ...(reference && { model: reference }),
      ...(apiKeyVariable && { apiKeyVariable }),
    };
    return endpoint(settings, { environment: io.env });
  }
  if (options.apiKeyVariable !== undefined) throw new CommandUsageError("--api-key-variable belongs to --endpoint");
  const { catalogue, openLocalModel } = await import("@tenet/lm");
  const name = reference ?? catalogue.default;
  await checkName(name);
  return fetching(io, (given) =>
    openLocalModel(name, { ...localOptions(options), ...(adapter !== undefined && { adapter }), ...given }),
  ).catch((error) => {
    throw faultOfNamed(error, [name, adapter]);
  });
}
