import {
  argMax,
  cast,
  concat,
  constant,
  cumulativeSum,
  expandDims,
  type Feeds,
  gather,
  input,
  iota,
  lessEqual,
  log,
  max,
  minimum,
  reshape,
  slice,
  softmax,
  sum,
  type Tensor,
  type TensorData,
  where,
} from "@tenet/tensor";
import { inverseTemperature, UsageError } from "../language-model/index.ts";

/**
 * What is asked about the token that follows another one.
 *
 * - `draw`: the token at `uniform` of the distribution at a temperature (0: the likeliest), ends of text left out when
 *   `barred`; and, when `logprob` is set, its log-probability, for which the temperature must be 0 or 1;
 * - `score`: the log-probabilities of given tokens;
 * - `logits`: all of them, for what is not computed in the graph.
 */
export type Question =
  | {
      readonly kind: "draw";
      readonly temperature: number;
      readonly uniform: number;
      readonly barred: boolean;
      readonly logprob: boolean;
    }
  | { readonly kind: "score"; readonly targets: readonly number[] }
  | { readonly kind: "logits" };

export type Answer =
  | { readonly kind: "draw"; readonly token: number; readonly logprob?: number }
  | { readonly kind: "score"; readonly logprobs: readonly number[] }
  | { readonly kind: "logits"; readonly logits: Float32Array };

export interface ReadoutOptions {
  /** The last norm, and the product with the output table. */
  readonly norm: (rows: Tensor) => Tensor;
  readonly head: (rows: Tensor) => Tensor;
  readonly vocabulary: number;
  /** Ids that a barred draw leaves out. */
  readonly ends: readonly number[];
}

export type ReadoutResults = Readonly<Record<keyof ReturnType<typeof readout>, TensorData>>;

/** The vocabulary is searched in blocks, all of one width. */
interface Blocks {
  readonly width: number;
  readonly count: number;
}

/** Widest block: what is left to do outside the graph for a token is a pass over one block and one over their sums. */
const widest = 512;

export function blocksOf(vocabulary: number): Blocks {
  let width = Math.min(widest, vocabulary);
  while (vocabulary % width !== 0) width--;
  return { width, count: vocabulary / width };
}

/**
 * The end of the graph: answers to questions about chosen positions without handing out their logits, of which there are
 * 200 kB a token. A draw inverts the cumulative distribution: the graph finds the block of the vocabulary in which the
 * sum of probabilities reaches the uniform number and hands out that block's logits and the sums; the token within the
 * block is found by `answers` in double precision.
 *
 * x [tokens, hidden] is the residual stream.
 */
export function readout(x: Tensor, { norm, head, vocabulary, ends }: ReadoutOptions) {
  const { width, count } = blocksOf(vocabulary);
  const chosen = input("chosen", "int32", ["picked"]);
  // 1 / temperature: scaling a row scales its logits.
  const scale = input("scale", "float32", ["picked"]);
  const barred = input("barred", "bool", ["picked"]);
  const drawn = input("drawn", "int32", ["drawn"]);
  const uniform = input("uniform", "float32", ["drawn"]);
  const whole = input("whole", "int32", ["whole"]);
  const targets = input("targets", "int32", ["targets"]);

  const logits = head(norm(gather(x, chosen)).mul(expandDims(scale, 1))); // [picked, vocabulary]
  const tops = max(reshape(logits, ["picked", count, width]), 2);
  const allowedTops = withoutEnds(logits, tops, ends, width, (block, isEnd) => max(block.sub(isEnd.mul(1e30)), 1));
  const best = argMax(where(expandDims(barred, 1), allowedTops, tops), 1);

  const someLogits = gather(logits, drawn); // [drawn, vocabulary]
  const p = softmax(someLogits);
  const sums = sum(reshape(p, ["drawn", count, width]), 2);
  const allowedSums = withoutEnds(p, sums, ends, width, (block, isEnd) => sum(block.sub(block.mul(isEnd)), 1));
  const masses = where(expandDims(gather(barred, drawn), 1), allowedSums, sums); // [drawn, count]
  // log Σ exp = the largest logit − log of its probability; the latter is in the block that holds the former.
  const someTops = gather(tops, drawn);
  const peak = max(blockOf(p, argMax(someTops, 1), "drawn", count, width), 1);
  const cumulative = cumulativeSum(masses, 1);
  const goal = expandDims(uniform, 1).mul(slice(cumulative, 1, count - 1, count));
  const passed = sum(cast(lessEqual(cumulative, goal), "int32"), 1);
  const found = minimum(passed, count - 1);
  return {
    /** Block of the likeliest token and its logits: [picked], [picked, width]. */
    best,
    bestLogits: blockOf(logits, best, "picked", count, width),
    /** Of drawn rows: block, its logits, every block's probability, log Σ exp of all logits. */
    found,
    foundLogits: blockOf(someLogits, found, "drawn", count, width),
    masses,
    logSums: max(someTops, 1).sub(log(peak)),
    /** [whole, vocabulary] */
    logits: gather(logits, whole),
    /** Logits at given places of the flattened [picked · vocabulary]. */
    targetLogits: gather(reshape(logits, [-1]), targets),
  };
}

/** One block of each row: x [rows, count · width], index [rows] → [rows, width]. */
function blockOf(x: Tensor, index: Tensor, rows: string, count: number, width: number): Tensor {
  return gather(reshape(x, [-1, width]), iota(rows).mul(count).add(index));
}

