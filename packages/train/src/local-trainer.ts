import {
  type Adapter,
  adapterFactors,
  initialiseAdapter,
  type LanguageModel,
  type LocalAdapter,
  type LocalModel,
  type LoraConfig,
  loadAdapter,
  loraModules,
  mergeAdapter,
  openCheckpoint,
  projections,
  resolveModel,
  SCORE_WEIGHT,
  saveAdapter,
} from "@tenet/lm";
import {
  AdamW,
  clipByGlobalNorm,
  compile,
  decodeAdamW,
  encodeAdamW,
  ParameterSet,
  schedule,
  type TensorData,
} from "@tenet/tensor";
import { requireFinite } from "./divergence.ts";
import {
  type BuildForward,
  defaultMicroBatchTokens,
  type Forward,
  type Frozen,
  forwardPass,
  Layout,
  type TrainableModel,
} from "./forward.ts";
import type { Tuning } from "./graph.ts";
import { fittingTokens, tunedShapes } from "./memory.ts";
import type { Item, PackedBatch } from "./packing.ts";
import { Programs } from "./programs.ts";
import {
  type BuildLoss,
  type Objective,
  type Sums,
  type Trainer,
  TrainerError,
  type TrainerOptions,
  type TrainerState,
  type Update,
} from "./trainer.ts";

/** A trainer's options, of a model that is here. */
export type LocalTrainerOptions = TrainerOptions & { readonly model: LocalModel };

/** Opens a trainer that computes in this process. Errors: those of `openTrainer`. */
export async function openLocalTrainer(options: LocalTrainerOptions): Promise<LocalTrainer> {
  const { model, tuning } = options;
  const bounded = { ...options, ...boundedTokens(options) };
  const parameters = await startingParameters(options);
  if (!tuning.lora) await copyWeights(model, parameters);
  return new LocalTrainer(bounded, parameters);
}

/** Fewer places of a micro-batch, where the model has a memory budget that those of the settings would not keep. Errors: TrainerError. */
function boundedTokens(options: LocalTrainerOptions): Pick<LocalTrainerOptions, "microBatchTokens"> {
  const { model, tuning, sequencesPerItem, shareBeginnings, checkpointing, times, expected } = options;
  const { microBatchTokens: tokens = defaultMicroBatchTokens } = options;
  if (model.memoryBudget === undefined) return {};
  const sequences = (expected ?? []).flat().flatMap((item) => item.sequences);
  const longest = sequences.reduce((most, sequence) => Math.max(most, sequence.tokens.length), times?.at(0) ?? 1);
  const shape = { model, tuning, tokens, sequencesPerItem, shareBeginnings, checkpointing };
  return { microBatchTokens: fittingTokens(shape, model.memoryBudget, longest) };
}

/** Factors and scalar head as training starts from them: random by the seed, or an earlier stage's. Errors: TrainerError. */
export async function startingParameters({ model, tuning, seed, from }: TrainerOptions): Promise<ParameterSet> {
  const parameters = new ParameterSet(tunedShapes(model, tuning));
  initialiseAdapter(parameters, { seed });
  if (from !== undefined) copyAdapter(await loadAdapter(from, model.config), parameters, tuning.lora, model, from);
  return parameters;
}

/** Parameters in this process's memory, and programs of the model's graph. */
export class LocalTrainer implements Trainer {
  readonly model: LocalModel;
  readonly tuning: Tuning;
  /** What is trained, as one flat vector; shared with every adapter view. */
  readonly parameters: ParameterSet;
  readonly #options: LocalTrainerOptions;
  readonly #layout: Layout;
  readonly #optimizer: AdamW;
  readonly #learningRate: (step: number) => number;
  readonly #gradient: Float32Array;
  readonly #open = new Set<{ close(): Promise<void> }>();
  #step = 0;
  /** Whether `#gradient` holds anything. */
  #pending = false;
  /** The loss that was last learned from, on one of its items. */
  #probe: (() => Promise<number>) | undefined;

