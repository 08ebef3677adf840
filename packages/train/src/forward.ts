import { attentionWindow, type LocalModel, type ModelConfig, type TextCodec } from "@tenet/lm";
import type { CompileOptions, DeviceName, Feeds, Outputs, ParameterSet, Program, Tensor } from "@tenet/tensor";
import { type BatchGraph, batchFeeds, batchGraph, type Tuning } from "./graph.ts";
import { extentsOf, type Item, type PackedBatch, type PackOptions, pack, rowTimes } from "./packing.ts";
import { Programs } from "./programs.ts";

/** Places of a micro-batch where nothing else is said: about 4 GB at the size of SmolLM2-135M. */
export const defaultMicroBatchTokens = 1024;

/** What a training needs of a model, whoever computes with its weights. */
export interface TrainableModel {
  readonly id: string;
  readonly config: ModelConfig;
  readonly text: TextCodec;
  /** `LocalModel.trainedOn`; without it float32, or what an engine says itself. */
  readonly trainedOn?: LocalModel["trainedOn"];
}

/** How items of a job are laid out and computed. */
export interface LayoutOptions {
  /** The frozen base. Several trainers may share one: its weights are mapped once. */
  readonly model: TrainableModel;
  /** What is trained. */
  readonly tuning: Tuning;
  /** Lengths that rows may have; chosen for `expected` when not given. */
  readonly times?: readonly number[] | undefined;
  /**
   * Batches to come, each packed on its own, as far as their sequences' tokens are known; longer ones than these do not fit.
   * Without it and `times`, row lengths are chosen for every list of items anew, in steps of 64.
   */
  readonly expected?: readonly (readonly Item[])[] | undefined;
  /** Places of a micro-batch: bounds the memory of activations. */
  readonly microBatchTokens?: number | undefined;
  /** Sequences of each item, 2 for pairs. Default 1. */
  readonly sequencesPerItem?: number | undefined;
  /**
   * Whether items of one sequence each stand behind what several of them begin with, computed once: replies to one prompt. The same but
   * for rounding. The sequences of one item do so without this. Default false.
   */
  readonly shareBeginnings?: boolean | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

/** What is computed for each chosen place without a gradient, by name. Each [n]. */
export type BuildForward = (graph: BatchGraph) => Readonly<Record<string, Tensor>>;

/** Values at chosen places: per item, per sequence, one number a chosen place. */
export type PlaceValues = readonly (readonly Float32Array[])[];

/** Parameters of a trainer as they once were: a reference policy. Only the trainer that made them knows what they are. */
// biome-ignore lint/suspicious/noEmptyInterface: what it holds is its maker's
export interface Frozen {}

export interface Forward {
  /** Computes the values for some items. @param under parameters of before, in place of those of now */
  run(items: readonly Item[], under?: Frozen): Promise<Readonly<Record<string, PlaceValues>>>;
  close(): Promise<void>;
}

/** As `Forward`, under any parameters of the same shapes. */
interface ForwardPass {
  run(items: readonly Item[], parameters?: ParameterSet): Promise<Readonly<Record<string, PlaceValues>>>;
  close(): Promise<void>;
}

/** Whether what begins alike can be laid out once. Layers that look back over a window count places of a row, which then are not positions. */
function canShare({ config }: Pick<LocalModel, "config">): boolean {
  const windows = Array.from({ length: config.num_hidden_layers }, (_, layer) => attentionWindow(config, layer));
  return windows.every((window) => window === null);
}

/** Packs items into micro-batches and feeds them to programs. */
export class Layout {
  readonly options: LayoutOptions & { readonly model: LocalModel };
  readonly #packing: Omit<PackOptions, "times">;
  readonly #times: readonly number[] | undefined;

  constructor(options: Layout["options"]) {
    this.options = options;
    const tokens = options.microBatchTokens ?? defaultMicroBatchTokens;
    // Parts of the output head: about 256 places each.
    const multiple = Math.max(1, Math.ceil(tokens / 256));
    const { sequencesPerItem = 1, shareBeginnings = false } = options;
    const can = canShare(options.model);
    this.#packing = {
      ...{ tokens, multiple, shareBeginnings: can && sequencesPerItem > 1 },
      families: can && shareBeginnings && sequencesPerItem === 1,
    };
    const { expected, times = expected && this.#timesFor(expected) } = options;
    this.#times = times;
  }

  pack(items: readonly Item[]): PackedBatch[] {
    return pack(items, { ...this.#packing, times: this.#times ?? this.#timesFor([items], 64) });
  }

  graph(time: number, parameters: ParameterSet, mode: { gradient: boolean; checkpointing?: boolean | undefined }) {
    const { model, tuning, sequencesPerItem = 1 } = this.options;
    const { tensors } = parameters;
    const { multiple: chunks, families } = this.#packing;
    const shareBeginnings = families || this.#packing.shareBeginnings;
    return batchGraph({
      ...{ model, tuning, parameters: tensors, time, chunks, sequencesPerItem, shareBeginnings, ...mode },
    });
  }

  /** How programs of these graphs are compiled. */
  get compiling(): CompileOptions {
    const { device, threads, model } = this.options;
    return {
      ...(device === undefined ? {} : { device }),
      ...(threads === undefined ? {} : { threads }),
      graphCache: model.graphCache,
    };
  }

  #timesFor(batches: readonly (readonly Item[])[], step?: number): number[] {
    const extents = batches.map((items) => extentsOf(items, this.#packing));
    return rowTimes(extents, { tokens: this.#packing.tokens, step });
  }

  /** What a program takes of a batch and of the parameters: a loss need not use all of them. */
  feeds(program: Pick<Program<Outputs>, "inputs">, batch: PackedBatch, parameters: ParameterSet): Feeds {
    const all: Feeds = { ...batchFeeds(batch, this.#packing.multiple), ...parameters.feeds() };
    return Object.fromEntries(program.inputs.flatMap(({ name }) => (all[name] ? [[name, all[name]]] : [])));
  }
}

/** Values at chosen places under some parameters, without a gradient. Programs are compiled when first needed. */
export function forwardPass(layout: Layout, parameters: ParameterSet, build: BuildForward): ForwardPass {
  const programs = new Programs(
    (time) => ({ values: build(layout.graph(time, parameters, { gradient: false })) }),
    layout.compiling,
  );
  return {
    async run(items, others = parameters) {
      const found: Record<string, Float32Array[][]> = {};
      for (const batch of layout.pack(items)) {
        const { values } = await programs.with(batch.time, (program) =>
          program.run(layout.feeds(program, batch, others)),
        );
        for (const [name, { data }] of Object.entries(values)) {
          found[name] ??= items.map(() => []);
          spread(batch, data as Float32Array, found[name]);
        }
      }
      return found;
    },
    close: () => programs.close(),
  };
}

/** Cuts an output over chosen places into sequences, and puts them where their items stand in the list. */
function spread({ items, lengths }: PackedBatch, values: Float32Array, into: Float32Array[][]): void {
  const perItem = lengths.length / items.length;
  let at = 0;
  lengths.forEach((length, owner) => {
    into[items[Math.floor(owner / perItem)]!]!.push(values.slice(at, at + length));
    at += length;
  });
}
