import {
  type EngineClient,
  EngineError,
  EngineMemoryError,
  EngineRestartedError,
  type Request,
  type TensorOf,
} from "@tenet/engine";
import {
  type Adapter,
  adapterConfigJson,
  type LanguageModel,
  type LoraConfig,
  type ModelConfig,
  saveAdapter,
  type TextCodec,
} from "@tenet/lm";
import {
  compile,
  decodeAdamW,
  encodeAdamW,
  grad,
  type Outputs,
  ParameterSet,
  type Program,
  schedule,
} from "@tenet/tensor";
import { requireFinite } from "./divergence.ts";
import { type BuildForward, defaultMicroBatchTokens, type Forward, type Frozen, type PlaceValues } from "./forward.ts";
import { fillFrom, startingParameters } from "./local-trainer.ts";
import type { Item } from "./packing.ts";
import { type EngineValue, type RemoteGraph, remoteFeeds, remoteGraph, wantedBy } from "./remote-graph.ts";
import {
  type BuildLoss,
  type Objective,
  type RemoteModel,
  type Sums,
  type Trainer,
  TrainerError,
  type TrainerOptions,
  type TrainerState,
  type Update,
} from "./trainer.ts";

export interface EngineModelOptions {
  readonly id: string;
  readonly config: ModelConfig;
  readonly text: TextCodec;
  readonly engine: EngineClient;
  /** The model as it speaks under an adapter: by generation servers, or by the same model where Tenet runs. */
  speak(adapter: Adapter & { readonly id: string }): Promise<LanguageModel>;
}

/** A model whose weights an engine holds: trained there, by the losses that are written here. */
export function engineModel(options: EngineModelOptions): RemoteModel {
  const { id, config, text } = options;
  const share: Share = { halved: false };
  return { id, config, text, openTrainer: (given) => openRemoteTrainer(given, options, share) };
}

/** What the trainers of one engine have in common. */
interface Share {
  /** Whether a micro-batch did not fit: they are then half as large as was asked for. */
  halved: boolean;
}

/** Sequences sent at once, where nothing is added up there. */
const sequencesAtOnce = 512;

let count = 0;

async function openRemoteTrainer(options: TrainerOptions, model: EngineModelOptions, share: Share): Promise<Trainer> {
  const { lora } = options.tuning;
  if (!lora)
    throw new TrainerError('an engine trains adapters beside frozen weights: expected weights "lora", not "all"');
  const trainer = new RemoteTrainer(options, lora, model, share);
  await trainer.open(await startingParameters(options));
  return trainer;
}

/** Parameters of before, under a name of their own at the engine. */
interface RemoteFrozen extends Frozen {
  readonly name: string;
}

/**
 * A trainer whose transformer and optimizer are an engine's. Losses are compiled and differentiated here, down to the values that the engine
 * gives: it is sent ∂L/∂value and makes the gradient of it. Learning rates, clipping and states come from here too.
 */
class RemoteTrainer implements Trainer {
  readonly #options: TrainerOptions;
  readonly #lora: LoraConfig;
  readonly #model: EngineModelOptions;
  readonly #share: Share;
  readonly #learningRate: (step: number) => number;
  readonly #name = `adapter-${process.pid}-${count++}`;
  readonly #names = new Set<string>();
  readonly #open = new Set<{ close(): Promise<void> }>();
  #parameters: ParameterSet | undefined;
  #step = 0;
  #pending = false;
  #probe: (() => Promise<Sums>) | undefined;

  constructor(options: TrainerOptions, lora: LoraConfig, model: EngineModelOptions, share: Share) {
    this.#options = options;
    this.#lora = lora;
    this.#model = model;
    this.#share = share;
    const { learningRate, schedule: kind, warmupSteps, steps } = options.optimizer;
    this.#learningRate = schedule({ kind, peak: learningRate, warmup: Math.min(warmupSteps, steps), steps });
  }

  async open(parameters: ParameterSet): Promise<void> {
    this.#parameters = parameters;
    await this.#put(this.#name, parameters.data, true);
  }

  get step(): number {
    return this.#step;
  }

