import { checkThreads, type DeviceName, type Feeds, ProgramPool, resolveDevice, type Tensor } from "@tenet/tensor";
import { adapterFactors, loadAdapter } from "../adapter/index.ts";
import { type ResolveOptions, resolveModel } from "../catalogue/index.ts";
import { type Checkpoint, type ModelConfig, openCheckpoint } from "../checkpoint/index.ts";
import { type LayerContext, type Lora, projectionBeside } from "../decoder/index.ts";
import {
  type CallOptions,
  type Capabilities,
  type GenerateRequest,
  type GenerateResult,
  isTokens,
  noUsage,
  type Prompt,
  resolveSampling,
  type ScoreRequest,
  type ScoreResult,
  type Tokens,
  UsageError,
  type UsageTotals,
} from "../language-model/index.ts";
import { openText, type TextCodec } from "../text/index.ts";
import { Beginnings } from "./beginnings.ts";
import { type BlockGraph, compileBlock } from "./block-graph.ts";
import { bytesPerPosition, cacheShape, KeyValueCache } from "./cache.ts";
import { graphsFolder, weightsFolder } from "./cache-folders.ts";
import { Engine, type Graphs } from "./engine.ts";
import { type DecodeStatistics, generateJobs, type Job } from "./generate.ts";
import { compileDecode, compilePrompt, type GenerationGraph } from "./graph.ts";
import { liveGeneration } from "./live.ts";
import { liveSlots, mostSpare, usualBudget, usualSlots } from "./memory.ts";
import {
  type MatrixProduct,
  matrixProducts,
  type TrainingFormat,
  trainingFormats,
  type WeightFormat,
} from "./quantize.ts";
import { encodeScore, givenTokens, requirePrompt, scoreJobs } from "./score.ts";
import { channelSizes } from "./smoothing.ts";
import type { TokenModel } from "./token-model.ts";
import { mappedWeights } from "./weights.ts";

export interface LocalOptions extends Pick<ResolveOptions, "cacheDir" | "offline" | "onProgress" | "signal"> {
  /** Default "auto". */
  readonly device?: DeviceName | "auto";
  /** Threads on the CPU, up to four for each processor; the runtime's choice when not given. */
  readonly threads?: number;
  /** Guess repeated text while decoding: exact, and fast where replies repeat their prompts. Default true. */
  readonly drafts?: boolean;
  /**
   * How matrices are held for generation and scoring. Default "float32", which is exact. "int8" takes a quarter of the
   * memory, and on some processors less time of decoding many texts; "int4" takes an eighth, and is fast for one text at a
   * time. Both change results a little: see docs/performance.md. Training graphs have a format of their own.
   */
  readonly weights?: WeightFormat;
  /**
   * How the frozen matrices of layers are held under adapters that are trained. Default "float32". "int8": they, and the activations and gradients that meet
   * them, take 8 bits, in less time on some processors; the output head, the factors and all that is trained stay float32.
   */
  readonly trainedOn?: TrainingFormat;
  /** Folder of a LoRA adapter in PEFT's format to speak under. */
  readonly adapter?: string;
  /** Samples decoded together at most. Default 64. */
  readonly slots?: number;
  /**
   * Decoding steps in one call of the runtime at most. Default 128 on CUDA, where keys and values travel to the device with each call, and 1
   * elsewhere. Replies are the same; see `drawTokens` for how far draws are. Needs a device with float64.
   */
  readonly stepsPerCall?: number;
  /**
   * Bytes that one piece of work may take beside the weights: keys and values of replies (a quarter of the machine's memory when not given), and
   * what a training computes at once (what its settings say when not given).
   */
  readonly memoryBudget?: number;
}

/** What an adapter adds to a matrix W: scale · B·A. Arrays are shared, so a training adapter stays current. */
export interface LocalFactors {
  readonly rank: number;
  /** alpha / rank as a rule */
  readonly scale: number;
  /** [rank, in], row-major */
  readonly a: Float32Array;
  /** [out, rank], row-major */
  readonly b: Float32Array;
}

/** LoRA factors for a local model, by module path; as they come from an adapter's files or from training. */
export interface LocalAdapter {
  readonly id: string;
  readonly factors: ReadonlyMap<string, LocalFactors>;
}

