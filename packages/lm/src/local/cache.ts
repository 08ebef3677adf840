import type { Feeds } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";

/** Sizes of a model's keys and values. */
export interface CacheShape {
  readonly layers: number;
  readonly kvHeads: number;
  readonly headDim: number;
}

export function cacheShape(config: ModelConfig): CacheShape {
  return {
    layers: config.num_hidden_layers,
    kvHeads: config.num_key_value_heads,
    headDim: config.head_dim,
  };
}

/** Bytes that one position of one row takes. */
export function bytesPerPosition({ layers, kvHeads, headDim }: CacheShape): number {
  return 2 * layers * kvHeads * headDim * 4;
}

/** Keys and values of new tokens as the graph gives them: [2 · layers, rows, kvHeads, time, headDim]. */
export interface Fresh {
  readonly data: Float32Array;
  readonly rows: number;
  readonly time: number;
}

/** Positions are made room for in steps of this many: rows grow rarely and their shapes recur. */
const step = 64;

/**
 * Keys and values of several rows, in arrays of the program: per layer [rows, kvHeads, capacity, headDim], so that the
 * first n rows are one piece that a graph can be fed without a copy.
 */
export class KeyValueCache {
  readonly shape: CacheShape;
  readonly rows: number;
  /** Positions each row holds. */
  readonly lengths: Int32Array;
  #capacity = 0;
  /** Keys of layer 0, values of layer 0, keys of layer 1, … */
  #arrays: Float32Array<ArrayBuffer>[];

  constructor(shape: CacheShape, rows: number) {
    this.shape = shape;
    this.rows = rows;
    this.lengths = new Int32Array(rows);
    this.#arrays = Array.from({ length: 2 * shape.layers }, () => new Float32Array(0));
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Makes room for `positions` in every row. */
  reserve(positions: number): void {
    if (positions <= this.#capacity) return;
    const capacity = Math.ceil(positions / step) * step;
    const { kvHeads, headDim } = this.shape;
    this.#arrays = this.#arrays.map((old) => {
      const wide = new Float32Array(this.rows * kvHeads * capacity * headDim);
      for (let row = 0; row < this.rows; row++)
        for (let head = 0; head < kvHeads; head++) {
          const from = (row * kvHeads + head) * this.#capacity * headDim;
          const run = old.subarray(from, from + this.lengths[row]! * headDim);
          wide.set(run, (row * kvHeads + head) * capacity * headDim);
        }
      return wide;
    });
    this.#capacity = capacity;
  }

  /** Appends new positions `start` … `end` − 1 of row `source` of what a graph gave to a row. */
  append(row: number, fresh: Fresh, source: number, start: number, end: number): void {
    const { kvHeads, headDim } = this.shape;
    const at = this.lengths[row]!;
    this.reserve(at + end - start);
    this.#arrays.forEach((array, part) => {
      for (let head = 0; head < kvHeads; head++) {
        const from = (((part * fresh.rows + source) * kvHeads + head) * fresh.time + start) * headDim;
        const to = ((row * kvHeads + head) * this.#capacity + at) * headDim;
        array.set(fresh.data.subarray(from, from + (end - start) * headDim), to);
      }
    });
    this.lengths[row] = at + end - start;
  }

  /** Makes a row equal to a row of another cache (or of this one). */
  copy(row: number, from: KeyValueCache, source: number): void {
    const { kvHeads, headDim } = this.shape;
    const length = from.lengths[source]!;
    this.reserve(length);
    this.#arrays.forEach((array, part) => {
      const other = from.#arrays[part]!;
      for (let head = 0; head < kvHeads; head++) {
        const start = (source * kvHeads + head) * from.#capacity * headDim;
        const to = (row * kvHeads + head) * this.#capacity * headDim;
        array.set(other.subarray(start, start + length * headDim), to);
      }
    });
    this.lengths[row] = length;
  }

  clear(row: number): void {
    this.lengths[row] = 0;
  }

  /** Feeds of the first `rows` rows. */
  feeds(rows: number): Feeds {
    const { kvHeads, headDim } = this.shape;
    const shape = [rows, kvHeads, this.#capacity, headDim];
    const piece = rows * kvHeads * this.#capacity * headDim;
    const named = this.#arrays.map((array, part) => [
      `${part % 2 === 0 ? "keys" : "values"}.${part >> 1}`,
      { data: array.subarray(0, piece), shape },
    ]);
    return { cached: this.lengths.subarray(0, rows), ...Object.fromEntries(named) };
  }
}
