import type { EngineClient, EngineRestartedError, TensorOf } from "@tenet/engine";
import {
  type Adapter,
  type LanguageModel,
  type LoraConfig,
  type ModelConfig,
  saveAdapter,
  type TextCodec,
} from "@tenet/lm";
import { decodeAdamW, grad, type ParameterSet, schedule } from "@tenet/tensor";
import { requireFinite } from "./divergence.ts";
import type { BuildForward, Forward, Frozen } from "./forward.ts";
import { fillFrom, startingParameters, withoutHead } from "./local-trainer.ts";
import { type EngineShare, RemoteAdapter } from "./remote-adapter.ts";
import { Compiled, openRemoteForward, remoteValues } from "./remote-forward.ts";
import { remoteFeeds, wantedBy } from "./remote-graph.ts";
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
  /** The model as it speaks under an adapter, or under none: by generation servers, or by the same model where Tenet runs. */
  speak(adapter: (Adapter & { readonly id: string }) | undefined): Promise<LanguageModel>;
  /** Told where values that nobody trains were asked for again, since the engine was started again. */
  readonly onRestart?: ((error: EngineRestartedError) => void) | undefined;
}

/** A model whose weights an engine holds: trained there, by the losses that are written here. */
export function engineModel(options: EngineModelOptions): RemoteModel {
  const { id, config, text, engine, onRestart } = options;
  const share: EngineShare = { engine, halved: false };
  return {
    ...{ id, config, text },
    openTrainer: (given) => openRemoteTrainer(given, options, share),
    openForward: (given, parameters, build) =>
      openRemoteForward(share, { options: given, parameters, build, onRestart }),
    speak: (adapter) => options.speak(adapter),
  };
}

async function openRemoteTrainer(
  options: TrainerOptions,
  model: EngineModelOptions,
  share: EngineShare,
): Promise<Trainer> {
  const { lora } = options.tuning;
  if (!lora)
    throw new TrainerError('an engine trains adapters beside frozen weights: expected weights "lora", not "all"');
  const trainer = new RemoteTrainer(options, { lora, model, share, parameters: await startingParameters(options) });
  await trainer.open();
  return trainer;
}

/** Parameters of before, held beside those in training. */
interface RemoteFrozen extends Frozen {
  readonly adapter: RemoteAdapter;
}

const bytesOf = ({ data }: ParameterSet) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength);

/**
 * A trainer whose transformer and optimizer are an engine's. Losses are compiled and differentiated here, down to the values that the engine
 * gives: it is sent ∂L/∂value and makes the gradient of it. Learning rates, clipping and states come from here too.
 */
class RemoteTrainer implements Trainer {
  readonly #options: TrainerOptions;
  readonly #lora: LoraConfig;
  readonly #model: EngineModelOptions;
  readonly #share: EngineShare;
  readonly #learningRate: (step: number) => number;
  /** Where training starts; their values are the engine's from then on. */
  readonly #parameters: ParameterSet;
  readonly #adapter: RemoteAdapter;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #step = 0;
  #pending = false;
  #probe: (() => Promise<Sums>) | undefined;

  constructor(
    options: TrainerOptions,
    {
      lora,
      model,
      share,
      parameters,
    }: {
      readonly lora: LoraConfig;
      readonly model: EngineModelOptions;
      readonly share: EngineShare;
      readonly parameters: ParameterSet;
    },
  ) {
    this.#options = options;
    this.#lora = lora;
    this.#model = model;
    this.#share = share;
    this.#parameters = parameters;
    this.#adapter = this.#holding();
    const { learningRate, schedule: kind, warmupSteps, steps } = options.optimizer;
    this.#learningRate = schedule({ kind, peak: learningRate, warmup: Math.min(warmupSteps, steps), steps });
  }