/** `of` [rows, count], a number a block, with those blocks done anew that hold an end of text: x [rows, vocabulary]. */
function withoutEnds(
  x: Tensor,
  of: Tensor,
  ends: readonly number[],
  width: number,
  reduce: (block: Tensor, isEnd: Tensor) => Tensor,
): Tensor {
  const blocks = [...new Set(ends.map((id) => Math.floor(id / width)))].sort((a, b) => a - b);
  const pieces: Tensor[] = [];
  let at = 0;
  for (const block of blocks) {
    if (block > at) pieces.push(slice(of, 1, at, block));
    const isEnd = constant(
      Float32Array.from({ length: width }, (_, i) => Number(ends.includes(block * width + i))),
      [width],
    );
    pieces.push(expandDims(reduce(slice(x, 1, block * width, (block + 1) * width), isEnd), 1));
    at = block + 1;
  }
  if (at < (of.dim(1) as number)) pieces.push(slice(of, 1, at));
  return concat(pieces, 1);
}

/** Feeds of `readout` for questions about positions of the flattened rows. */
export function readoutFeeds(asked: readonly { at: number; question: Question }[], vocabulary: number): Feeds {
  const chosen = new Int32Array(asked.length);
  const scale = new Float32Array(asked.length).fill(1);
  const barred = new Uint8Array(asked.length);
  const [drawn, uniform, whole, targets]: number[][] = [[], [], [], []];
  asked.forEach(({ at, question }, i) => {
    chosen[i] = at;
    if (question.kind === "logits") whole!.push(i);
    if (question.kind === "score") for (const token of question.targets) targets!.push(i * vocabulary + token);
    if (question.kind === "draw") {
      if (question.temperature > 0) scale[i] = inverseTemperature(question.temperature);
      barred[i] = Number(question.barred);
    }
    if (!needsSums(question)) return;
    drawn!.push(i);
    // In single precision the last numbers below 1 would be 1, behind the last token.
    uniform!.push(question.kind === "draw" ? Math.min(question.uniform, 1 - 2 ** -23) : 0);
  });
  const vector = (data: Int32Array | Float32Array | Uint8Array): TensorData => ({ data, shape: [data.length] });
  return {
    chosen: vector(chosen),
    scale: vector(scale),
    barred: vector(barred),
    drawn: vector(Int32Array.from(drawn!)),
    uniform: vector(Float32Array.from(uniform!)),
    whole: vector(Int32Array.from(whole!)),
    targets: vector(Int32Array.from(targets!)),
  };
}

function needsSums(question: Question): boolean {
  return question.kind === "score" || (question.kind === "draw" && (question.temperature > 0 || question.logprob));
}

/** Answers to questions from what the graph gave, in their order. @throws UsageError for logits that are not numbers */
export function answers(
  questions: readonly Question[],
  results: ReadoutResults,
  vocabulary: number,
  ends: ReadonlySet<number>,
): Answer[] {
  const { width, count } = blocksOf(vocabulary);
  const floats = (name: keyof ReadoutResults) => results[name].data as Float32Array;
  const block = (name: keyof ReadoutResults, row: number) => floats(name).subarray(row * width, (row + 1) * width);
  let [drawn, whole, target] = [0, 0, 0];
  return questions.map((question, i): Answer => {
    if (question.kind === "logits") {
      const logits = floats("logits").subarray(whole * vocabulary, ++whole * vocabulary);
      return { kind: "logits", logits };
    }
    const sums = needsSums(question) ? drawn++ : -1;
    const logSum = floats("logSums")[sums]!;
    if (sums >= 0 && !Number.isFinite(logSum)) throw new UsageError(`the model's logits are not numbers: ${logSum}`);
    if (question.kind === "score") {
      const logprobs = question.targets.map(() => floats("targetLogits")[target++]! - logSum);
      return { kind: "score", logprobs };
    }
    const greedy = question.temperature === 0;
    const logits = greedy ? block("bestLogits", i) : block("foundLogits", sums);
    const start = (greedy ? results.best.data[i]! : results.found.data[sums]!) * width;
    const allowed = (id: number) => !(question.barred && ends.has(id));
    const place = greedy
      ? likeliest(logits, start, allowed)
      : within(logits, start, allowed, {
          logSum,
          uniform: question.uniform,
          masses: floats("masses").subarray(sums * count, (sums + 1) * count),
          block: results.found.data[sums]!,
        });
    const token = start + place;
    return { kind: "draw", token, ...(question.logprob ? { logprob: logits[place]! - logSum } : {}) };
  });
}

function likeliest(logits: Float32Array, start: number, allowed: (id: number) => boolean): number {
  let best = -1;
  for (let i = 0; i < logits.length; i++) if ((best < 0 || logits[i]! > logits[best]!) && allowed(start + i)) best = i;
  if (best < 0 || !Number.isFinite(logits[best])) throw new UsageError("the model's logits are not numbers");
  return best;
}

interface Draw {
  readonly uniform: number;
  readonly logSum: number;
  /** Probability of every block, and which of them the number falls into. */
  readonly masses: Float32Array;
  readonly block: number;
}

/** Where a uniform number falls within the block it falls into. */
function within(
  logits: Float32Array,
  start: number,
  allowed: (id: number) => boolean,
  { uniform, logSum, masses, block }: Draw,
): number {
  let [before, total] = [0, 0];
  masses.forEach((mass, i) => {
    if (i < block) before += mass;
    total += mass;
  });
  // The graph chose the block in single precision: at its edges the number may lie a rounding error outside.
  let left = Math.max(0, uniform * total - before);
  let last = 0;
  for (let i = 0; i < logits.length; i++) {
    const p = Math.exp(logits[i]! - logSum);
    if (p === 0 || !allowed(start + i)) continue;
    if (left < p) return i;
    left -= p;
    last = i;
  }
  return last;
}
