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

/** Keys and values of layer 0, of layer 1, …, as the inputs of a graph are named. */
function named(prefix: string, arrays: readonly Float32Array[], shape: readonly number[]): Feeds {
  const part = (index: number) => `${prefix}${index % 2 === 0 ? "keys" : "values"}.${index >> 1}`;
  return Object.fromEntries(arrays.map((data, index) => [part(index), { data, shape }]));
}

/** Positions that were computed once and are the beginning of several texts, with their keys and values. */
export class Prefix {
  readonly shape: CacheShape;
  readonly tokens: readonly number[];
  /** Keys of layer 0, values of layer 0, keys of layer 1, …: [kvHeads, positions, headDim]. */
  readonly arrays: readonly Float32Array[];

  private constructor(shape: CacheShape, tokens: readonly number[], arrays: readonly Float32Array[]) {
    this.shape = shape;
    this.tokens = tokens;
    this.arrays = arrays;
  }

  static empty(shape: CacheShape): Prefix {
    return new Prefix(
      shape,
      [],
      Array.from({ length: 2 * shape.layers }, () => new Float32Array(0)),
    );
  }

  /** The prefix and what a graph gave for the tokens behind it. */
  extended(tokens: readonly number[], fresh: Fresh): Prefix {
    const { kvHeads, headDim } = this.shape;
    const [before, more] = [this.tokens.length * headDim, tokens.length * headDim];
    const arrays = this.arrays.map((old, part) => {
      const longer = new Float32Array(kvHeads * (before + more));
      for (let head = 0; head < kvHeads; head++) {
        const from = (part * fresh.rows * kvHeads + head) * fresh.time * headDim;
        longer.set(old.subarray(head * before, (head + 1) * before), head * (before + more));
        longer.set(fresh.data.subarray(from, from + more), head * (before + more) + before);
      }
      return longer;
    });
    return new Prefix(this.shape, [...this.tokens, ...tokens], arrays);
  }

  feeds(): Feeds {
    const { kvHeads, headDim } = this.shape;
    return named("prefix.", this.arrays, [kvHeads, this.tokens.length, headDim]);
  }
}

