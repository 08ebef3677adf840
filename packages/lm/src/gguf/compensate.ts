import { type CompileOptions, compile, input, matmul } from "@tenet/tensor";
import { type Factors, mergedWeight } from "../adapter/index.ts";
import { type Checkpoint, CheckpointError } from "../checkpoint/index.ts";
import { modulePath, projectionShape, projectionsByInput } from "../decoder/index.ts";
import { type CompensatedBlocks, largestOf } from "./encode.ts";
import { writeHalf } from "./encoder.ts";
import { typeOf } from "./export.ts";
import { type LayerInputsOptions, layerInputs } from "./layer-inputs.ts";

/*
 * Rounding to a few levels with the inputs in view: what a matrix gives for the inputs it will see is to change least, not its numbers. Columns
 * are rounded from first to last, and each takes over what the error of those before it adds to the outputs: GPTQ (arXiv 2210.17323), in
 * the form that QuIP (arXiv 2307.13304, section 3.1) shows to be the same.
 */

/**
 * Rounds the matrices that a file of Q4_0 has in that type. The same texts give the same bytes on one processor. Gives nothing for
 * texts that fill no row of 256 tokens.
 * @throws CheckpointError for a model whose inputs are no finite numbers
 */
export async function compensatedBlocks(
  checkpoint: Checkpoint,
  { adapter, ...options }: { readonly adapter?: Factors | undefined } & Omit<LayerInputsOptions, "weight">,
): Promise<CompensatedBlocks> {
  const { config } = checkpoint;
  const weight = (name: string) => (adapter ? mergedWeight(checkpoint, adapter, name) : checkpoint.read(name));
  const blocks = new Map<string, Uint8Array>();
  const { threads } = options;
  const carries = new Carries(threads === undefined ? {} : { threads });
  try {
    for await (const { layer, weights, moments } of layerInputs(config, { weight, ...options })) {
      for (const names of projectionsByInput) {
        const coarse = names
          .map((name) => ({ path: `${modulePath(layer, name)}.weight`, shape: projectionShape(config, name) }))
          .filter(({ path, shape }) => typeOf(path, shape, "Q4_0") === "Q4_0")
          // What the type cannot hold is refused where it is written.
          .filter(({ path }) => weights.get(path)!.every((value) => Math.abs(value) <= largestOf("Q4_0")));
        if (coarse.length === 0) continue;
        const inputs = moments.get(names[0])!;
        if (!inputs.every(Number.isFinite))
          throw new CheckpointError({
            ...{ file: checkpoint.path, where: `the inputs of ${coarse[0]!.path}`, expected: "finite numbers" },
            ...{ found: "others", fix: "Look at what this checkpoint replies, or write the file as F32." },
          });
        const factor = new InputFactor(inputs);
        for (const { path, shape } of coarse)
          blocks.set(path, await factor.round(weights.get(path)!, carries.of(shape)));
      }
    }
  } finally {
    await carries.dispose();
  }
  return blocks;
}

/** Share of the mean that is added to every input's own moment: inputs that the texts left silent are not free. */
const damping = 0.01;
/** Where a block's number farthest from 0 may lie, in levels; on either side. */
const ends = [7, 7.5, 8, 8.5, 9].flatMap((end) => [-end, end]);
const [block, blockBytes] = [32, 18];
/** Columns whose errors are carried over to others in one product. */
const group = 64;

/** The second moments of an input, H = (1 + U)·D·(1 + U)ᵀ with U strictly upper triangular and D diagonal. */
export class InputFactor {
  readonly #width: number;
  readonly #upper: Float64Array;
  readonly #diagonal: Float64Array;

  /** @param moments [in, in], symmetric */
  constructor(moments: Float32Array) {
    const width = Math.sqrt(moments.length);
    let trace = 0;
    for (let i = 0; i < width; i++) trace += moments[i * width + i]!;
    // Where no input ever spoke, all columns count the same.
    const added = trace > 0 ? (damping * trace) / width : 1;
    const v = Float64Array.from(moments);
    for (let i = 0; i < width; i++) v[i * width + i]! += added;
    factorise(v, width);
    this.#diagonal = Float64Array.from({ length: width }, (_, j) => v[j * width + j]! ** 2);
    for (let i = 0; i < width; i++) for (let j = i + 1; j < width; j++) v[i * width + j]! /= v[j * width + j]!;
    this.#width = width;
    this.#upper = v;
  }

  /** A matrix [out, in] in Q4_0, whose rows are whole blocks; `carry` multiplies, see `Carry`. */
  async round(values: Float32Array, carry: Carry): Promise<Uint8Array> {
    const width = this.#width;
    const rows = values.length / width;
    const out = new Uint8Array((values.length / block) * blockBytes);
    const errors = new Float32Array(values.length);
    for (let start = 0; start < width; start += group) {
      const columns = Math.min(group, width - start);
      const panel = this.#panel(start, columns);
      const carried = start === 0 ? new Float32Array(rows * group) : await carry(errors, panel);
      for (let row = 0; row < rows; row++) {
        const wanted = carried.subarray(row * group, row * group + columns);
        const from = row * width + start;
        for (let k = 0; k < columns; k++) wanted[k]! += values[from + k]!;
        for (let first = 0; first < columns; first += block) {
          const at = ((from + first) / block) * blockBytes;
          const weights = this.#diagonal.subarray(start + first, start + first + block);
          const scale = writeHalf(bestScale(wanted.subarray(first, first + block), weights), out, at);
          for (let k = first; k < first + block; k++) {
            const level = levelOf(wanted[k]!, scale);
            out[at + 2 + (k % 16)]! |= (level + 8) << (k % block < 16 ? 0 : 4);
            const error = values[from + k]! - level * scale;
            errors[from + k] = error;
            const below = (start + k) * group;
            for (let later = k + 1; later < columns; later++) wanted[later]! += error * panel[below + later]!;
          }
        }
      }
    }
    return out;
  }

