import type { Adapter, LanguageModel } from "@tenet/lm";
import type { ParameterSet, ScheduleOptions, Tensor } from "@tenet/tensor";
import type { BuildForward, Forward, Frozen, LayoutOptions, TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import type { Item } from "./packing.ts";

/** A model that is trained elsewhere: its weights are not here, its text and its shape are. */
export interface RemoteModel extends TrainableModel {
  openTrainer(options: TrainerOptions): Promise<Trainer>;
  /** Values under parameters that nobody trains. */
  openForward(options: Omit<LayoutOptions, "model">, parameters: ParameterSet, build: BuildForward): Promise<Forward>;
  /** The model as it speaks under an adapter, or under none. */
  speak(adapter: (Adapter & { readonly id: string }) | undefined): Promise<LanguageModel>;
}

export interface TrainerOptions extends LayoutOptions {
  readonly optimizer: OptimizerOptions;
  /** Names the random start of the factors and of the scalar head. */
  readonly seed: number;
  /** Folder of an adapter to begin from, as an earlier stage left it; its rank, alpha and modules must be `tuning.lora`'s. */
  readonly from?: string | undefined;
  /** Compute activations anew in the backward pass: about a quarter of the memory, 1.25 × the time. Default false. */
  readonly checkpointing?: boolean | undefined;
}

export interface OptimizerOptions {
  readonly learningRate: number;
  /** What the learning rate is called among the stage's settings. Default "learningRate". */
  readonly learningRateSetting?: string;
  readonly schedule: ScheduleOptions["kind"];
  /** Steps over which the learning rate rises from 0. */
  readonly warmupSteps: number;
  /** Updates in all: where linear and cosine schedules reach 0. */
  readonly steps: number;
  readonly betas: readonly [number, number];
  readonly epsilon: number;
  readonly weightDecay: number;
  /** The gradient's norm is clipped to this; 0 leaves it. */
  readonly maxGradNorm: number;
}

/**
 * What a loss is for one micro-batch. It is summed over micro-batches, never averaged: let its weights carry the
 * normalisation (1/tokens of the whole batch), so that a batch computed in pieces has the gradient of the whole.
 */
export type BuildLoss = (graph: BatchGraph) => {
  readonly loss: Tensor;
  /** Scalars to report, summed over micro-batches likewise. */
  readonly metrics?: Readonly<Record<string, Tensor>>;
};

/** Loss and metrics, summed over the micro-batches of a step. */
export type Sums = { readonly loss: number } & Readonly<Record<string, number>>;

export interface Update {
  /** Updates done, this one included. */
  readonly step: number;
  /** Before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
}

/** A loss with its compiled programs, one for each row length that has occurred. */
export interface Objective {
  /** Adds the loss's gradient on some items to what the next `update` applies. Errors: DivergenceError. */
  accumulate(items: readonly Item[]): Promise<Sums>;
  /** The sums without a gradient. Errors: DivergenceError. */
  evaluate(items: readonly Item[]): Promise<Sums>;
  close(): Promise<void>;
}

export type { BuildForward, Forward, Frozen, PlaceValues, TrainableModel } from "./forward.ts";

/** All that the next step depends on, as bytes: of one number of parameters and one optimizer, wherever they are computed with. */
export type TrainerState = Readonly<Record<"parameters" | "optimizer", Uint8Array>>;

/** A saved state belongs to another trainer. */
export class TrainerError extends Error {
  override readonly name = "TrainerError";
}

/** What is trained on top of a frozen model, wherever it is computed: the one thing that algorithms know of it. */
export interface Trainer {
  /** Updates done. */
  readonly step: number;
  /** A loss that the parameters can be trained by. Programs are compiled when first needed. */
  objective(build: BuildLoss): Objective;
  /** Values at chosen places without a gradient: log-probabilities under this or a reference policy, scores, values. */
  forward(build: BuildForward): Forward;
  /**
   * The parameters as they are now, which `forward` computes under where it is told to, whatever is trained meanwhile; or others of the same
   * shape. Errors: TrainerError for an adapter of another shape.
   * @param others an adapter in a folder, or without one the base itself
   */
  frozen(others?: { readonly adapter?: string | undefined }): Promise<Frozen>;
  /**
   * Clips what was accumulated, and lets AdamW take one step at the schedule's learning rate.
   * Errors: DivergenceError when the gradient or a parameter is no finite number; TrainerError when nothing was accumulated.
   */
  update(): Promise<Update>;
  /** What was accumulated since the last update, as one flat vector that goes on changing; nothing where it is not in this process. */
  gradient(): Readonly<Float32Array> | undefined;
  /** The model as it speaks under the parameters of now, until the next update. @param id names them */
  speaker(id: string): Promise<LanguageModel>;
  /**
   * Saves factors and scalar head in PEFT's format.
   * @param parts `head: false` leaves the head out: of a policy it is of use while it is trained only
   */
  save(folder: string, parts?: { readonly head: boolean }): Promise<void>;
  /** Saves all weights, where all were trained. Errors: TrainerError where they were not. */
  saveWeights(folder: string): Promise<void>;
  /**
   * Makes sure that the loss is still finite where training stands, before a checkpoint, so that all that are kept can be gone on from.
   * Errors: DivergenceError.
   */
  verify(): Promise<void>;
  /** @throws DivergenceError naming what it was that is no finite number, the step (the last one taken), and what to lower */
  requireFinite(what: string, value: number, step?: number): void;
  /** Everything that the next step depends on. Only between updates. */
  state(): Promise<TrainerState>;
  /** Continues from such a state. Errors: TrainerError when it is of another number of parameters, DivergenceError when they are not finite. */
  restore(state: TrainerState): Promise<void>;
  /** Frees what it holds; the model stays open. */
  close(): Promise<void>;
}