/** A model in this process: frozen weights, held once, under any number of adapters. */
export interface LocalModel extends TokenModel {
  readonly config: ModelConfig;
  /** A frozen weight as a graph tensor, for graphs that train on top of it. */
  weight(name: string): Tensor;
  /** `LocalOptions.trainedOn`. */
  readonly trainedOn: TrainingFormat;
  /** How a graph that trains an adapter projects through the frozen matrices, where it is not as the weights say: `LocalOptions.trainedOn`. */
  projection(lora: Lora): LayerContext["project"] | undefined;
  /** Folder in which graphs over these weights are kept once they are optimised: `CompileOptions.graphCache`. */
  readonly graphCache: string;
  /** `LocalOptions.memoryBudget`, for those that train on top of it. */
  readonly memoryBudget: number | undefined;
  /**
   * The same base under an adapter, or under none; costs the adapter's own memory. It remembers nothing of what was asked of
   * others. Closing it leaves the base open.
   */
  withAdapter(adapter?: LocalAdapter): Promise<LocalModel>;
  /** What decoding did since the model was opened. */
  statistics(): DecodeStatistics;
  /**
   * The same model for callers that do not know of each other: replies to all their requests are decoded together, each request joins
   * those under way and ends by its own signal. `context` bounds prompt and reply together, and so the memory of a slot.
   */
  live(options?: { readonly context?: number }): TokenModel;
}

/**
 * Opens a model for generation and scoring in this process: a folder, a file, a reference or a catalogue name.
 *
 * Weights become one float32 file in the cache folder, mapped into memory and shared by every adapter of the model.
 * Errors: those of `resolveModel` and `openCheckpoint`; DeviceError for a device that does not work here,
 * ThreadsError for more threads than the machine can sensibly run.
 *
 * @example
 * const model = await openLocalModel("smollm2-135m-instruct");
 * for await (const { completion } of model.generate([{ prompt: [{ role: "user", content: "Hello!" }] }]))
 *   console.log(completion.text);
 * await model.close();
 */
export async function openLocalModel(reference: string, options: LocalOptions = {}): Promise<LocalModel> {
  checkThreads(options.threads);
  const { stepsPerCall = 1 } = options;
  if (!Number.isInteger(stepsPerCall) || stepsPerCall < 1)
    throw new UsageError(`stepsPerCall: expected a whole number of at least 1, got ${stepsPerCall}`);
  const path = await resolveModel(reference, options);
  const checkpoint = await openCheckpoint(path);
  try {
    const text = await openText(checkpoint);
    const base = await Base.load(reference, checkpoint, text, options);
    if (options.adapter === undefined) return await base.model();
    const loaded = await loadAdapter(options.adapter, checkpoint.config);
    return await base.model({ id: options.adapter, ...adapterFactors(loaded) });
  } finally {
    await checkpoint.close();
  }
}

/**
 * Graphs that stay compiled: a beginning, prompts behind it and decoding behind it, under one set of adapted modules. Those of other sets
 * give way unless they are used in turns with them.
 */
const keptGraphs = { most: 3, patience: 16 };
/** Where callers come and go: prompts and decoding of several sets, each of which is wanted again at any time. */
const liveGraphs = 8;
/** Decoding steps in one call where a call costs more than they do. */
const stepsOnCuda = 128;

/** What all adapters of a model share. */
class Base {
  readonly id: string;
  readonly config: ModelConfig;
  readonly text: TextCodec;
  readonly device: DeviceName;
  readonly options: LocalOptions;
  readonly #weights: ReadonlyMap<string, Tensor>;
  readonly #product: MatrixProduct;
  /** With gradients; undefined where trainings use the weights as they are. */
  readonly #frozen: MatrixProduct | undefined;
  readonly #graphs = new ProgramPool<GenerationGraph>(keptGraphs);
  readonly #blockGraphs = new ProgramPool<BlockGraph>(keptGraphs);
  #spare: KeyValueCache | undefined;

  private constructor(
    id: string,
    config: ModelConfig,
    text: TextCodec,
    device: DeviceName,
    options: LocalOptions,
    weights: ReadonlyMap<string, Tensor>,
    { product, frozen }: { product: MatrixProduct; frozen: MatrixProduct | undefined },
  ) {
    this.id = id;
    this.config = config;
    this.text = text;
    this.device = device;
    this.options = options;
    this.#weights = weights;
    this.#product = product;
    this.#frozen = frozen;
  }

