import type { StoredCheckpoint } from "@tenet/align";
import type { CallersOptions, LanguageModel, LocalModel, LocalOptions, RunningServer } from "@tenet/lm";
import { CommandUsageError, Interrupted } from "./errors.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { checkName, faultOfNamed } from "./models.ts";
import { downloadProgress } from "./progress.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

export interface ServeCommandOptions extends StoreOptions, ListenOptions {
  /** A run whose checkpoints are served, instead of a model. */
  run?: string;
  /** `name=folder` each. */
  adapter?: Readonly<Record<string, string>>;
  context?: number;
  device?: NonNullable<LocalOptions["device"]>;
  weights?: NonNullable<LocalOptions["weights"]>;
  threads?: number;
  memoryBudget?: number;
  offline?: boolean;
}

/** Where a server of ours listens, and what its callers have to send. */
export interface ListenOptions {
  json?: boolean;
  host?: string;
  port?: number;
  tokenVariable?: string;
}

/** What is served: until it is closed. */
interface Opened {
  listen(callers: CallersOptions): Promise<RunningServer>;
  /** What is printed once it listens. */
  told(url: string): { readonly json: object; readonly text: string };
  close(): Promise<void>;
}

/** Serves what `open` opens until the command is interrupted. Errors: CommandUsageError where the token is not set. */
export async function serveUntilStopped(
  io: Io,
  { json, host, port = 8080, tokenVariable }: ListenOptions,
  open: (signal: AbortSignal) => Promise<Opened>,
): Promise<void> {
  const token = tokenVariable === undefined ? undefined : io.env[tokenVariable]?.trim();
  if (tokenVariable !== undefined && !token)
    throw new CommandUsageError(`the environment variable ${tokenVariable}, named by --token-variable, is not set`);
  const stopped = new AbortController();
  const release = io.onInterrupt((code) =>
    stopped.signal.aborted ? io.exit(code) : stopped.abort(new Interrupted(code)),
  );
  try {
    const opened = await open(stopped.signal);
    try {
      stopped.signal.throwIfAborted();
      const server = await opened.listen({
        ...{ port, onError: (error: unknown) => tell(io, `${String(error)}\n`) },
        ...(host !== undefined && { host }),
        ...(token !== undefined && { token }),
      });
      const told = opened.told(server.url);
      if (json) printJson(io, told.json);
      else say(io, `${told.text}; Ctrl-C ends it\n`);
      // It may have been interrupted while it began to listen.
      if (!stopped.signal.aborted)
        await new Promise<void>((resolve) => stopped.signal.addEventListener("abort", () => resolve(), { once: true }));
      await server.close();
    } finally {
      await opened.close();
    }
  } finally {
    release();
  }
}

/** `tenet serve`: a model, or the checkpoints of a run, as an OpenAI-compatible server, until it is interrupted. */
export async function serveCommand(io: Io, reference: string | undefined, options: ServeCommandOptions): Promise<void> {
  const { serve } = await import("@tenet/lm");
  await serveUntilStopped(io, options, async (signal) => {
    const { models, close } = await openServed(io, reference, options, signal);
    const names = [...models.keys()];
    return {
      listen: (callers) => serve({ models, ...callers }),
      told: (url) => ({ json: { url, models: names }, text: `${url} serves ${names.join(", ")}` }),
      close,
    };
  });
}

interface Served {
  readonly models: ReadonlyMap<string, LanguageModel>;
  close(): Promise<void>;
}

async function openServed(
  io: Io,
  reference: string | undefined,
  options: ServeCommandOptions,
  signal: AbortSignal,
): Promise<Served> {
  const { run, adapter = {}, context } = options;
  if (run !== undefined && (reference !== undefined || options.adapter !== undefined))
    throw new CommandUsageError("--run says what is served: give it no model and no --adapter beside it");
  if (run === undefined && options.store !== undefined) throw new CommandUsageError("--store belongs to --run");
  const sources = run === undefined ? await named(reference, adapter) : await checkpointsOf(io, run, options);
  const { adapterFactors, loadAdapter, openLocalModel } = await import("@tenet/lm");
  const progress = downloadProgress(io);
  const bases = new Map<string, LocalModel>();
  const close = async () => {
    for (const base of bases.values()) await base.close();
  };
  try {
    const models = new Map<string, LanguageModel>();
    for (const { id, source } of sources) {
      const { reference: from, adapter: folder } = source;
      const base =
        bases.get(from) ??
        (await openLocalModel(from, { ...localOptions(options), signal, onProgress: progress.show }));
      bases.set(from, base);
      const factors = folder === undefined ? undefined : await loadAdapter(folder, base.config);
      const model = await base.withAdapter(factors && { id, ...adapterFactors(factors) });
      models.set(id, model.live(context === undefined ? {} : { context }));
    }
    return { models, close };
  } catch (error) {
    await close();
    throw faultOfNamed(error, [reference, ...Object.values(adapter)]);
  } finally {
    progress.end();
  }
}

type Source = Pick<StoredCheckpoint, "source"> & { readonly id: string };

/** A model under its own name, and under each adapter by the name that is given to that. */
async function named(
  reference: string | undefined,
  adapters: Readonly<Record<string, string>>,
): Promise<readonly Source[]> {
  const { catalogue } = await import("@tenet/lm");
  const name = reference ?? catalogue.default;
  await checkName(name);
  const source = { type: "local", reference: name } as const;
  const under = Object.entries(adapters).map(([id, adapter]) => ({ id, source: { ...source, adapter } }));
  return [{ id: name, source }, ...under];
}

async function checkpointsOf(io: Io, name: string, options: ServeCommandOptions): Promise<readonly Source[]> {
  const { storedCheckpoints } = await import("@tenet/align");
  return withStore(io, options, async (store) => {
    const { id } = findRun(store, name);
    const all = await storedCheckpoints(store, id);
    if (all.length === 0) throw new CommandUsageError(`run ${id} does not say which model it began with`);
    return all;
  });
}

export function localOptions({
  device,
  weights,
  threads,
  memoryBudget,
  offline,
}: Pick<ServeCommandOptions, "device" | "weights" | "threads" | "memoryBudget" | "offline">): LocalOptions {
  return {
    ...(device !== undefined && { device }),
    ...(weights !== undefined && { weights }),
    ...(threads !== undefined && { threads }),
    ...(memoryBudget !== undefined && { memoryBudget }),
    ...(offline !== undefined && { offline }),
  };
}