  async open(): Promise<void> {
    await this.#adapter.put({ parameters: bytesOf(this.#parameters) }, true);
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
        const found = await this.#adapter.values(items, wantedBy(program.inputs), letters, true);
        const { sums, cotangents } = await program.run(remoteFeeds(program.inputs, items, found));
        const totals = sumsOf(sums);
        this.requireFinite("the loss", totals.loss, this.#step + 1);
        await this.#adapter.backward(items, cotangents as unknown as Record<string, TensorOf>, letters);
        this.#pending = true;
        this.#probe = () => objective.evaluate(items.slice(0, 1));
        return totals;
      },
      evaluate: async (items) => {
        const { program, letters } = await looking.get(this.#options.sequencesPerItem);
        const found = await this.#adapter.values(items, wantedBy(program.inputs), letters);
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
    const compiled = new Compiled<{ readonly values: ReturnType<BuildForward> }>(
      (graph) => ({ values: build(graph) }),
      this.#options,
    );
    const forward: Forward = {
      run: (items, under) =>
        remoteValues(compiled, items, {
          adapter: under === undefined ? this.#adapter : (under as RemoteFrozen).adapter,
          sequencesPerItem: this.#options.sequencesPerItem,
        }),
      close: async () => {
        this.#open.delete(forward);
        await compiled.close();
      },
    };
    this.#open.add(forward);
    return forward;
  }

  async frozen(others?: { readonly adapter?: string | undefined }): Promise<Frozen> {
    const parameters = await this.#adapter.parameters();
    if (others) await fillFrom(parameters, others.adapter, this.#options);
    const adapter = this.#holding();
    await adapter.put({ parameters: bytesOf(parameters) }, false);
    this.#open.add(adapter);
    const frozen: RemoteFrozen = { adapter };
    return frozen;
  }

  async update(): Promise<Update> {
    if (!this.#pending) throw new TrainerError("update: nothing was accumulated since the last one");
    const { betas, epsilon, weightDecay, maxGradNorm } = this.#options.optimizer;
    const learningRate = this.#learningRate(this.#step);
    const decay = { betas: [...betas] as [number, number], epsilon, weightDecay, maxGradNorm };
    const gradNorm = await this.#adapter.update({ learningRate, ...decay });
    this.#pending = false;
    this.requireFinite("the gradient's norm", gradNorm, this.#step + 1);
    this.#step++;
    return { step: this.#step, gradNorm, learningRate };
  }

  gradient(): undefined {
    return undefined;
  }

  async speaker(id: string): Promise<LanguageModel> {
    // Servers take factors only.
    const parameters = withoutHead(await this.#adapter.parameters());
    return this.#model.speak({ id, lora: this.#lora, parameters, baseModel: this.#model.id });
  }

  async save(folder: string, { head } = { head: true }): Promise<void> {
    const { id, config } = this.#model;
    const all = await this.#adapter.parameters();
    await saveAdapter(folder, {
      ...{ lora: this.#lora, parameters: head ? all : withoutHead(all), baseModel: id, config },
    });
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
    return this.#adapter.state(this.#step);
  }

  async restore(state: TrainerState): Promise<void> {
    const { size } = this.#parameters;
    if (state.parameters.byteLength !== 4 * size)
      throw new TrainerError(
        `the saved state has ${state.parameters.byteLength / 4} parameters, this trainer ${size}; it was made with another model or adapter`,
      );
    const data = new Float32Array(state.parameters.slice().buffer);
    this.#step = decodeAdamW(state.optimizer).step;
    this.#pending = false;
    const sum = data.reduce((all, value) => all + value * 0, 0);
    if (sum !== 0) this.requireFinite("a parameter", data.find((value) => !Number.isFinite(value))!);
    await this.#adapter.put(state, true);
  }

  async close(): Promise<void> {
    for (const one of [...this.#open]) await one.close();
    this.#open.clear();
    await this.#adapter.close();
  }

  #holding(): RemoteAdapter {
    const { microBatchTokens } = this.#options;
    return new RemoteAdapter(this.#share, { lora: this.#lora, shapes: this.#parameters, microBatchTokens });
  }
}
