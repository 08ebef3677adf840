import type { Feeds, TensorData } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import { cacheShape, type Fresh, KeyValueCache } from "./cache.ts";
import type { GenerationGraph } from "./graph.ts";

/** New tokens at most in one call: bounds the memory of activations. */
export const tokensPerCall = 512;

/** Takes from the front what fits one call together; the first always does. Gives what was taken and its tokens. */
export function takeCall<T>(waiting: T[], tokensOf: (item: T) => number): { batch: T[]; size: number } {
  const batch: T[] = [];
  let size = 0;
  while (waiting.length > 0) {
    const length = tokensOf(waiting[0]!);
    if (batch.length > 0 && size + length > tokensPerCall) break;
    batch.push(waiting.shift()!);
    size += length;
  }
  return { batch, size };
}

/** Positions that were computed once and are the beginning of several texts: one row of keys and values. */
export interface Prefix {
  readonly tokens: readonly number[];
  readonly cache: KeyValueCache;
}

/** A stretch of new tokens in a packed row. */
export interface Stretch {
  readonly tokens: readonly number[];
  /** Position of its first token. */
  readonly position: number;
  /** The stretch it continues, by index in the row; none when it continues the prefix. */
  readonly trunk?: number;
  /** Which of its tokens' next-token logits are wanted, by index. */
  readonly chosen: readonly number[];
}

export interface Packed {
  readonly fresh: Fresh;
  /** Where each stretch begins in the row. */
  readonly starts: readonly number[];
  /** Logits of each stretch's chosen tokens. */
  readonly logits: readonly (readonly Float32Array[])[];
}

/** One sample's next tokens in a decoding call: the last token drawn, and guesses behind it. */
export type DecodeRow = readonly number[];

export interface Decoded {
  readonly fresh: Fresh;
  /** Per row, the logits behind each of its tokens. */
  readonly logits: readonly (readonly Float32Array[])[];
}

/** The graph under one adapter (or none), called with rows of tokens. Holds no state but a cache of prefixes. */
export class Engine {
  readonly config: ModelConfig;
  readonly #graph: GenerationGraph;
  readonly #adapter: Feeds;

  constructor(config: ModelConfig, graph: GenerationGraph, adapter: Feeds) {
    this.config = config;
    this.#graph = graph;
    this.#adapter = adapter;
  }

  /** A cache of some rows for this model. */
  cache(rows: number): KeyValueCache {
    return new KeyValueCache(cacheShape(this.config), rows);
  }

  /** Computes a text's positions, in calls of bounded size. `base` may be an earlier beginning of it. */
  async prefix(tokens: readonly number[], base?: Prefix): Promise<Prefix> {
    const cache = this.cache(1);
    const done = base ? base.tokens.length : 0;
    cache.reserve(tokens.length);
    if (base) cache.copy(0, base.cache, 0);
    for (let start = done; start < tokens.length; start += tokensPerCall) {
      const piece = tokens.slice(start, start + tokensPerCall);
      const { fresh } = await this.packed([{ tokens: piece, position: start, chosen: [] }], { tokens, cache });
      cache.append(0, fresh, 0, 0, piece.length);
    }
    return { tokens, cache };
  }

  /** Runs stretches side by side in one row behind a prefix; stretches see the prefix, their trunk and themselves. */
  async packed(stretches: readonly Stretch[], prefix?: Prefix): Promise<Packed> {
    const time = stretches.reduce((sum, { tokens }) => sum + tokens.length, 0);
    const row = emptyRow(time);
    const starts: number[] = [];
    const chosen: number[] = [];
    let at = 0;
    stretches.forEach(({ tokens, position, trunk, chosen: wanted }, index) => {
      starts.push(at);
      for (const offset of wanted) chosen.push(at + offset);
      tokens.forEach((token, i) => {
        row.tokens[at] = token;
        row.positions[at] = position + i;
        row.segments[at] = index;
        row.trunks[at] = trunk ?? index;
        at++;
      });
    });
    const cache = prefix?.cache ?? this.#nothing();
    const { fresh, logits } = await this.#call(row, 1, time, chosen, cache, 1);
    let next = 0;
    return { fresh, starts, logits: stretches.map(({ chosen: wanted }) => wanted.map(() => logits[next++]!)) };
  }

  /** One decoding step: row i of the cache is followed by the tokens of `rows[i]`. Nothing is appended to the cache. */
  async decode(rows: readonly DecodeRow[], cache: KeyValueCache): Promise<Decoded> {
    const time = Math.max(...rows.map((tokens) => tokens.length));
    const all = emptyRow(rows.length * time);
    const chosen: number[] = [];
    rows.forEach((tokens, row) => {
      for (let i = 0; i < time; i++) {
        const at = row * time + i;
        // A short row is filled up behind its end, where no token that counts looks.
        all.tokens[at] = tokens[i] ?? 0;
        all.positions[at] = Math.min(cache.lengths[row]! + i, this.config.max_position_embeddings - 1);
        if (i < tokens.length) chosen.push(at);
      }
    });
    const { fresh, logits } = await this.#call(all, rows.length, time, chosen, cache, rows.length);
    let next = 0;
    return { fresh, logits: rows.map((tokens) => tokens.map(() => logits[next++]!)) };
  }

  async #call(
    row: Row,
    rows: number,
    time: number,
    chosen: readonly number[],
    cache: KeyValueCache,
    cacheRows: number,
  ) {
    const shape = [rows, time];
    const fed = (data: Int32Array): TensorData => ({ data, shape });
    const { cached, ...arrays } = cache.feeds(cacheRows);
    const out = await this.#graph.run({
      ...this.#adapter,
      ...arrays,
      tokens: fed(row.tokens),
      positions: fed(row.positions),
      segments: fed(row.segments),
      trunks: fed(row.trunks),
      cached: { data: cached as Int32Array, shape: [rows] },
      chosen: { data: Int32Array.from(chosen), shape: [chosen.length] },
    });
    const vocabulary = out.logits.shape[1]!;
    const data = out.logits.data as Float32Array;
    return {
      fresh: { data: out.fresh.data as Float32Array, rows, time },
      logits: chosen.map((_, i) => data.subarray(i * vocabulary, (i + 1) * vocabulary)),
    };
  }

  /** A cache that holds nothing: one masked position, because an empty axis is more than some kernels take. */
  #nothing(): KeyValueCache {
    const cache = this.cache(1);
    cache.reserve(1);
    return cache;
  }
}

interface Row {
  readonly tokens: Int32Array;
  readonly positions: Int32Array;
  readonly segments: Int32Array;
  readonly trunks: Int32Array;
}

function emptyRow(length: number): Row {
  return {
    tokens: new Int32Array(length),
    positions: new Int32Array(length),
    segments: new Int32Array(length),
    trunks: new Int32Array(length),
  };
}
