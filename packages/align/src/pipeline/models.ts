import {
  adapterFactors,
  arithmetics,
  asReplies,
  type EndpointModel,
  endpoint,
  type LanguageModel,
  type LocalAdapter,
  type LocalModel,
  type LocalOptions,
  loadAdapter,
  type ModelConfig,
  type ModelShell,
  openCheckpoint,
  openLocalModel,
  openShell,
  openText,
  resolveModel,
  resolveSource,
  type ServerReached,
  type TextCodec,
  type TrainingFormat,
} from "@tenet/lm";
import type { Usage } from "@tenet/runs";
import { contentsFingerprint, type TrainableModel } from "@tenet/train";
import { endpointFingerprint } from "./endpoint-identity.ts";
import { type EngineChoice, RunEngine } from "./run-engine.ts";
import type { EndpointSource, LocalSource, ModelValue } from "./values.ts";

export interface PoolOptions
  extends Pick<
    LocalOptions,
    "device" | "threads" | "memoryBudget" | "cacheDir" | "offline" | "onProgress" | "signal" | "weights"
  > {
  readonly environment?: Readonly<Record<string, string | undefined>>;
  /** How adapters of a model are trained: its frozen matrices may be held in 8 bits. */
  readonly trained?: { readonly reference: string; readonly on: TrainingFormat } | undefined;
  /** A model that an engine holds in other numbers than its files: it is another one. */
  readonly rounded?: { readonly reference: string; readonly dtype: string } | undefined;
}

/** With what changes a model's words too, which a run must not: its results are known by the model's files. */
export type SpeakerOptions = PoolOptions & Omit<LocalOptions, "adapter" | "trainedOn">;

/**
 * The models of a run: every base is in memory once, under as many adapters as stages ask for; every endpoint has one
 * client, whose limits and budget hold for the run.
 */
export class ModelPool {
  readonly #options: SpeakerOptions;
  readonly #bases = new Map<string, Promise<LocalModel>>();
  readonly #shells = new Map<string, Promise<Shell>>();
  readonly #endpoints = new Map<string, EndpointModel>();
  /** By the settings of endpoints, which may never be asked again. */
  readonly #earlier = new Map<string, Parameters<EndpointModel["charge"]>[0][]>();

  readonly #engine: RunEngine | undefined;

  /** @param engine holds one of the models, and trains it */
  constructor(options: SpeakerOptions = {}, engine?: EngineChoice) {
    this.#options = options;
    this.#engine =
      engine &&
      new RunEngine(engine, {
        path: () => resolveModel(engine.reference, options),
        shell: () => this.#shell(engine.reference),
        base: () => this.base(engine.reference),
      });
  }

