import { numel, type Shape, sameShape } from "../dims.ts";
import {
  fromFront,
  normalizeAxis,
  type Op,
  type OpRules,
  op,
  reject,
  requireFloat,
  requireInteger,
  requireNumbers,
  zeroGradient,
} from "../op.ts";
import type { Tensor, TensorType } from "../tensor.ts";
import { equal, log, stopGradient } from "./elementwise.ts";
import { broadcastTo, reshape } from "./shape.ts";
import { sizeOf } from "./source.ts";

export interface ReduceOptions {
  /** Keep reduced axes with size 1. */
  readonly keepDims?: boolean;
}

export interface ReduceAttrs {
  /** Counted from the front, ascending. */
  readonly axes: readonly number[];
  readonly keepDims: boolean;
}

function reducedShape(shape: Shape, { axes, keepDims }: ReduceAttrs): Shape {
  return shape.flatMap((dim, i) => (axes.includes(i) ? (keepDims ? [1] : []) : [dim]));
}

/** dy shaped so that it broadcasts against the input it was reduced from. */
function restoreAxes(dy: Tensor, x: Tensor, axes: readonly number[]): Tensor {
  return reshape(dy, reducedShape(x.shape, { axes, keepDims: true }));
}

function reduction<const Name extends string>(
  name: Name,
  rules: { onnx: string; check: (x: Tensor, attrs: ReduceAttrs) => void; grad: OpRules<ReduceAttrs>["grad"] },
): Op<ReduceAttrs, Name> {
  return op<ReduceAttrs, Name>(name, {
    infer([x], attrs) {
      for (const axis of attrs.axes) normalizeAxis(axis, x!.rank);
      rules.check(x!, attrs);
      return { dtype: x!.dtype, shape: reducedShape(x!.shape, attrs) };
    },
    lower: (g, [x], { axes, keepDims }) =>
      axes.length === 0 ? x! : g.call(rules.onnx, [x!, g.int64(axes)], { keepdims: keepDims ? 1 : 0 }),
    grad: rules.grad,
  });
}

function requireNonEmpty(x: Tensor, { axes }: ReduceAttrs): void {
  for (const axis of axes) if (x.shape[axis] === 0) reject(`axis ${axis} is empty; the result is undefined`);
}

function requireOrdered(x: Tensor, attrs: ReduceAttrs): void {
  requireNumbers(x);
  requireNonEmpty(x, attrs);
}

export const reduceSum = reduction("sum", {
  onnx: "ReduceSum",
  check: requireNumbers,
  grad: ({ dy, x: [x], attrs }) => [broadcastTo(restoreAxes(dy, x!, attrs.axes), x!.shape)],
});

export const reduceMean = reduction("mean", {
  onnx: "ReduceMean",
  check(x, attrs) {
    requireFloat(x);
    requireNonEmpty(x, attrs);
  },
  grad({ dy, x: [x], attrs }) {
    const count = numel(attrs.axes.map((axis) => x!.shape[axis]!));
    const spread = broadcastTo(restoreAxes(dy, x!, attrs.axes), x!.shape);
    return [typeof count === "number" ? spread.mul(1 / count) : spread.div(sizeOf(count, dy.dtype))];
  },
});

/** Largest element; elements that share the maximum share the gradient equally. */
export const reduceMax = reduction("max", {
  onnx: "ReduceMax",
  check: requireOrdered,
  grad: ({ dy, x: [x], y, attrs }) => [shareAmongEqual(dy, x!, y, attrs.axes)],
});

/** Smallest element; elements that share the minimum share the gradient equally. */
export const reduceMin = reduction("min", {
  onnx: "ReduceMin",
  check: requireOrdered,
  grad: ({ dy, x: [x], y, attrs }) => [shareAmongEqual(dy, x!, y, attrs.axes)],
});

function shareAmongEqual(dy: Tensor, x: Tensor, y: Tensor, axes: readonly number[]): Tensor {
  const chosen = equal(x, restoreAxes(y, x, axes)).cast(x.dtype);
  return chosen.mul(restoreAxes(dy, x, axes).div(sum(chosen, axes, { keepDims: true })));
}