  static async load(id: string, checkpoint: Checkpoint, text: TextCodec, options: LocalOptions): Promise<Base> {
    const device = await resolveDevice(options.device ?? "auto");
    const folder = weightsFolder(options.cacheDir);
    const weights = await mappedWeights(checkpoint, folder);
    const { threads } = options;
    const sizes = () =>
      channelSizes(checkpoint.config, (name) => weights.get(name)!, text, threads === undefined ? {} : { threads });
    const { weights: spoken = "float32", trainedOn = "float32" } = options;
    if (!trainingFormats.includes(trainedOn))
      throw new UsageError(
        `adapters are not trained on weights in "${trainedOn}"; expected ${trainingFormats.join(" or ")}`,
      );
    const frozen =
      trainedOn === "int8"
        ? await matrixProducts(checkpoint, folder, trainedOn, weights, { sizes, gradients: true })
        : undefined;
    const product =
      frozen && spoken === trainedOn ? frozen : await matrixProducts(checkpoint, folder, spoken, weights, { sizes });
    return new Base(id, checkpoint.config, text, device, options, weights, { product, frozen });
  }

  /** Callers come and go from now on. */
  serves(): void {
    this.#graphs.most = liveGraphs;
  }

  /** Folder of graphs over the weights, as the runtime optimised them. */
  get graphCache(): string {
    return graphsFolder(this.options.cacheDir);
  }

  weight(name: string): Tensor {
    const found = this.#weights.get(name);
    if (!found) throw new UsageError(`the model has no weight "${name}"`);
    return found;
  }

  projection(lora: Lora): LayerContext["project"] | undefined {
    return this.#frozen && projectionBeside(this.config, this.#frozen, (name) => this.weight(name), lora);
  }