  /** Tokenizer and chat template of a base, whose weights stay where they are. */
  async text(reference: string): Promise<TextCodec> {
    return (await this.#shell(reference)).text;
  }

  /** A base to train: where an engine holds it, there. Errors: those of `openLocalModel`, or of `RunEngine.model`. */
  trainable(reference: string): Promise<TrainableModel> {
    return this.#engine?.holds(reference) ? this.#engine.model() : this.base(reference);
  }

  /** A base, opened when first asked for. */
  base(reference: string): Promise<LocalModel> {
    let base = this.#bases.get(reference);
    if (!base) {
      const { trained, ...options } = this.#options;
      base = openLocalModel(reference, {
        ...options,
        ...(trained?.reference === reference && { trainedOn: trained.on }),
      });
      this.#bases.set(reference, base);
    }
    return base;
  }

  /**
   * A model to speak with, whose completions are replies. Local ones come with nothing remembered of earlier calls, so that what a batch gives does not
   * depend, to the last bit, on what was asked before it.
   */
  async speaker(model: Pick<ModelValue, "source" | "hash">): Promise<LanguageModel> {
    const { source } = model;
    if (source.type === "endpoint") return this.#endpoint(source).speaker();
    if (this.#engine?.holds(source.reference)) return asReplies(await this.#engine.speaker(source, model.hash));
    const base = await this.base(source.reference);
    const adapter = source.adapter === undefined ? undefined : await this.#adapter(source.adapter, base, model);
    return asReplies(await base.withAdapter(adapter));
  }

  /** Which of an endpoint's servers answer. Errors: those of `endpoint`. */
  reached(source: EndpointSource): Promise<ServerReached[]> {
    return this.#endpoint(source).reached({ signal: this.#options.signal });
  }

  /** Counts towards an endpoint's budget what earlier processes of the run spent there; before it is first asked. */
  charge(source: EndpointSource, { promptTokens = 0, completionTokens = 0, dollars }: Usage): void {
    const key = JSON.stringify(source.settings);
    this.#earlier.set(key, [...(this.#earlier.get(key) ?? []), { promptTokens, completionTokens, dollars }]);
  }

  /** Says what an engine took, and ends it where nothing is to be computed there for now. */
  async release({ over }: { readonly over: boolean }): Promise<void> {
    await this.#engine?.close({ over });
  }

  async close(): Promise<void> {
    const bases = await Promise.allSettled(this.#bases.values());
    for (const base of bases) if (base.status === "fulfilled") await base.value.close();
    for (const model of this.#endpoints.values()) await model.close();
    this.#bases.clear();
    this.#endpoints.clear();
  }

  #endpoint({ settings }: EndpointSource): EndpointModel {
    const key = JSON.stringify(settings);
    let model = this.#endpoints.get(key);
    if (!model) {
      const { environment } = this.#options;
      model = endpoint(settings, environment ? { environment: { ...environment } } : {});
      for (const spent of this.#earlier.get(key) ?? []) model.charge(spent);
      this.#endpoints.set(key, model);
    }
    return model;
  }

  #shell(reference: string): Promise<Shell> {
    let shell = this.#shells.get(reference);
    if (!shell) {
      shell = readShell(reference, this.#options, this.#engine?.holds(reference) === true);
      this.#shells.set(reference, shell);
    }
    return shell;
  }

  async #adapter(folder: string, base: LocalModel, { hash }: Pick<ModelValue, "hash">): Promise<LocalAdapter> {
    return { id: hash, ...adapterFactors(await loadAdapter(folder, base.config)) };
  }
}

interface Shell {
  readonly config: ModelConfig;
  readonly text: TextCodec;
}

/** A model's shape and text. @param elsewhere its weights need not be here */
async function readShell(reference: string, options: PoolOptions, elsewhere: boolean): Promise<Shell> {
  const path = await resolveModel(reference, options);
  const read = async (shell: ModelShell) => ({ config: shell.config, text: await openText(shell) });
  if (elsewhere) return read(await openShell(path));
  const checkpoint = await openCheckpoint(path);
  try {
    return await read(checkpoint);
  } finally {
    await checkpoint.close();
  }
}

/**
 * Tells a model from others of the same name, a local one by its contents.
 *
 * @param runs of the store that results are reused from: see `endpointFingerprint`
 * Errors: those of `resolveModel`.
 */
export async function modelFingerprint(
  source: LocalSource | EndpointSource,
  options: PoolOptions = {},
  runs: Parameters<typeof endpointFingerprint>[1] = [],
): Promise<string> {
  if (source.type === "endpoint") return endpointFingerprint(source.settings, runs);
  const path = await resolveModel(source.reference, options);
  const contents = await contentsFingerprint(source.adapter === undefined ? [path] : [path, source.adapter]);
  const { rounded, trained, weights = "float32" } = options;
  const dtype = rounded?.reference === source.reference ? [rounded.dtype] : [];
  const named = (verb: string, arithmetic: string | undefined) =>
    arithmetic === undefined ? [] : [`${verb} ${arithmetic}`];
  const spoken = named("speaks", arithmetics[weights]);
  const learnt = trained?.reference === source.reference ? named("is trained on", arithmetics[trained.on]) : [];
  return [contents, ...dtype, ...spoken, ...learnt].join(" ");
}

/** A model with the source that its weights are read from. Errors: those of `resolveSource`. */
export async function withSource<Source extends LocalSource | EndpointSource>(
  model: Source,
  options: PoolOptions = {},
): Promise<Source> {
  if (model.type === "endpoint") return model;
  const { source } = await resolveSource(model.reference, options);
  if (source === undefined) return model;
  const { from, sha256 } = source;
  return { ...model, opened: { from, ...(sha256 !== undefined && { sha256 }) } };
}

/** What programs beside the pool's models are opened with. */
export function deviceOf({ device, threads }: PoolOptions) {
  return { ...(device === undefined ? {} : { device }), ...(threads === undefined ? {} : { threads }) };
}
