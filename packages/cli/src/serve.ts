import type { StoredCheckpoint } from "@tenet/align";
import type { LanguageModel, LocalModel, LocalOptions } from "@tenet/lm";
import { CommandUsageError, Interrupted } from "./errors.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { checkName } from "./models.ts";
import { downloadProgress } from "./progress.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

export interface ServeCommandOptions extends StoreOptions {
  /** A run whose checkpoints are served, instead of a model. */
  run?: string;
  /** `name=folder` each. */
  adapter?: Readonly<Record<string, string>>;
  host?: string;
  port?: number;
  tokenVariable?: string;
  context?: number;
  device?: NonNullable<LocalOptions["device"]>;
  weights?: NonNullable<LocalOptions["weights"]>;
  threads?: number;
  memoryBudget?: number;
  offline?: boolean;
}

/** `tenet serve`: a model, or the checkpoints of a run, as an OpenAI-compatible server, until it is interrupted. */
export async function serveCommand(io: Io, reference: string | undefined, options: ServeCommandOptions): Promise<void> {
  const { host, port = 8080, tokenVariable } = options;
  const token = tokenVariable === undefined ? undefined : io.env[tokenVariable]?.trim();
  if (tokenVariable !== undefined && !token)
    throw new CommandUsageError(`the environment variable ${tokenVariable}, named by --token-variable, is not set`);
  const { serve } = await import("@tenet/lm");
  const stopped = new AbortController();
  const release = io.onInterrupt((code) =>
    stopped.signal.aborted ? io.exit(code) : stopped.abort(new Interrupted(code)),
  );
  try {
    const opened = await openServed(io, reference, options, stopped.signal);
    try {
      stopped.signal.throwIfAborted();
      const server = await serve({
        ...{ models: opened.models, port, onError: (error) => tell(io, `${String(error)}\n`) },
        ...(host !== undefined && { host }),
        ...(token !== undefined && { token }),
      });
      const names = [...opened.models.keys()];
      if (options.json) printJson(io, { url: server.url, models: names });
      else say(io, `${server.url} serves ${names.join(", ")}; Ctrl-C ends it\n`);
      await new Promise<void>((resolve) => stopped.signal.addEventListener("abort", () => resolve(), { once: true }));
      await server.close();
    } finally {
      await opened.close();
    }
  } finally {
    release();
  }
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
    throw error;
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

function localOptions({ device, weights, threads, memoryBudget, offline }: ServeCommandOptions): LocalOptions {
  return {
    ...(device !== undefined && { device }),
    ...(weights !== undefined && { weights }),
    ...(threads !== undefined && { threads }),
    ...(memoryBudget !== undefined && { memoryBudget }),
    ...(offline !== undefined && { offline }),
  };
}