  objective(build: BuildLoss): Objective {
    const learning = new Compiled((graph) => {
      const { loss, metrics = {} } = build(graph);
      const leaves = graph.leaves();
      return { sums: { loss, ...metrics }, cotangents: grad(loss, leaves as Record<string, typeof loss>) };
    }, this.#options);
    const looking = new Compiled((graph) => {
      const { loss, metrics = {} } = build(graph);
      return { sums: { loss, ...metrics } };
    }, this.#options);
    const sumsOf = (sums: unknown) =>
      Object.fromEntries(
        Object.entries(sums as Record<string, { data: ArrayLike<number> }>).map(([name, { data }]) => [name, data[0]!]),
      ) as Sums;
    const objective: Objective = {
      accumulate: async (items) => {
        const { program, letters } = await learning.get(this.#options.sequencesPerItem);
        const found = await this.#values(this.#name, items, wantedBy(program.inputs), letters);
        const { sums, cotangents } = await program.run(remoteFeeds(program.inputs, items, found));
        const totals = sumsOf(sums);
        this.requireFinite("the loss", totals.loss, this.#step + 1);
        await this.#backward(items, cotangents as unknown as Record<string, TensorOf>, letters);
        this.#pending = true;
        this.#probe = () => objective.evaluate(items.slice(0, 1));
        return totals;
      },
      evaluate: async (items) => {
        const { program, letters } = await looking.get(this.#options.sequencesPerItem);
        const found = await this.#values(this.#name, items, wantedBy(program.inputs), letters);
        const { sums } = await program.run(remoteFeeds(program.inputs, items, found));
        const totals = sumsOf(sums);
        this.requireFinite("the loss in evaluation", totals.loss);
        return totals;
      },
      close: async () => {
        this.#open.delete(objective);
        this.#probe = undefined;
        await learning.close();
        await looking.close();
      },
    };
    this.#open.add(objective);
    return objective;
  }

  forward(build: BuildForward): Forward {
    const compiled = new Compiled((graph) => ({ values: build(graph) }), this.#options);
    const forward: Forward = {
      run: async (items, under) => {
        const { program, letters } = await compiled.get(this.#options.sequencesPerItem);
        const found: Record<string, Float32Array[][]> = {};
        const { sequencesPerItem = 1 } = this.#options;
        const size = Math.max(1, Math.floor(sequencesAtOnce / sequencesPerItem));
        for (let start = 0; start < items.length; start += size) {
          const some = items.slice(start, start + size);
          const name = under === undefined ? this.#name : (under as RemoteFrozen).name;
          const values = await this.#values(name, some, wantedBy(program.inputs), letters);
          const outputs = await program.run(remoteFeeds(program.inputs, some, values));
          for (const [key, { data }] of Object.entries(outputs.values as unknown as Record<string, TensorOf>))
            found[key] = [...(found[key] ?? []), ...placesOf(some, data as Float32Array)];
        }
        return found as Record<string, PlaceValues>;
      },
      close: async () => {
        this.#open.delete(forward);
        await compiled.close();
      },
    };
    this.#open.add(forward);
    return forward;
  }

  async frozen(others?: { readonly adapter?: string | undefined }): Promise<Frozen> {
    const name = `${this.#name}-${this.#names.size}`;
    const parameters = await this.#get();
    if (others) await fillFrom(parameters, others.adapter, this.#options);
    await this.#put(name, parameters.data, false);
    const frozen: RemoteFrozen = { name };
    return frozen;
  }

  async update(): Promise<Update> {
    if (!this.#pending) throw new TrainerError("update: nothing was accumulated since the last one");
    const { betas, epsilon, weightDecay, maxGradNorm } = this.#options.optimizer;
    const learningRate = this.#learningRate(this.#step);
    const { tensors } = await this.#calling(() =>
      this.#model.engine.call("update", {
        ...{ name: this.#name, learningRate, betas: [...betas] as [number, number], epsilon, weightDecay, maxGradNorm },
      }),
    );
    const gradNorm = tensors.gradNorm!.data[0]!;
    this.#pending = false;
    this.requireFinite("the gradient's norm", gradNorm, this.#step + 1);
    this.#step++;
    return { step: this.#step, gradNorm, learningRate };
  }

  gradient(): undefined {
    return undefined;
  }

  async speaker(id: string): Promise<LanguageModel> {
    return this.#model.speak({ id, lora: this.#lora, parameters: await this.#get(), baseModel: this.#model.id });
  }

  async save(folder: string): Promise<void> {
    const { id, config } = this.#model;
    await saveAdapter(folder, { lora: this.#lora, parameters: await this.#get(), baseModel: id, config });
  }

  async saveWeights(): Promise<void> {
    throw new TrainerError("saveWeights: an engine trains factors, not weights; use save");
  }

  async verify(): Promise<void> {
    if (this.#probe) this.requireFinite("the loss behind it", (await this.#probe()).loss);
  }

  requireFinite(what: string, value: number, step = this.#step): void {
    const { optimizer } = this.#options;
    requireFinite(what, value, { step, done: this.#step, optimizer, lora: this.#lora });
  }

  async state(): Promise<TrainerState> {
    if (this.#pending) throw new TrainerError("state: gradients are accumulated; call update() first");
    const tensors = await this.#fetch(true);
    const [parameters, firstMoment, secondMoment] = ["", "exp_avg/", "exp_avg_sq/"].map((part) =>
      this.#flat(tensors, part),
    ) as [Float32Array<ArrayBuffer>, Float32Array, Float32Array];
    return {
      parameters: new Uint8Array(parameters.buffer),
      optimizer: encodeAdamW({ step: this.#step, firstMoment, secondMoment }),
    };
  }

  async restore(state: TrainerState): Promise<void> {
    const { size } = this.#parameters!;
    if (state.parameters.byteLength !== 4 * size)
      throw new TrainerError(
        `the saved state has ${state.parameters.byteLength / 4} parameters, this trainer ${size}; it was made with another model or adapter`,
      );
    const data = new Float32Array(state.parameters.slice().buffer);
    const optimizer = decodeAdamW(state.optimizer);
    this.#step = optimizer.step;
    this.#pending = false;
    const sum = data.reduce((all, value) => all + value * 0, 0);
    if (sum !== 0) this.requireFinite("a parameter", data.find((value) => !Number.isFinite(value))!);
    await this.#put(this.#name, data, true, optimizer);
  }

  async close(): Promise<void> {
    for (const one of [...this.#open]) await one.close();
    for (const name of this.#names) {
      this.#names.delete(name);
      // An engine that is gone, or was started again, has none of them any more.
      await this.#model.engine.call("drop", { name }).catch((error: unknown) => {
        if (!(error instanceof EngineError)) throw error;
      });
    }
  }

  async #put(
    name: string,
    data: Float32Array,
    trainable: boolean,
    optimizer?: { readonly step: number; readonly firstMoment: Float32Array; readonly secondMoment: Float32Array },
  ): Promise<void> {
    const named = (prefix: string, values: Float32Array) =>
      this.#parameters!.ranges.map(({ name, shape, start, end }) => [
        prefix + name,
        { shape, data: values.subarray(start, end) },
      ]);
    const moments =
      optimizer && optimizer.step > 0
        ? [...named("exp_avg/", optimizer.firstMoment), ...named("exp_avg_sq/", optimizer.secondMoment)]
        : [];
    const request = { name, lora: loraOf(this.#lora), trainable, step: optimizer?.step ?? 0 };
    await this.#calling(() =>
      this.#model.engine.call("put", request, Object.fromEntries([...named("", data), ...moments])),
    );
    this.#names.add(name);
  }

  async #fetch(moments: boolean): Promise<Readonly<Record<string, TensorOf>>> {
    return (await this.#calling(() => this.#model.engine.call("get", { name: this.#name, moments }))).tensors;
  }

  /** The parameters as they are now, in an own set. */
  async #get(): Promise<ParameterSet> {
    const { ranges } = this.#parameters!;
    const set = new ParameterSet(Object.fromEntries(ranges.map(({ name, shape }) => [name, shape])));
    set.data.set(this.#flat(await this.#fetch(false), ""));
    return set;
  }

  #flat(tensors: Readonly<Record<string, TensorOf>>, prefix: string): Float32Array<ArrayBuffer> {
    const { ranges, size } = this.#parameters!;
    const flat = new Float32Array(size);
    for (const { name, start } of ranges) flat.set(tensors[prefix + name]!.data, start);
    return flat;
  }

  async #values(name: string, items: readonly Item[], wanted: readonly EngineValue[], letters?: readonly number[]) {
    if (wanted.length === 0) return {};
    const request = { name, wanted: [...wanted], ...this.#size(letters) };
    const { tensors } = await this.#calling(() => this.#model.engine.call("forward", request, sequencesOf(items)));
    return tensors;
  }

  async #backward(items: readonly Item[], cotangents: Readonly<Record<string, TensorOf>>, letters?: readonly number[]) {
    const named = Object.entries(cotangents).map(([key, value]) => [`cotangent/${key}`, value]);
    const request = { name: this.#name, ...this.#size(letters) };
    await this.#calling(() =>
      this.#model.engine.call("backward", request, { ...sequencesOf(items), ...Object.fromEntries(named) }),
    );
  }

  #size(letters: readonly number[] | undefined) {
    const { microBatchTokens = defaultMicroBatchTokens } = this.#options;
    const tokens = this.#share.halved ? Math.max(1, Math.floor(microBatchTokens / 2)) : microBatchTokens;
    return { microBatchTokens: tokens, ...(letters && { letters: [...letters] }) };
  }

  /** A call; where a micro-batch does not fit, training goes on from its last checkpoint with half of it, once. */
  async #calling<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof EngineMemoryError) || this.#share.halved) throw error;
      this.#share.halved = true;
      throw new EngineRestartedError(`${error.message}. microBatchTokens is halved`, { cause: error });
    }
  }
}

/** A program over the engine's values, compiled when first needed. */
class Compiled<O extends Outputs> {
  readonly #build: (graph: RemoteGraph) => O;
  readonly #options: Pick<TrainerOptions, "threads">;
  #made: Promise<{ program: Program<O>; letters: readonly number[] | undefined }> | undefined;

  constructor(build: (graph: RemoteGraph) => O, { threads }: Pick<TrainerOptions, "threads">) {
    this.#build = build;
    this.#options = threads === undefined ? {} : { threads };
  }

  get(sequencesPerItem = 1) {
    this.#made ??= (async () => {
      let graph: RemoteGraph | undefined;
      const program = await compile(
        () => {
          graph = remoteGraph(sequencesPerItem);
          return this.#build(graph);
        },
        { device: "cpu", ...this.#options },
      );
      return { program, letters: graph!.letters };
    })();
    return this.#made;
  }

  async close(): Promise<void> {
    const made = this.#made;
    this.#made = undefined;
    // One that was not to be compiled has said so where it was needed.
    await made?.then(
      ({ program }) => program.dispose(),
      () => undefined,
    );
  }
}

/**
 * Runs a training; where the engine's workers were lost and are there again, or a micro-batch did not fit, it goes on from its last
 * checkpoint. @param start begins the training, or continues it: its folder is the same each time
 * Errors: the last EngineRestartedError, once there were more than `most`.
 */
export async function* resuming<Event, Result>(
  start: () => AsyncGenerator<Event, Result>,
  { most = 5, onRestart }: { readonly most?: number; readonly onRestart?: (error: EngineRestartedError) => void } = {},
): AsyncGenerator<Event, Result> {
  for (let restarts = 0; ; restarts++) {
    try {
      return yield* start();
    } catch (error) {
      if (!(error instanceof EngineRestartedError) || restarts === most) throw error;
      onRestart?.(error);
    }
  }
}

/** An adapter's settings as PEFT names them. */
function loraOf(lora: LoraConfig): Request<"put">["lora"] {
  const json = adapterConfigJson({ lora, baseModel: undefined, head: false });
  const { r, lora_alpha, target_modules, use_rslora, rank_pattern, alpha_pattern } = json;
  const patterns = rank_pattern ? { rank_pattern, alpha_pattern } : {};
  return { r, lora_alpha, target_modules, use_rslora, ...patterns } as Request<"put">["lora"];
}

/** Items' sequences as the engine takes them, one after another. */
function sequencesOf(items: readonly Item[]): Record<string, TensorOf> {
  const sequences = items.flatMap((one) => one.sequences);
  const flat = (of: (index: number) => ArrayLike<number>): TensorOf => {
    const data = Int32Array.from(sequences.flatMap((_, i) => Array.from(of(i))));
    return { data, shape: [data.length] };
  };
  return {
    tokens: flat((i) => sequences[i]!.tokens),
    lengths: flat((i) => [sequences[i]!.tokens.length]),
    chosen: flat((i) => sequences[i]!.chosen),
    chosenLengths: flat((i) => [sequences[i]!.chosen.length]),
  };
}

/** An output over chosen places as items' sequences have them. */
function placesOf(items: readonly Item[], values: Float32Array): Float32Array[][] {
  let at = 0;
  return items.map(({ sequences }) =>
    sequences.map(({ chosen }) => {
      at += chosen.length;
      return values.slice(at - chosen.length, at);
    }),
  );
}
