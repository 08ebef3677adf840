import {
  type EngineClient,
  EngineError,
  EngineMemoryError,
  EngineRestartedError,
  type Request,
  type TensorOf,
} from "@tenet/engine";
import { adapterConfigJson, type LoraConfig } from "@tenet/lm";
import { decodeAdamW, encodeAdamW, ParameterSet } from "@tenet/tensor";
import { defaultMicroBatchTokens } from "./forward.ts";
import type { Item } from "./packing.ts";
import type { EngineValue } from "./remote-graph.ts";
import type { TrainerState } from "./trainer.ts";

/** What all adapters of one engine have in common. */
export interface EngineShare {
  readonly engine: EngineClient;
  /** Whether a micro-batch did not fit: they are then half as large as was asked for. */
  halved: boolean;
}

/** What an adapter is put with: its shape, and what it is computed in. */
export interface RemoteAdapterOptions {
  readonly lora: LoraConfig;
  /** Of its parameters, factors and scalar head. */
  readonly shapes: Pick<ParameterSet, "ranges" | "size">;
  readonly microBatchTokens?: number | undefined;
}

let count = 0;

/** An adapter that an engine holds under a name of its own. Errors of all calls: those of EngineClient. */
export class RemoteAdapter {
  readonly #share: EngineShare;
  readonly #options: RemoteAdapterOptions;
  readonly #name = `adapter-${process.pid}-${count++}`;
  #there = false;

  constructor(share: EngineShare, options: RemoteAdapterOptions) {
    this.#share = share;
    this.#options = options;
  }

  /** @param state parameters alone, or with the moments that training goes on from */
  async put(state: Pick<TrainerState, "parameters"> & Partial<TrainerState>, trainable: boolean): Promise<void> {
    const optimizer = state.optimizer && decodeAdamW(state.optimizer);
    const named = (prefix: string, values: Float32Array) =>
      this.#options.shapes.ranges.map(({ name, shape, start, end }) => [
        prefix + name,
        { shape, data: values.subarray(start, end) },
      ]);
    const moments =
      optimizer && optimizer.step > 0
        ? [...named("exp_avg/", optimizer.firstMoment), ...named("exp_avg_sq/", optimizer.secondMoment)]
        : [];
    const request = { name: this.#name, lora: loraOf(this.#options.lora), trainable, step: optimizer?.step ?? 0 };
    const factors = named("", floats(state.parameters));
    await this.#calling(() => this.#engine.call("put", request, Object.fromEntries([...factors, ...moments])));
    this.#there = true;
  }

  /** The parameters as they are now, in an own set. */
  async parameters(): Promise<ParameterSet> {
    const { ranges } = this.#options.shapes;
    const set = new ParameterSet(Object.fromEntries(ranges.map(({ name, shape }) => [name, shape])));
    set.data.set(this.#flat(await this.#get(false), ""));
    return set;
  }

  /** @param step updates done */
  async state(step: number): Promise<TrainerState> {
    const tensors = await this.#get(true);
    const [parameters, firstMoment, secondMoment] = ["", "exp_avg/", "exp_avg_sq/"].map((part) =>
      this.#flat(tensors, part),
    ) as [Float32Array<ArrayBuffer>, Float32Array, Float32Array];
    return {
      parameters: new Uint8Array(parameters.buffer),
      optimizer: encodeAdamW({ step, firstMoment, secondMoment }),
    };
  }

  /** What is wanted at the chosen places of some items, one after another. @param keep a `backward` of the same items follows */
  async values(items: readonly Item[], wanted: readonly EngineValue[], letters?: readonly number[], keep = false) {
    if (wanted.length === 0) return {};
    const request = { name: this.#name, wanted: [...wanted], ...this.#size(letters), ...(keep && { keep }) };
    return (await this.#calling(() => this.#engine.call("forward", request, sequencesOf(items)))).tensors;
  }

  /** Adds Σ cotangent · ∂value to the gradient. */
  async backward(
    items: readonly Item[],
    cotangents: Readonly<Record<string, TensorOf>>,
    letters?: readonly number[],
  ): Promise<void> {
    const named = Object.entries(cotangents).map(([key, value]) => [`cotangent/${key}`, value]);
    const request = { name: this.#name, ...this.#size(letters) };
    await this.#calling(() =>
      this.#engine.call("backward", request, { ...sequencesOf(items), ...Object.fromEntries(named) }),
    );
  }

  /** One step of AdamW; the gradient's norm before it was clipped. */
  async update(settings: Omit<Request<"update">, "name">): Promise<number> {
    const { tensors } = await this.#calling(() => this.#engine.call("update", { name: this.#name, ...settings }));
    return tensors.gradNorm!.data[0]!;
  }

  async close(): Promise<void> {
    if (!this.#there) return;
    this.#there = false;
    // An engine that is gone, or was started again, has it no more.
    await this.#engine.call("drop", { name: this.#name }).catch((error: unknown) => {
      if (!(error instanceof EngineError)) throw error;
    });
  }

  get #engine(): EngineClient {
    return this.#share.engine;
  }

  async #get(moments: boolean): Promise<Readonly<Record<string, TensorOf>>> {
    return (await this.#calling(() => this.#engine.call("get", { name: this.#name, moments }))).tensors;
  }

  #flat(tensors: Readonly<Record<string, TensorOf>>, prefix: string): Float32Array<ArrayBuffer> {
    const { ranges, size } = this.#options.shapes;
    const flat = new Float32Array(size);
    for (const { name, start } of ranges) flat.set(tensors[prefix + name]!.data, start);
    return flat;
  }

  #size(letters: readonly number[] | undefined) {
    const { microBatchTokens = defaultMicroBatchTokens } = this.#options;
    const tokens = this.#share.halved ? Math.max(1, Math.floor(microBatchTokens / 2)) : microBatchTokens;
    return { microBatchTokens: tokens, ...(letters && { letters: [...letters] }) };
  }

  /** A call; where a micro-batch does not fit, work goes on from its last checkpoint with half of it, once. */
  async #calling<T>(call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      if (!(error instanceof EngineMemoryError)) throw error;
      if (this.#share.halved)
        throw new EngineMemoryError(
          `${error.message}. It was halved already: set microBatchTokens lower, shard the base (engine.shard), or take workers with more memory`,
          { cause: error },
        );
      this.#share.halved = true;
      throw new EngineRestartedError(`${error.message}. microBatchTokens is halved`, { cause: error });
    }
  }
}

/** Bytes as the numbers that they are, whatever they lie in. */
function floats(bytes: Uint8Array): Float32Array {
  return new Float32Array(bytes.slice().buffer);
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
export function placesOf(items: readonly Item[], values: Float32Array): Float32Array[][] {
  let at = 0;
  return items.map(({ sequences }) =>
    sequences.map(({ chosen }) => {
      at += chosen.length;
      return values.slice(at - chosen.length, at);
    }),
  );
}
