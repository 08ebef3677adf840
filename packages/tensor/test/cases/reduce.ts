import fc from "fast-check";
import {
  argMax,
  broadcastTo,
  cumulativeSum,
  layerNorm,
  logSoftmax,
  logSumExp,
  max,
  mean,
  min,
  rmsNorm,
  rotary,
  softmax,
  sum,
  sumTo,
  type Tensor,
} from "../../src/index.ts";
import type { OpName } from "../../src/ops/index.ts";
import {
  anyFloats,
  type CaseInput,
  coarseFloats,
  distinctFloats,
  drawAxis,
  drawBroadcast,
  drawFlag,
  drawIndex,
  drawShape,
  drawSize,
  fixed,
  type Gen,
  integers,
  nonzeroFloats,
  type OpCases,
} from "./case.ts";

/** Some axes of a rank, in any order, from either end; one number, a list, or none at all for every axis. */
function drawAxes(g: Gen, rank: number): number | number[] | undefined {
  const axes = Array.from({ length: rank }, (_, axis) => axis).filter(() => drawFlag(g));
  const chosen = (drawFlag(g) ? axes.reverse() : axes).map((axis) => (drawFlag(g) ? axis : axis - rank));
  if (chosen.length === 1 && drawFlag(g)) return chosen[0]!;
  return g(fc.nat, { max: 4 }) === 0 ? undefined : chosen;
}

type Reduce = (x: Tensor, axes: number | number[] | undefined, options: { keepDims: boolean }) => Tensor;

function reduction(build: Reduce, values: (g: Gen, shape: number[]) => CaseInput, mayBeEmpty: boolean): OpCases {
  return {
    make(g) {
      const shape = drawShape(g);
      const axes = drawAxes(g, shape.length);
      const keepDims = drawFlag(g);
      const reduced = axes === undefined ? shape.map((_, i) => i) : [axes].flat();
      // Where the result is undefined an empty axis is an error: not a case here.
      const sizes = shape.map((size, i) =>
        !mayBeEmpty && (reduced.includes(i) || reduced.includes(i - shape.length)) ? Math.max(1, size) : size,
      );
      return { inputs: [values(g, sizes)], build: (x) => build(x, axes, { keepDims }) };
    },
  };
}

/** An op along one axis. */
function along(
  build: (x: Tensor, axis: number, flags: [boolean, boolean]) => Tensor,
  values: (g: Gen, shape: number[]) => CaseInput = anyFloats,
  { mayBeEmpty = true } = {},
): OpCases {
  return {
    make(g) {
      const shape = drawShape(g, { minRank: 1 });
      const axis = drawAxis(g, shape.length);
      const flags: [boolean, boolean] = [drawFlag(g), drawFlag(g)];
      const at = axis < 0 ? axis + shape.length : axis;
      const sizes = mayBeEmpty ? shape : shape.with(at, Math.max(1, shape[at]!));
      return { inputs: [values(g, sizes)], build: (x) => build(x!, axis, flags) };
    },
  };
}

function drawNormShape(g: Gen): number[] {
  return [...drawShape(g, { maxRank: 3 }), drawSize(g, 2)];
}

export const reduceCases = {
  sum: reduction(sum, (g, s) => (g(fc.nat, { max: 5 }) === 0 ? integers(g, s, -9, 9) : anyFloats(g, s)), true),
  mean: reduction(mean, anyFloats, false),
  max: reduction(max, (g, s) => (g(fc.nat, { max: 5 }) === 0 ? integers(g, s, -9, 9) : distinctFloats(g, s)), false),
  min: reduction(min, (g, s) => (g(fc.nat, { max: 5 }) === 0 ? integers(g, s, -9, 9) : distinctFloats(g, s)), false),
  argMax: along(argMax, coarseFloats, { mayBeEmpty: false }),
  cumulativeSum: along(
    (x, axis, [reverse, exclusive]) => cumulativeSum(x, axis, { reverse, exclusive }),
    (g, s) => (g(fc.nat, { max: 5 }) === 0 ? integers(g, s, -9, 9) : anyFloats(g, s)),
  ),
  softmax: along(softmax),
  logSoftmax: along(logSoftmax),
  rmsNorm: {
    make(g) {
      const shape = drawNormShape(g);
      const epsilon = g(fc.constantFrom, 1e-6, 1e-5, 0.1);
      return {
        inputs: [nonzeroFloats(g, shape), anyFloats(g, shape.slice(-1))],
        build: (x, gain) => rmsNorm(x!, gain!, epsilon),
      };
    },
    tolerance: 2e-5,
  },
  layerNorm: {
    make(g) {
      const shape = drawNormShape(g);
      const epsilon = g(fc.constantFrom, 1e-5, 0.1);
      return {
        inputs: [distinctFloats(g, shape), anyFloats(g, shape.slice(-1)), anyFloats(g, shape.slice(-1))],
        build: (x, gain, bias) => layerNorm(x!, gain!, bias!, epsilon),
      };
    },
    // The variance of neighbouring values amplifies their rounding.
    tolerance: 5e-4,
  },
  rotary: {
    make(g) {
      const half = g(fc.constantFrom, 1, 2, 3);
      const [batch, heads, time] = [drawSize(g, 0, 2), drawSize(g, 0, 3), drawSize(g, 0, 3)];
      const table = { ...anyFloats(g, [drawFlag(g) ? batch : 1, time, half]), constant: true };
      const sines = { ...anyFloats(g, table.shape), constant: true };
      return {
        inputs: [fixed(anyFloats(g, [batch, heads, time, 2 * half]), 3), fixed(table, 2), fixed(sines, 2)],
        build: rotary,
      };
    },
  },
} satisfies Partial<Record<OpName, OpCases>>;

export const reduceComposites: Record<string, OpCases> = {
  logSumExp: along((x, axis, [keepDims]) => logSumExp(x, axis, { keepDims }), distinctFloats, { mayBeEmpty: false }),
  sumTo: {
    make(g) {
      const [whole, part] = drawBroadcast(g, 2) as [number[], number[]];
      const both = whole.map((size, i) => ((part.at(i - whole.length) ?? 1) === 1 ? size : part.at(i - whole.length)!));
      const target = part.slice(-both.length || part.length);
      return both.length < part.length
        ? { inputs: [anyFloats(g, part)], build: (x) => sumTo(x, x.shape) }
        : { inputs: [anyFloats(g, both), anyFloats(g, target)], build: (x, like) => sumTo(x!, like!.shape) };
    },
  },
  "max where elements are equal": {
    // One value repeated along the reduced axis and scaled as a whole: every element moves together.
    make(g) {
      const rows = drawSize(g, 1);
      const columns = drawSize(g, 1);
      return {
        inputs: [anyFloats(g, [rows, 1])],
        build: (x) => max(broadcastTo(x, [x.dim(0), columns]), -1),
      };
    },
  },
};

export { drawIndex };