  /** Graphs for a set of adapted modules; adapters of the same set share them. */
  graphs(adapted: readonly string[]): Graphs {
    const options = {
      config: this.config,
      weight: (name: string) => this.weight(name),
      product: this.#product,
      context: this.config.max_position_embeddings,
      adapted,
      ends: [...this.text.endIds],
      device: this.device,
      graphCache: this.graphCache,
      ...(this.options.threads === undefined ? {} : { threads: this.options.threads }),
    };
    const run = (kind: string, compileIt: () => Promise<GenerationGraph>, feeds: Feeds) =>
      this.#graphs.use(`${kind} ${adapted.join()}`, compileIt, (graph) => graph.run(feeds));
    const plain = (this.options.weights ?? "float32") === "float32";
    return {
      prompt: (prefixed, feeds) => run(`prompt ${prefixed}`, () => compilePrompt({ ...options, prefixed }), feeds),
      decode: (prefixed, feeds) => run(`decode ${prefixed}`, () => compileDecode({ ...options, prefixed }), feeds),
      block: ({ prefixed, filtered }, work) =>
        this.#blockGraphs.use(
          `${prefixed} ${filtered} ${adapted.join()}`,
          () => compileBlock({ ...options, prefixed, filtered, plain }),
          work,
        ),
    };
  }

  /** How replies are decoded; undefined where it is step by step. */
  get blocks(): { steps: number } | undefined {
    const steps = this.options.stepsPerCall ?? (this.device === "cuda" ? stepsOnCuda : 1);
    return steps > 1 ? { steps } : undefined;
  }

  /** An empty cache, in memory that was used before if there is any: touching new memory costs as much as filling it. */
  takeCache(rows: number): KeyValueCache {
    const cache = new KeyValueCache(cacheShape(this.config), rows, this.#spare);
    this.#spare = undefined;
    return cache;
  }

  giveBack(cache: KeyValueCache): void {
    if (cache.bytes <= mostSpare) this.#spare = cache;
  }

  async model(adapter?: LocalAdapter, options: { borrowed?: boolean } = {}): Promise<LocalModel> {
    const adapted = adapter ? [...adapter.factors.keys()].sort() : [];
    for (const path of adapted)
      if (!this.#weights.has(`${path}.weight`))
        throw new UsageError(`the adapter changes "${path}", which the model does not have`);
    const feeds = adapter ? adapterFeeds(adapter, adapted, (name) => this.weight(name)) : {};
    const engine = new Engine(this.config, this.text.endIds, this.graphs(adapted), feeds);
    return new View(this, engine, adapter ? `${this.id}+${adapter.id}` : this.id, options.borrowed ?? false);
  }

  close(): Promise<void> {
    return Promise.all([this.#graphs.close(), this.#blockGraphs.close()]).then(() => {});
  }
}

/** `adapted` is the order of the graph's scales. */
function adapterFeeds(
  { factors }: LocalAdapter,
  adapted: readonly string[],
  weightOf: (name: string) => Tensor,
): Feeds {
  const scales = Float32Array.from(adapted, (path) => factors.get(path)!.scale);
  const feeds: Record<string, Feeds[string]> = { "lora.scales": { data: scales, shape: [adapted.length] } };
  for (const [path, { rank, a, b }] of factors) {
    const [out, width] = weightOf(`${path}.weight`).shape as [number, number];
    if (a.length !== rank * width || b.length !== out * rank)
      throw new UsageError(
        `adapter factors of "${path}": expected ${rank * width} and ${out * rank} values for rank ${rank}, got ${a.length} and ${b.length}`,
      );
    feeds[`${path}.lora_A.weight`] = { data: a, shape: [rank, width] };
    feeds[`${path}.lora_B.weight`] = { data: b, shape: [out, rank] };
  }
  return feeds;
}

/** Beginnings kept from call to call. */
const keptBeginnings = 4;
/** The same where callers come and go. */
const liveBeginnings = 8;

/** The base under one adapter or none, as a language model. */
class View implements LocalModel {
  readonly id: string;
  readonly config: ModelConfig;
  readonly text: TextCodec;
  readonly #base: Base;
  readonly #engine: Engine;
  readonly #borrowed: boolean;
  readonly #totals = noUsage();
  readonly #statistics: DecodeStatistics = { steps: 0, tokens: 0, drafted: 0, accepted: 0 };
  readonly #beginnings: Beginnings;
  #closed = false;

  constructor(base: Base, engine: Engine, id: string, borrowed: boolean) {
    this.id = id;
    this.config = base.config;
    this.text = base.text;
    this.#base = base;
    this.#engine = engine;
    this.#borrowed = borrowed;
    this.#beginnings = new Beginnings(engine, { most: keptBeginnings });
  }

  async capabilities(): Promise<Capabilities> {
    const { hasChat } = this.text;
    return {
      chat: hasChat,
      raw: true,
      prefill: hasChat,
      topLogprobs: this.config.vocab_size,
      score: { raw: "continuations", chat: hasChat ? "continuations" : "none" },
      seed: true,
      topK: true,
      minP: true,
      minTokens: true,
      repetitionPenalty: true,
      streaming: true,
    };
  }

  get graphCache(): string {
    return this.#base.graphCache;
  }

  get trainedOn(): TrainingFormat {
    return this.#base.options.trainedOn ?? "float32";
  }

  get memoryBudget(): number | undefined {
    return this.#base.options.memoryBudget;
  }

  weight(name: string): Tensor {
    return this.#base.weight(name);
  }

  projection(lora: Lora): LayerContext["project"] | undefined {
    return this.#base.projection(lora);
  }

  withAdapter(adapter?: LocalAdapter): Promise<LocalModel> {
    return this.#base.model(adapter, { borrowed: true });
  }

  async *generate(
    requests: readonly GenerateRequest<Prompt | Tokens>[],
    options: CallOptions = {},
  ): AsyncGenerator<GenerateResult> {
    this.#open();
    const jobs = requests.map((request, position) => this.#job(request, position, this.config.max_position_embeddings));
    if (jobs.length === 0) return;
    options.signal?.throwIfAborted();
    const longest = Math.max(...jobs.map(({ tokens, room }) => tokens.length + room));
    const samples = jobs.reduce((sum, { sampling }) => sum + sampling.n, 0);
    const cache = this.#base.takeCache(Math.min(samples, this.#slots(longest)));
    const settings = { ...this.#decoding(), cache, options };
    const shared = await this.#beginnings.of(jobs.map(({ tokens }) => tokens));
    try {
      for await (const result of generateJobs(this.#engine, jobs, shared, settings)) {
        this.#count(result);
        yield result;
      }
    } finally {
      this.#base.giveBack(cache);
    }
  }

  live({ context = this.config.max_position_embeddings }: { readonly context?: number } = {}): TokenModel {
    this.#open();
    this.#base.serves();
    const longest = Math.min(context, this.config.max_position_embeddings);
    const perPosition = bytesPerPosition(cacheShape(this.config));
    const budget = this.#budget();
    this.#slots(longest, budget);
    const view = this;
    const beginnings = new Beginnings(this.#engine, {
      most: liveBeginnings,
      positions: mostSpare / perPosition,
      live: true,
    });
    const generate = liveGeneration({
      job: (request, position, place) => {
        view.#open();
        return { ...view.#job(request, place, longest), position };
      },
      room: (positions) => {
        const slots = view.#slots(positions, budget, liveSlots);
        return { slots, positions: Math.max(positions, Math.floor(budget / (slots * perPosition))) };
      },
      async *run(arrivals, slots) {
        const cache = view.#base.takeCache(slots);
        const settings = { ...view.#decoding(), cache, options: {}, arrivals, beginnings };
        try {
          for await (const result of generateJobs(view.#engine, [], view.#engine.emptyPrefix(), settings)) {
            view.#count(result);
            yield result;
          }
        } finally {
          view.#base.giveBack(cache);
        }
      },
    });
    return {
      id: this.id,
      text: this.text,
      capabilities: () => this.capabilities(),
      generate,
      score: (requests, options) => this.score(requests, options),
      usage: () => this.usage(),
      close: () => this.close(),
    };
  }

  async *score(
    requests: readonly (ScoreRequest | ScoreRequest<Tokens, Tokens>)[],
    { signal }: CallOptions = {},
  ): AsyncGenerator<ScoreResult> {
    this.#open();
    const jobs = requests.map((request, position) => encodeScore(this, request, position));
    if (jobs.length === 0) return;
    signal?.throwIfAborted();
    const shared = await this.#beginnings.of(jobs.map(({ prompt }) => prompt));
    for await (const result of scoreJobs(this.#engine, jobs, shared, this.text, signal)) {
      const { prompt, continuations } = jobs[result.request]!;
      // All of it is read: of a text that is scored by itself, nearly everything is the continuation.
      this.#totals.promptTokens += continuations.reduce((sum, tokens) => sum + tokens.length, prompt.length);
      this.#totals.scored++;
      yield result;
    }
  }

  usage(): UsageTotals {
    return { ...this.#totals };
  }

  statistics(): DecodeStatistics {
    return { ...this.#statistics };
  }

  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#beginnings.clear();
    if (!this.#borrowed) await this.#base.close();
  }

  /** `context` bounds prompt and reply together. */
  #job(request: GenerateRequest<Prompt | Tokens>, position: number, context: number): Job {
    const tokens = this.#encode(request.prompt, position);
    const sampling = resolveSampling(request.sampling);
    const left = context - tokens.length;
    if (left < 1)
      throw new UsageError(
        `the prompt of request ${position} has ${tokens.length} tokens; the model's context is ${context}, and a reply needs one`,
      );
    return { request, position, sampling, tokens, room: Math.min(sampling.maxTokens, left) };
  }

  #count({ completion: { usage } }: GenerateResult): void {
    this.#totals.promptTokens += usage.promptTokens;
    this.#totals.completionTokens += usage.completionTokens;
    this.#totals.completions++;
  }

  #open(): void {
    if (this.#closed) throw new UsageError("the model is closed");
  }

  #encode(prompt: Prompt | Tokens, position: number): readonly number[] {
    if (isTokens(prompt)) return givenTokens(this, prompt, `the prompt of request ${position}`);
    requirePrompt(this, prompt);
    const tokens = this.text.encodePrompt(prompt);
    if (tokens.length === 0) throw new UsageError("the prompt has no tokens");
    return tokens;
  }

  /** How all texts of this model are decoded. */
  #decoding() {
    const { options, blocks } = this.#base;
    return {
      ...{ text: this.text, drafts: options.drafts ?? true, statistics: this.#statistics },
      ...(blocks && { blocks }),
    };
  }

  /** Bytes that keys and values may take. */
  #budget(): number {
    return this.#base.options.memoryBudget ?? usualBudget();
  }

  /** Rows of keys and values that fit the budget. */
  #slots(longest: number, budget = this.#budget(), usual = usualSlots): number {
    const { slots = usual } = this.#base.options;
    const row = longest * bytesPerPosition(cacheShape(this.config));
    const fitting = Math.floor(budget / row);
    if (fitting < 1)
      throw new UsageError(
        `a row of ${longest} tokens takes ${row} bytes of keys and values; the memory budget is ${Math.floor(budget)}`,
      );
    return Math.min(slots, fitting);
  }
}