  constructor(options: LocalTrainerOptions, parameters: ParameterSet) {
    this.model = options.model;
    this.tuning = options.tuning;
    this.parameters = parameters;
    this.#options = options;
    this.#layout = new Layout(options);
    const { learningRate, betas, epsilon, weightDecay, schedule: kind, warmupSteps, steps } = options.optimizer;
    this.#optimizer = new AdamW(parameters, { learningRate, betas, epsilon, weightDecay });
    this.#learningRate = schedule({ kind, peak: learningRate, warmup: Math.min(warmupSteps, steps), steps });
    this.#gradient = new Float32Array(parameters.size);
  }

  /** Updates done. */
  get step(): number {
    return this.#step;
  }

  /** Micro-batches of some items, as this trainer computes them. */
  pack(items: readonly Item[]): PackedBatch[] {
    return this.#layout.pack(items);
  }

  /** A loss that this trainer's parameters can be trained by. Programs are compiled when first needed. */
  objective(build: BuildLoss): Objective {
    const { checkpointing } = this.#options;
    const training = new Programs((time) => {
      const { loss, metrics = {} } = build(
        this.#layout.graph(time, this.parameters, { gradient: true, checkpointing }),
      );
      return { sums: { loss, ...metrics }, gradient: this.parameters.gradient(loss) };
    }, this.#layout.compiling);
    const forward = new Programs((time) => {
      const { loss, metrics = {} } = build(this.#layout.graph(time, this.parameters, { gradient: false }));
      return { sums: { loss, ...metrics } };
    }, this.#layout.compiling);
    const learn = (batch: PackedBatch) =>
      training.with(batch.time, (program) => program.run(this.#layout.feeds(program, batch, this.parameters)));
    const objective: Objective = {
      accumulate: async (items) => {
        const totals: Record<string, number> = {};
        for (const batch of this.pack(items)) {
          const { sums, gradient } = await learn(batch);
          addTo(totals, sums);
          const added = gradient.data as Float32Array;
          const total = this.#gradient;
          for (let i = 0; i < total.length; i++) total[i]! += added[i]!;
          this.#pending = true;
        }
        this.requireFinite("the loss", totals.loss!, this.#step + 1);
        this.#probe = async () => {
          const [batch] = this.pack(items.slice(0, 1));
          const { sums } = await learn(batch!);
          return sums.loss!.data[0]!;
        };
        return totals as Sums;
      },
      evaluate: async (items) => {
        const totals: Record<string, number> = {};
        for (const batch of this.pack(items)) {
          const { sums } = await forward.with(batch.time, (program) =>
            program.run(this.#layout.feeds(program, batch, this.parameters)),
          );
          addTo(totals, sums);
        }
        this.requireFinite("the loss in evaluation", totals.loss!);
        return totals as Sums;
      },
      close: async () => {
        this.#open.delete(objective);
        this.#probe = undefined;
        await training.close();
        await forward.close();
      },
    };
    this.#open.add(objective);
    return objective;
  }

  /** Values at chosen places without a gradient: log-probabilities under this or a reference policy, scores, values. */
  forward(build: BuildForward): Forward {
    const pass = forwardPass(this.#layout, this.parameters, build);
    const forward: Forward = {
      run: (items, under) => pass.run(items, this.#of(under)),
      close: async () => {
        this.#open.delete(forward);
        await pass.close();
      },
    };
    this.#open.add(forward);
    return forward;
  }

  /**
   * Clips what was accumulated, and lets AdamW take one step at the schedule's learning rate.
   * @throws DivergenceError when the gradient or a parameter is no finite number
   */
  async update(): Promise<Update> {
    if (!this.#pending) throw new TrainerError("update: nothing was accumulated since the last one");
    const { maxGradNorm } = this.#options.optimizer;
    const gradNorm = clipByGlobalNorm(this.#gradient, maxGradNorm > 0 ? maxGradNorm : Number.POSITIVE_INFINITY);
    this.requireFinite("the gradient's norm", gradNorm, this.#step + 1);
    const learningRate = this.#learningRate(this.#step);
    this.#optimizer.step(this.#gradient, learningRate);
    this.#gradient.fill(0);
    this.#pending = false;
    this.#step++;
    this.#requireFiniteParameters();
    return { step: this.#step, gradNorm, learningRate };
  }

  gradient(): Readonly<Float32Array> {
    return this.#gradient;
  }

  async frozen(others?: { readonly adapter?: string | undefined }): Promise<FrozenParameters> {
    const parameters = copyOf(this.parameters);
    if (others) await fillFrom(parameters, others.adapter, this.#options);
    return new FrozenParameters(this, parameters);
  }

  speaker(id: string): Promise<LanguageModel> {
    return this.model.withAdapter(this.adapter(id));
  }

  /** The factors as they are now and will be: a local model under this view speaks with what training has reached. */
  adapter(id: string): LocalAdapter {
    return { id, ...adapterFactors({ lora: this.#lora("adapter"), parameters: this.parameters }) };
  }

  async save(folder: string, { head } = { head: true }): Promise<void> {
    const { model } = this;
    const parameters = head ? this.parameters : withoutHead(this.parameters);
    await saveAdapter(folder, { lora: this.#lora("save"), parameters, baseModel: model.id, config: model.config });
  }

  /**
   * Saves all weights, where all were trained, as a Hugging Face folder with the base's tokenizer and chat template.
   * The folder must be new or empty; it appears whole.
   */
  async saveWeights(folder: string): Promise<void> {
    if (this.tuning.lora) throw new TrainerError("saveWeights: factors are trained here, not weights; use save");
    const checkpoint = await openCheckpoint(await resolveModel(this.model.id));
    const read = async (name: string) => this.parameters.view(name);
    // An adapter of nothing: what is merged is the trained weights as they are.
    const nothing: Adapter = {
      lora: { rank: 1, alpha: 1, targets: [] },
      parameters: new ParameterSet({}),
      baseModel: undefined,
    };
    try {
      await mergeAdapter({ ...checkpoint, read }, nothing, folder, { dtype: "F32" });
    } finally {
      await checkpoint.close();
    }
  }

  /**
   * Makes sure that the loss is still finite where training stands, on an item of the last batch: parameters can be finite and
   * too large to compute with. Before a checkpoint, so that all that are kept can be gone on from. Errors: DivergenceError.
   */
  async verify(): Promise<void> {
    if (this.#probe) this.requireFinite("the loss behind it", await this.#probe());
  }

  requireFinite(what: string, value: number, step = this.#step): void {
    const { optimizer } = this.#options;
    requireFinite(what, value, { step, done: this.#step, optimizer, lora: this.tuning.lora });
  }

  #requireFiniteParameters(): void {
    const { data } = this.parameters;
    // x · 0 is 0 for every finite number and NaN for the others.
    let sum = 0;
    for (let i = 0; i < data.length; i++) sum += data[i]! * 0;
    if (sum !== 0) this.requireFinite("a parameter", data.find((x) => !Number.isFinite(x))!);
  }

  /** Everything that the next step depends on, as bytes for a checkpoint. Only between updates. */
  async state(): Promise<TrainerState> {
    if (this.#pending) throw new TrainerError("state: gradients are accumulated; call update() first");
    const { data } = this.parameters;
    const parameters = new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice();
    return { parameters, optimizer: encodeAdamW(this.#optimizer.state()) };
  }

  /**
   * Continues from such a state, bit by bit.
   * @throws TrainerError when it is of another number of parameters, DivergenceError when they are not finite
   */
  async restore(state: TrainerState): Promise<void> {
    const { data } = this.parameters;
    if (state.parameters.byteLength !== data.byteLength)
      throw new TrainerError(
        `the saved state has ${state.parameters.byteLength / 4} parameters, this trainer ${data.length}; it was made with another model or adapter`,
      );
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength).set(state.parameters);
    const optimizer = decodeAdamW(state.optimizer);
    this.#optimizer.restore(optimizer);
    this.#step = optimizer.step;
    this.#gradient.fill(0);
    this.#pending = false;
    this.#requireFiniteParameters();
  }

  /** Frees the programs; the model stays open. */
  async close(): Promise<void> {
    for (const one of [...this.#open]) await one.close();
  }

  /** The parameters of a copy. */
  #of(frozen: Frozen | undefined): ParameterSet {
    if (frozen === undefined) return this.parameters;
    if (!(frozen instanceof FrozenParameters) || frozen.of !== this)
      throw new TrainerError("forward: the frozen parameters are another trainer's");
    return frozen.parameters;
  }

  #lora(what: string): LoraConfig {
    const { lora } = this.tuning;
    if (!lora) throw new TrainerError(`${what}: all weights are trained here, there are no factors; use saveWeights`);
    return lora;
  }
}

/** A copy of a local trainer's parameters. */
class FrozenParameters implements Frozen {
  readonly of: LocalTrainer;
  readonly parameters: ParameterSet;

  constructor(of: LocalTrainer, parameters: ParameterSet) {
    this.of = of;
    this.parameters = parameters;
  }
}

/** Makes parameters those of an adapter in a folder, or the base's own: factors of zero. Errors: TrainerError for another shape. */
export async function fillFrom(
  parameters: ParameterSet,
  adapter: string | undefined,
  { model, tuning }: Pick<TrainerOptions, "model" | "tuning">,
): Promise<void> {
  parameters.data.fill(0);
  if (adapter !== undefined)
    copyAdapter(await loadAdapter(adapter, model.config), parameters, tuning.lora, model, adapter);
}

/** Values of parameters now, in a set that nothing trains. */
export function copyOf({ ranges, data }: ParameterSet): ParameterSet {
  const copy = new ParameterSet(Object.fromEntries(ranges.map(({ name, shape }) => [name, shape])));
  copy.data.set(data);
  return copy;
}

/** The same of an adapter's factors alone. */
export function withoutHead(parameters: ParameterSet): ParameterSet {
  const factors = parameters.ranges.filter(({ name }) => name !== SCORE_WEIGHT);
  const copy = new ParameterSet(Object.fromEntries(factors.map(({ name, shape }) => [name, shape])));
  for (const { name } of factors) copy.view(name).set(parameters.view(name));
  return copy;
}

/** An earlier stage's factors as the start; its scalar head too where both have one. */
function copyAdapter(
  { lora: found, parameters }: Adapter,
  target: ParameterSet,
  wanted: LoraConfig | undefined,
  { config }: TrainableModel,
  folder: string,
): void {
  if (!wanted) throw new TrainerError(`${folder} is an adapter, but all weights are to be trained: merge it first`);
  const describe = ({ rank, alpha, targets, modules, rslora }: LoraConfig) => {
    const where = modules
      ? "some modules with ranks or alphas of their own"
      : [...(targets ?? projections)].sort().join(" ");
    return `rank ${rank}, alpha ${alpha}${rslora ? " (rank-stabilised)" : ""}, ${where}`;
  };
  const [theirs, ours] = [loraModules(config, found), loraModules(config, wanted)];
  const same = [...ours].every(([path, { rank, scale }]) => {
    const other = theirs.get(path);
    return other?.rank === rank && other.scale === scale;
  });
  if (!same || theirs.size !== ours.size)
    throw new TrainerError(
      `the adapter in ${folder} has ${describe(found)}; training is set to ${describe(wanted)}. Give both stages the same lora settings.`,
    );
  for (const { name } of target.ranges)
    if (parameters.ranges.some((range) => range.name === name)) target.view(name).set(parameters.view(name));
}

/** The model's own weights as the start of full training. */
async function copyWeights(model: LocalModel, target: ParameterSet): Promise<void> {
  for (const { name } of target.ranges) {
    if (name === SCORE_WEIGHT) continue;
    const program = await compile(() => ({ values: model.weight(name) }));
    const { values } = await program.run();
    target.view(name).set(values.data as Float32Array);
    await program.dispose();
  }
}

function addTo(totals: Record<string, number>, sums: Readonly<Record<string, TensorData>>): void {
  for (const [name, { data }] of Object.entries(sums)) totals[name] = (totals[name] ?? 0) + data[0]!;
}
