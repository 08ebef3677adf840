import fc from "fast-check";
import type { Dim } from "../../src/dims.ts";
import type { DType, Tensor } from "../../src/tensor.ts";

/** Draws values: `g(fc.integer, { min, max })`. Whatever is drawn shrinks. */
export type Gen = fc.GeneratorValue;

export interface CaseInput {
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Exact in the input's type. */
  readonly data: readonly number[];
  /** Axes whose size an op must know when the graph is built. */
  readonly fixed?: readonly number[];
  /** Not a function of this input, or one the op promises no gradient for. */
  readonly constant?: boolean;
}

/** One application of an op (or a few) to inputs of given shapes and values. */
export interface Case {
  readonly inputs: readonly CaseInput[];
  build(...inputs: Tensor[]): Tensor | readonly Tensor[];
}

export interface OpCases {
  make(g: Gen): Case;
  /** Largest error of ONNX Runtime's float32 values and gradients, relative to max(1, |value|). Default 4e-6. */
  readonly tolerance?: number;
  /** Why finite differences are not what the gradient should be; it should be zero then. */
  readonly zeroGradient?: string;
  /** Why the same graph with names for sizes is not tried. */
  readonly notSymbolic?: string;
}

const mostElements = 40;

export interface ShapeLimits {
  readonly minRank?: number;
  readonly maxRank?: number;
  /** Smallest size of an axis; 0 by default. */
  readonly minSize?: number;
}

/** Sizes 0 and 1 now and then, else 2 … 4, never more than a few dozen elements. */
export function drawShape(g: Gen, limits: ShapeLimits = {}): number[] {
  const { minRank = 0, maxRank = 4, minSize = 0 } = limits;
  const rank = g(fc.integer, { min: minRank, max: maxRank });
  let room = mostElements;
  return Array.from({ length: rank }, () => {
    const size = drawSize(g, minSize, room);
    room = Math.floor(room / Math.max(1, size));
    return size;
  });
}

export function drawSize(g: Gen, min = 0, room = mostElements): number {
  const frequent = [2, 3, 4, 3, 2, 1, 1, 1, 0].filter((size) => size >= min && size <= room);
  return frequent.length === 0 ? min : frequent[g(fc.nat, { max: frequent.length - 1 })]!;
}

/** An index below n. */
export function drawIndex(g: Gen, n: number): number {
  return g(fc.nat, { max: n - 1 });
}

/** An axis of a rank, sometimes counted from the end. */
export function drawAxis(g: Gen, rank: number): number {
  return g(fc.integer, { min: -rank, max: rank - 1 });
}

export function drawFlag(g: Gen): boolean {
  return g(fc.boolean);
}

/** Shapes that broadcast to one: leading axes left out and sizes replaced by 1 at random. */
export function drawBroadcast(g: Gen, count: number, limits: ShapeLimits = {}): number[][] {
  const whole = drawShape(g, limits);
  return Array.from({ length: count }, (_, i) => {
    // The first operand keeps the whole shape every other time, so that the result often has it.
    if (i === 0 && drawFlag(g)) return whole;
    const from = g(fc.integer, { min: 0, max: 2 * whole.length }) - whole.length;
    return whole.slice(Math.max(0, from)).map((size) => (g(fc.nat, { max: 2 }) === 0 ? 1 : size));
  });
}

/** A small generator of its own for element values: they do not shrink, shapes do. */
function numbers(seed: number): () => number {
  let state = seed | 0;
  return () => {
    state = (state + 0x9e3779b9) | 0;
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32;
  };
}

function draw(g: Gen, shape: readonly number[], dtype: DType, value: (next: () => number, i: number) => number) {
  const next = numbers(g(fc.nat));
  const length = shape.reduce((a, b) => a * b, 1);
  return { dtype, shape, data: Array.from({ length }, (_, i) => Math.fround(value(next, i))) };
}

/** Reals in −2 … 2, now and then 0. */
export function anyFloats(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "float32", (next) => (next() < 0.1 ? 0 : 4 * next() - 2));
}

/** Reals with 0.4 ≤ |x| ≤ 2.4, away from what happens at 0. */
export function nonzeroFloats(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "float32", (next) => (next() < 0.5 ? -1 : 1) * (0.4 + 2 * next()));
}

export function positiveFloats(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "float32", (next) => 0.4 + 2 * next());
}

/** Reals no two of which lie within 0.02 of each other or (for another `lane` of 0 … 2) of another tensor's. */
export function distinctFloats(g: Gen, shape: readonly number[], lane = 0): CaseInput {
  const order: number[] = [];
  return draw(g, shape, "float32", (next, i) => {
    if (i === 0) {
      const length = shape.reduce((a, b) => a * b, 1);
      for (let n = 0; n < length; n++) order.splice(Math.floor(next() * (n + 1)), 0, n);
    }
    return 0.1 * (order[i]! - order.length / 2) + 0.03 * lane;
  });
}

/** Reals at least 0.1 away from every multiple of a half. */
export function offGridFloats(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "float32", (next) => 0.5 * Math.floor(next() * 10 - 5) + 0.1 + 0.3 * next());
}

export function integers(g: Gen, shape: readonly number[], min: number, max: number): CaseInput {
  return integersOf(g, "int32", shape, min, max);
}

export function integersOf(g: Gen, dtype: DType, shape: readonly number[], min: number, max: number): CaseInput {
  return draw(g, shape, dtype, (next) => min + Math.floor(next() * (max - min + 1)));
}

/** Reals from −127/64 … 127/64 in steps of 1/64; of every `width` of them (a row, if not given) the first is an end. */
export function gridFloats(g: Gen, shape: readonly number[], width = shape.at(-1)!): CaseInput {
  return draw(g, shape, "float32", (next, i) => {
    const sign = next() < 0.5 ? -1 : 1;
    return (sign * (i % width === 0 ? 127 : Math.floor(128 * next()))) / 64;
  });
}

export function bools(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "bool", (next) => (next() < 0.5 ? 1 : 0));
}

/** Reals from a few values, so that many are equal. For ops without a gradient. */
export function coarseFloats(g: Gen, shape: readonly number[]): CaseInput {
  return draw(g, shape, "float32", (next) => Math.floor(next() * 5) / 2 - 1);
}

export function numel(shape: readonly number[]): number {
  return shape.reduce((a, b) => a * b, 1);
}

/** Keeps an axis of the input static when sizes get names. */
export function fixed(given: CaseInput, ...axes: number[]): CaseInput {
  return { ...given, fixed: axes.map((axis) => (axis < 0 ? axis + given.shape.length : axis)) };
}

export type { Dim };
