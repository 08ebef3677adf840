import { compile, input, matmul, type Tensor } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import {
  adaptedProjection,
  attentionWindow,
  decoderLayer,
  type Projection,
  placeOf,
  weightShapes,
} from "../decoder/index.ts";

/** Rows of tokens that a layer is computed for at a time. */
const [batch, longest] = [8, 256];
/** Rows that are looked at, at most: what more of them would tell is little, and time and memory grow with them. */
const mostRows = 64;

export interface LayerInputsOptions {
  /** A weight by its Hugging Face name, row-major. */
  readonly weight: (name: string) => Promise<Float32Array>;
  /** Token ids of texts like those that the model will read and write. */
  readonly texts: readonly (readonly number[])[];
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface LayerInputs {
  readonly layer: number;
  /** The layer's weights by their Hugging Face names. */
  readonly weights: ReadonlyMap<string, Float32Array>;
  /** Σ x·xᵀ over tokens, [in, in], by the first of the projections that take the input x. */
  readonly moments: ReadonlyMap<Projection, Float32Array>;
}

/**
 * What goes into the projections of a model's layers, one layer after another: one layer's weights are in memory at a time, and the residual
 * stream of all tokens. Texts are cut at the ends of rows, and what fills no row, or more than 64, is left out; gives nothing where there is not one row.
 */
export async function* layerInputs(config: ModelConfig, options: LayerInputsOptions): AsyncGenerator<LayerInputs> {
  const { weight, texts, signal, threads } = options;
  const time = Math.min(longest, config.max_position_embeddings);
  const { rows, tokens, segments, positions } = packed(texts, time);
  if (rows === 0) return;
  const width = config.hidden_size;
  const table = await weight("model.embed_tokens.weight");
  const stream = new Float32Array(tokens.length * width);
  tokens.forEach((token, at) => {
    stream.set(table.subarray(token * width, (token + 1) * width), at * width);
  });
  const programs = new Map<string, LayerProgram>();
  try {
    for (let layer = 0; layer < config.num_hidden_layers; layer++) {
      const weights = new Map<string, Float32Array>();
      for (const name of Object.keys(layerShapes(config, layer))) weights.set(name, await weight(name));
      const moments = new Map<Projection, Float32Array>();
      for (let row = 0; row < rows; row += batch) {
        signal?.throwIfAborted();
        const count = Math.min(batch, rows - row);
        const key = `${attentionWindow(config, layer)} ${count}`;
        if (!programs.has(key))
          programs.set(
            key,
            await layerProgram(config, layer, { rows: count, time, ...(threads !== undefined && { threads }) }),
          );
        const part = <A extends Float32Array | Int32Array>(all: A, size: number) =>
          all.subarray(row * time * size, (row + count) * time * size) as A;
        const hidden = part(stream, width);
        const { stream: after, ...sums } = await programs.get(key)!.run({
          stream: hidden,
          segments: part(segments, 1),
          positions: part(positions, 1),
          ...Object.fromEntries([...weights].map(([name, values]) => [within(name), values])),
        });
        hidden.set(after!);
        for (const [name, sum] of Object.entries(sums) as [Projection, Float32Array][]) {
          const total = moments.get(name);
          if (total) for (let i = 0; i < sum.length; i++) total[i]! += sum[i]!;
          else moments.set(name, sum.slice());
        }
      }
      yield { layer, weights, moments };
    }
  } finally {
    for (const program of programs.values()) await program.dispose();
  }
}

/** Texts behind one another in rows of a length: which text each token is of, and where it stands there. */
function packed(texts: readonly (readonly number[])[], time: number) {
  const all = texts.flat();
  const rows = Math.min(mostRows, Math.floor(all.length / time));
  const tokens = Int32Array.from(all.slice(0, rows * time));
  const [segments, positions] = [new Int32Array(tokens.length), new Int32Array(tokens.length)];
  let at = 0;
  texts.forEach((text, segment) => {
    for (let i = 0; i < text.length && at < tokens.length; i++, at++) {
      // What a row cuts off goes on in the next as a text of its own.
      const begins = i === 0 || at % time === 0;
      segments[at] = segment;
      positions[at] = begins ? 0 : positions[at - 1]! + 1;
    }
  });
  return { rows, tokens, segments, positions };
}

/** Shapes of a layer's weights, by their Hugging Face names. */
function layerShapes(config: ModelConfig, layer: number): Record<string, readonly number[]> {
  const all = Object.entries(weightShapes(config));
  return Object.fromEntries(all.filter(([name]) => name.startsWith(`model.layers.${layer}.`)));
}

/** A weight's name within its layer. */
function within(name: string): string {
  return name.split(".").slice(3).join(".");
}

interface LayerProgram {
  dispose(): Promise<void>;
  run(feeds: Readonly<Record<string, Float32Array | Int32Array>>): Promise<Record<string, Float32Array>>;
}

/** A layer's graph with its weights as inputs, so that it serves all layers that see as far. */
async function layerProgram(
  config: ModelConfig,
  layer: number,
  { rows, time, ...options }: { readonly rows: number; readonly time: number; readonly threads?: number },
): Promise<LayerProgram> {
  const shapes: Record<string, readonly number[]> = {
    ...{ stream: [rows * time, config.hidden_size], segments: [rows, time], positions: [rows, time] },
    ...Object.fromEntries(Object.entries(layerShapes(config, layer)).map(([name, shape]) => [within(name), shape])),
  };
  const program = await compile(() => {
    const fed = Object.fromEntries(
      Object.entries(shapes).map(([name, shape]) => [
        name,
        input(name, name === "segments" || name === "positions" ? "int32" : "float32", shape),
      ]),
    );
    const weight = (name: string) => fed[within(name)]!;
    const plain = adaptedProjection(config, weight, undefined);
    const outputs: Record<string, Tensor> = {};
    const place = placeOf([rows, time], {
      ...{ config, weight, segments: fed.segments, positions: fed.positions, maxPositions: time },
      project(x, layer, names) {
        outputs[names[0]!] = matmul(x, x, { transA: true });
        return plain(x, layer, names);
      },
    });
    outputs.stream = decoderLayer(fed.stream!, layer, place);
    return outputs;
  }, options);
  return {
    dispose: () => program.dispose(),
    async run(feeds) {
      const given = Object.entries(feeds).map(([name, data]) => [name, { data, shape: shapes[name]! }] as const);
      const results = await program.run(Object.fromEntries(given));
      return Object.fromEntries(Object.entries(results).map(([name, { data }]) => [name, data as Float32Array]));
    },
  };
}