/** Positions are made room for in steps of this many: shapes then recur. */
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

  /** `used` lends its memory and must not be used any more. */
  constructor(shape: CacheShape, rows: number, used?: KeyValueCache) {
    this.shape = shape;
    this.rows = rows;
    this.lengths = new Int32Array(rows);
    this.#arrays = used ? used.#arrays : Array.from({ length: 2 * shape.layers }, () => new Float32Array(0));
  }

  get bytes(): number {
    return this.#arrays.reduce((sum, { byteLength }) => sum + byteLength, 0);
  }

  get capacity(): number {
    return this.#capacity;
  }

  /** Makes room for `positions` in every row. */
  reserve(positions: number): void {
    if (positions <= this.#capacity) return;
    const capacity = Math.ceil(positions / step) * step;
    const { kvHeads, headDim } = this.shape;
    const length = this.rows * kvHeads * capacity * headDim;
    const empty = this.lengths.every((positions) => positions === 0);
    this.#arrays = this.#arrays.map((old) => {
      // What another text left there is as good as zeros: it is never looked at.
      if (empty && old.length >= length) return old;
      const wide = new Float32Array(length);
      for (let row = 0; row < this.rows; row++)
        for (let head = 0; head < kvHeads; head++) {
          const from = (row * kvHeads + head) * this.#capacity * headDim;
          const to = (row * kvHeads + head) * capacity * headDim;
          copyRun(old, from, wide, to, this.lengths[row]! * headDim);
        }
      return wide;
    });
    this.#capacity = capacity;
  }

  /** Appends new positions `start` … `end` − 1 of row `source` of what a graph gave to a row. */
  append(row: number, fresh: Fresh, source: number, start: number, end: number): void {
    const { kvHeads, headDim } = this.shape;
    const at = this.lengths[row]!;
    this.#makeRoom(at + end - start);
    this.#arrays.forEach((array, part) => {
      for (let head = 0; head < kvHeads; head++) {
        const from = (((part * fresh.rows + source) * kvHeads + head) * fresh.time + start) * headDim;
        const to = ((row * kvHeads + head) * this.#capacity + at) * headDim;
        copyRun(fresh.data, from, array, to, (end - start) * headDim);
      }
    });
    this.lengths[row] = at + end - start;
  }

  /** Appends to each row the first `counts[row]` new positions of its row of what a graph gave. */
  appendAll(fresh: Fresh, counts: readonly number[]): void {
    const { kvHeads, headDim } = this.shape;
    this.#makeRoom(Math.max(...counts.map((count, row) => this.lengths[row]! + count)));
    const [from, to] = [fresh.time * headDim, this.#capacity * headDim];
    // Array by array, as they lie in memory: their lines are then fetched ahead.
    for (let part = 0; part < this.#arrays.length; part++) {
      const array = this.#arrays[part]!;
      for (let row = 0; row < counts.length; row++) {
        const at = this.lengths[row]! * headDim;
        const length = counts[row]! * headDim;
        for (let head = row * kvHeads; head < (row + 1) * kvHeads; head++)
          copyRun(fresh.data, (part * fresh.rows * kvHeads + head) * from, array, head * to + at, length);
      }
    }
    counts.forEach((count, row) => {
      this.lengths[row]! += count;
    });
  }

  /** Appends the positions of a prefix from `start` on to a row. */
  appendPrefix(row: number, prefix: Prefix, start: number): void {
    const data = prefix.arrays;
    const { kvHeads, headDim } = this.shape;
    const [at, positions] = [this.lengths[row]!, prefix.tokens.length];
    this.#makeRoom(at + positions - start);
    this.#arrays.forEach((array, part) => {
      for (let head = 0; head < kvHeads; head++) {
        const to = ((row * kvHeads + head) * this.#capacity + at) * headDim;
        copyRun(data[part]!, (head * positions + start) * headDim, array, to, (positions - start) * headDim);
      }
    });
    this.lengths[row] = at + positions - start;
  }

  /** Makes a row equal to another row. */
  copy(row: number, source: number): void {
    const { kvHeads, headDim } = this.shape;
    const block = kvHeads * this.#capacity * headDim;
    for (const array of this.#arrays)
      for (let head = 0; head < kvHeads; head++) {
        const offset = head * this.#capacity * headDim;
        const length = this.lengths[source]! * headDim;
        copyRun(array, source * block + offset, array, row * block + offset, length);
      }
    this.lengths[row] = this.lengths[source]!;
  }

  clear(row: number): void {
    this.lengths[row] = 0;
  }

  /** Feeds of the first `rows` rows. */
  feeds(rows: number): Feeds {
    const { kvHeads, headDim } = this.shape;
    const piece = rows * kvHeads * this.#capacity * headDim;
    const pieces = this.#arrays.map((array) => array.subarray(0, piece));
    return {
      cached: { data: this.lengths.subarray(0, rows), shape: [rows] },
      ...named("", pieces, [rows, kvHeads, this.#capacity, headDim]),
    };
  }

  /** Room that runs out grows by half: every growth copies all that is there. */
  #makeRoom(positions: number): void {
    if (positions > this.#capacity) this.reserve(Math.max(positions, Math.ceil(1.5 * this.#capacity)));
  }
}

/** Runs shorter than this are copied faster by a loop than by a call of the runtime, which makes two views. */
const shortRun = 512;

function copyRun(from: Float32Array, start: number, to: Float32Array, at: number, length: number): void {
  if (length >= shortRun) to.set(from.subarray(start, start + length), at);
  else for (let i = 0; i < length; i++) to[at + i] = from[start + i]!;
}