function attrsOf(x: Tensor, axes: number | readonly number[] | undefined, options: ReduceOptions): ReduceAttrs {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === "number" ? [axes] : [...axes];
  const normal = list.map((axis) => fromFront(axis, x.rank)).sort((a, b) => a - b);
  return { axes: [...new Set(normal)], keepDims: options.keepDims ?? false };
}

/** Sum over the given axes, over all of them when none is given. */
export function sum(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceSum.one([x], attrsOf(x, axes, options));
}

/** Arithmetic mean over the given axes, over all of them when none is given. */
export function mean(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceMean.one([x], attrsOf(x, axes, options));
}

export function max(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceMax.one([x], attrsOf(x, axes, options));
}

export function min(x: Tensor, axes?: number | readonly number[], options: ReduceOptions = {}): Tensor {
  return reduceMin.one([x], attrsOf(x, axes, options));
}

/** log Σ exp(x) along an axis, stable: the maximum is taken out first. */
export function logSumExp(x: Tensor, axis = -1, options: ReduceOptions = {}): Tensor {
  // What is taken out is put back: the result does not vary with it.
  const top = stopGradient(max(x, axis, { keepDims: true }));
  const total = log(sum(x.sub(top).exp(), axis, { keepDims: true })).add(top);
  const at = fromFront(axis, x.rank);
  return options.keepDims
    ? total
    : reshape(
        total,
        x.shape.filter((_, i) => i !== at),
      );
}

/** Sums a broadcast result back to the shape of an operand. */
export function sumTo(x: Tensor, shape: Shape): Tensor {
  if (sameShape(x.shape, shape)) return x;
  const lead = x.rank - shape.length;
  const axes = x.shape.flatMap((dim, i) => (i < lead || (shape[i - lead] === 1 && dim !== 1) ? [i] : []));
  return reshape(sum(x, axes), shape);
}

const argument = op<{ axis: number }, "argMax">("argMax", {
  infer([x], { axis }): TensorType {
    const at = normalizeAxis(axis, x!.rank);
    requireOrdered(x!, { axes: [at], keepDims: false });
    return { dtype: "int32", shape: x!.shape.filter((_, i) => i !== at) };
  },
  lower(g, x, { axis }, node) {
    const { shape } = node.outputs[0]!;
    const places = g.call("Cast", [g.call("ArgMax", x, { axis, keepdims: 0 })], { to: g.elementType("int32") });
    // Of an empty tensor ArgMax returns the whole shape.
    const mayBeEmpty = shape.some((dim) => typeof dim === "string" || dim === 0);
    return mayBeEmpty ? g.call("Reshape", [places, g.dims(shape, { oneUnknown: true })], { allowzero: 1 }) : places;
  },
  grad: zeroGradient,
});

export { argument as argMaxOp };

/** Index of the (first) largest element along an axis, as int32. */
export function argMax(x: Tensor, axis = -1): Tensor {
  return argument.one([x], { axis });
}

export interface CumulativeOptions {
  /** Sum from the end. */
  readonly reverse?: boolean;
  /** Leave the element itself out. */
  readonly exclusive?: boolean;
}

const cumulative = op<{ axis: number; reverse: boolean; exclusive: boolean }, "cumulativeSum">("cumulativeSum", {
  infer([x], { axis }) {
    normalizeAxis(axis, x!.rank);
    if (x!.dtype !== "float32" && x!.dtype !== "float64") requireInteger(x!, "or float32 operand");
    return x!;
  },
  lower: (g, [x], { axis, reverse, exclusive }) =>
    g.call("CumSum", [x!, g.scalar("int32", axis)], { reverse: reverse ? 1 : 0, exclusive: exclusive ? 1 : 0 }),
  // The transpose of a running sum is the running sum from the other end.
  grad: ({ dy, attrs: { axis, reverse, exclusive } }) => [cumulativeSum(dy, axis, { reverse: !reverse, exclusive })],
});

export { cumulative as cumulativeSumOp };

/** Running sum along an axis. */
export function cumulativeSum(x: Tensor, axis = -1, options: CumulativeOptions = {}): Tensor {
  return cumulative.one([x], { axis, reverse: options.reverse ?? false, exclusive: options.exclusive ?? false });
}