  /** Columns of U from one on, [in, group] with zeros behind them. */
  #panel(start: number, columns: number): Float32Array {
    const [width, upper] = [this.#width, this.#upper];
    const panel = new Float32Array(width * group);
    // U is kept in whole: what stands on and below its diagonal is not its own.
    for (let i = 0; i < start + columns; i++)
      for (let k = Math.max(0, i + 1 - start); k < columns; k++) panel[i * group + k] = upper[i * width + start + k]!;
    return panel;
  }
}

/** What errors of rounded columns add to later ones: errors [out, in] times columns of U, [in, group], → [out, group]. */
type Carry = (errors: Float32Array, panel: Float32Array) => Promise<Float32Array>;

/** Such products, a program for each shape of matrices; to be disposed of. */
export class Carries {
  readonly #programs = new Map<string, Awaited<ReturnType<typeof product>>>();
  readonly #options: Pick<CompileOptions, "threads">;

  constructor(options: Pick<CompileOptions, "threads">) {
    this.#options = options;
  }

  of([rows, width]: readonly [number, number]): Carry {
    return async (errors, panel) => {
      const key = `${rows} ${width}`;
      const program = this.#programs.get(key) ?? (await product([rows, width], this.#options));
      this.#programs.set(key, program);
      const { carried } = await program.run({
        errors: { data: errors, shape: [rows, width] },
        panel: { data: panel, shape: [width, group] },
      });
      return carried.data as Float32Array;
    };
  }

  async dispose(): Promise<void> {
    for (const program of this.#programs.values()) await program.dispose();
  }
}

function product([rows, width]: readonly [number, number], options: Pick<CompileOptions, "threads">) {
  const [errors, panel] = [input("errors", "float32", [rows, width]), input("panel", "float32", [width, group])];
  return compile(() => ({ carried: matmul(errors, panel) }), options);
}

/**
 * Puts V with v = V·Vᵀ, upper triangular, over the upper half of a symmetric matrix [width, width] that is positive definite; what stands below
 * the diagonal stays. From the last columns to the first, some at a time, whose rows then stay in the cache.
 */
function factorise(v: Float64Array, width: number): void {
  for (let end = width; end > 0; end -= group) {
    const start = Math.max(0, end - group);
    for (let i = 0; i < end; i++) subtractProducts(v, width, { i, from: Math.max(start, i), to: end });
    for (let j = end - 1; j >= start; j--) {
      const row = j * width;
      for (let k = j + 1; k < end; k++) v[row + j]! -= v[row + k]! ** 2;
      const pivot = Math.sqrt(v[row + j]!);
      if (!(pivot > 0)) throw new RangeError(`expected second moments, found a pivot of ${pivot} in column ${j}`);
      v[row + j] = pivot;
      for (let i = 0; i < j; i++) {
        let left = v[i * width + j]!;
        for (let k = j + 1; k < end; k++) left -= v[i * width + k]! * v[row + k]!;
        v[i * width + j] = left / pivot;
      }
    }
  }
}

/** v[i, j] −= Σ v[i, k]·v[j, k] over k ≥ to, for from ≤ j < to. Four rows j at a time, whose sums do not wait for one another. */
function subtractProducts(
  v: Float64Array,
  width: number,
  { i, from, to }: { readonly i: number; readonly from: number; readonly to: number },
): void {
  const row = i * width;
  let j = from;
  for (; j + 4 <= to; j += 4) {
    let [s0, s1, s2, s3] = [0, 0, 0, 0];
    const [r0, r1, r2, r3] = [j * width, (j + 1) * width, (j + 2) * width, (j + 3) * width];
    for (let k = to; k < width; k++) {
      const x = v[row + k]!;
      s0 += x * v[r0 + k]!;
      s1 += x * v[r1 + k]!;
      s2 += x * v[r2 + k]!;
      s3 += x * v[r3 + k]!;
    }
    v[row + j]! -= s0;
    v[row + j + 1]! -= s1;
    v[row + j + 2]! -= s2;
    v[row + j + 3]! -= s3;
  }
  for (; j < to; j++) {
    let sum = 0;
    for (let k = to; k < width; k++) sum += v[row + k]! * v[j * width + k]!;
    v[row + j]! -= sum;
  }
}

const scratch = new Uint8Array(2);

/** The scale whose levels are nearest to a block's numbers, each by its weight. */
function bestScale(numbers: Float32Array, weights: Float64Array): number {
  let far = 0;
  for (const value of numbers) if (Math.abs(value) > Math.abs(far)) far = value;
  if (far === 0) return 0;
  let best = 0;
  let least = Number.POSITIVE_INFINITY;
  for (const end of ends) {
    const scale = writeHalf(far / end, scratch, 0);
    let error = 0;
    for (let k = 0; k < block; k++) error += weights[k]! * (numbers[k]! - levelOf(numbers[k]!, scale) * scale) ** 2;
    if (error < least) [best, least] = [scale, error];
  }
  return best;
}

/** −8 … 7 */
function levelOf(value: number, scale: number): number {
  return scale === 0 ? 0 : Math.max(-8, Math.min(7, Math.floor(value / scale + 0.5)));
}
