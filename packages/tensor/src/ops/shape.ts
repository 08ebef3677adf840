import {
  broadcastShapes,
  type Dim,
  dimAdd,
  dimDiv,
  dimMul,
  dimSub,
  formatShape,
  numel,
  type Shape,
  sameShape,
} from "../dims.ts";
import { callerLine, ShapeError } from "../errors.ts";
import { fromFront, normalizeAxis, op, reject, requireSameType } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";

const reshaping = op<{ shape: Shape }, "reshape">("reshape", {
  infer([x], { shape }) {
    if (shape.some((dim) => typeof dim === "number" && !(Number.isSafeInteger(dim) && dim >= 0)))
      reject(`expected sizes, names or one −1 that can be worked out, got ${formatShape(shape)}`);
    if (numel(x!.shape) !== numel(shape))
      reject(`cannot hold ${numel(x!.shape)} elements in the shape ${formatShape(shape)}`);
    return { dtype: x!.dtype, shape };
  },
  lower: (g, [x], { shape }) => g.call("Reshape", [x!, g.dims(shape, { oneUnknown: true })], { allowzero: 1 }),
  grad: ({ dy, x: [x] }) => [reshape(dy, x!.shape)],
});

export { reshaping as reshapeOp };

/**
 * The same elements, row-major, in another shape. One dimension may be −1 and is then worked out.
 * @throws ShapeError when the numbers of elements differ
 */
export function reshape(x: Tensor, shape: Shape): Tensor {
  const known = numel(shape.filter((dim) => dim !== -1));
  const missing = shape.indexOf(-1);
  // What cannot be worked out stays −1, and so does a second one: the op's shape rule names them.
  const target = shape.map((dim, i) => (i === missing ? (dimDiv(numel(x.shape), known) ?? -1) : dim));
  return sameShape(target, x.shape) ? x : reshaping.one([x], { shape: target });
}

/** Adds an axis of size 1. */
export function expandDims(x: Tensor, axis: number): Tensor {
  const at = fromFront(axis, x.rank + 1);
  if (!(at >= 0 && at <= x.rank))
    throw new ShapeError(`expandDims(${x}): axis ${axis} does not exist in the result\n  at ${callerLine()}`);
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)]);
}

const permutation = op<{ permutation: readonly number[] }, "transpose">("transpose", {
  infer([x], attrs) {
    const seen = [...attrs.permutation].sort((a, b) => a - b);
    if (seen.length !== x!.rank || seen.some((axis, i) => axis !== i))
      reject(`expected a permutation of 0 … ${x!.rank - 1}, got [${attrs.permutation}]`);
    return { dtype: x!.dtype, shape: attrs.permutation.map((axis) => x!.shape[axis]!) };
  },
  lower(g, x, { permutation }, node) {
    // Where axes of size 1 alone change their places nothing moves in memory: on a graphics processor that saves a kernel.
    const { shape } = node.inputs[0]!;
    const moved = permutation.filter((axis) => shape[axis] !== 1);
    if (g.device !== "cpu" && moved.every((axis, i) => i === 0 || axis > moved[i - 1]!))
      return g.call("Reshape", [x[0]!, g.dims(node.outputs[0]!.shape, { oneUnknown: true })], { allowzero: 1 });
    return g.call("Transpose", x, { perm: permutation });
  },
  grad: ({ dy, attrs }) => [
    transpose(
      dy,
      attrs.permutation.map((_, i) => attrs.permutation.indexOf(i)),
    ),
  ],
});

export { permutation as transposeOp };

/** Axes in another order; reversed when none is given. */
export function transpose(x: Tensor, order: readonly number[] = x.shape.map((_, i) => x.rank - 1 - i)): Tensor {
  return permutation.one([x], { permutation: order });
}

const expansion = op<{ shape: Shape }, "broadcastTo">("broadcastTo", {
  infer([x], { shape }) {
    const both = broadcastShapes(x!.shape, shape);
    if (!both || !sameShape(both, shape)) reject(`does not broadcast to ${formatShape(shape)}`);
    return { dtype: x!.dtype, shape };
  },
  lower: (g, [x], { shape }, node) => g.expand(x!, node.inputs[0]!.dtype, shape),
  grad: ({ dy, x: [x] }) => [sumTo(dy, x!.shape)],
});

export { expansion as broadcastToOp };

/** x repeated along axes of size 1 and new leading axes until it has the shape. */
export function broadcastTo(x: Tensor, shape: Shape): Tensor {
  return sameShape(x.shape, shape) ? x : expansion.one([x], { shape });
}

export interface SliceAttrs {
  readonly axis: number;
  readonly start: Dim;
  readonly end: Dim;
  readonly step: number;
}

function length({ start, end, step }: SliceAttrs): Dim {
  const span = dimSub(end, start);
  if (typeof span === "number") return Math.ceil(span / step);
  return step === 1 ? span : (dimDiv(span, step) ?? reject(`a step of ${step} needs a static extent, got ${span}`));
}

const slicing = op<SliceAttrs, "slice">("slice", {
  infer([x], attrs) {
    const { axis, start, end, step } = attrs;
    const size = x!.shape[normalizeAxis(axis, x!.rank)]!;
    if (!Number.isInteger(step) || step < 1) reject(`expected a step of at least 1, got ${step}`);
    for (const [what, bound] of [
      ["start", start],
      ["end", end],
    ] as const)
      if (
        typeof bound === "number" &&
        (!Number.isInteger(bound) || bound < 0 || (typeof size === "number" && bound > size))
      )
        reject(`${what} ${bound} is outside 0 … ${size} of axis ${axis}`);
    if (typeof start === "number" && typeof end === "number" && end < start)
      reject(`end ${end} lies before start ${start}`);
    return { dtype: x!.dtype, shape: x!.shape.map((dim, i) => (i === axis ? length(attrs) : dim)) };
  },
  lower: (g, [x], { axis, start, end, step }) =>
    g.call("Slice", [x!, g.dims([start]), g.dims([end]), g.int64([axis]), g.int64([step])]),
  grad({ dy, x: [x], attrs: { axis, start, end, step } }) {
    if (step === 1) return [pad(dy, axis, start, dimSub(x!.shape[axis]!, end))];
    // Zeros between the elements: [.., n, 1, ..] padded to [.., n, step, ..] and flattened.
    const spread = pad(expandDims(dy, axis + 1), axis + 1, 0, step - 1);
    const size = dimSub(x!.shape[axis]!, start);
    const shape = dy.shape.map((dim, i) => (i === axis ? dimMul(dim, step) : dim));
    const flat = reshape(spread, shape);
    const over = dimSub(flat.shape[axis]!, size);
    const cut = typeof over === "number" && over > 0 ? slice(flat, axis, 0, size) : flat;
    return [pad(cut, axis, start, dimSub(size, cut.shape[axis]!))];
  },
});

export { slicing as sliceOp };

/**
 * Elements start … end − 1 of an axis, every step-th one. Negative static bounds count from the end.
 * @throws ShapeError when a static bound is out of range
 */
export function slice(x: Tensor, axis: number, start: Dim, end?: Dim, step = 1): Tensor {
  const at = fromFront(axis, x.rank);
  const size = x.shape[at];
  // The op's shape rule says which axes there are.
  if (size === undefined) return slicing.one([x], { axis, start: 0, end: 0, step });
  const bound = (place: Dim) => (typeof place === "number" && place < 0 ? dimAdd(size, place) : place);
  const attrs = { axis: at, start: bound(start), end: bound(end ?? size), step };
  return attrs.start === 0 && attrs.end === size && step === 1 ? x : slicing.one([x], attrs);
}

/** Cuts an axis into parts of the given sizes. @throws ShapeError when the sizes do not add up */
export function split(x: Tensor, axis: number, sizes: readonly Dim[]): Tensor[] {
  let at: Dim = 0;
  const parts = sizes.map((size) => {
    const start = at;
    at = dimAdd(at, size);
    return { start, end: at };
  });
  if (at !== x.shape[fromFront(axis, x.rank)])
    throw new ShapeError(`split(${x}): sizes ${sizes.join(" + ")} are not those of axis ${axis}\n  at ${callerLine()}`);
  return parts.map(({ start, end }) => slice(x, axis, start, end));
}

const joining = op<{ axis: number }, "concat">("concat", {
  infer(inputs, { axis }) {
    const [first] = inputs;
    if (!first) reject("expected at least one tensor");
    requireSameType(...inputs);
    normalizeAxis(axis, first!.rank);
    let size: Dim = 0;
    for (const x of inputs) {
      if (x.rank !== first!.rank || x.shape.some((dim, i) => i !== axis && dim !== first!.shape[i]))
        reject(`shapes differ off axis ${axis}: ${formatShape(first!.shape)} and ${formatShape(x.shape)}`);
      size = dimAdd(size, x.shape[axis]!);
    }
    return { dtype: first!.dtype, shape: first!.shape.map((dim, i) => (i === axis ? size : dim)) };
  },
  lower: (g, x, { axis }) => g.call("Concat", x, { axis }),
  grad: ({ dy, x, attrs: { axis } }) =>
    split(
      dy,
      axis,
      x.map((part) => part.shape[axis]!),
    ),
});

export { joining as concatOp };

/** Tensors one after another along an axis. @throws ShapeError */
export function concat(parts: readonly Tensor[], axis = 0): Tensor {
  const [first] = parts;
  if (parts.length === 1) return first!;
  return joining.one(parts, { axis: first ? fromFront(axis, first.rank) : axis });
}

const padding = op<{ axis: number; before: Dim; after: Dim }, "pad">("pad", {
  infer([x], { axis, before, after }) {
    normalizeAxis(axis, x!.rank);
    for (const count of [before, after])
      if (typeof count === "number" && !(Number.isInteger(count) && count >= 0))
        reject(`expected padding of at least 0, got ${count}`);
    return {
      dtype: x!.dtype,
      shape: x!.shape.map((dim, i) => (i === axis ? dimAdd(dimAdd(before, dim), after) : dim)),
    };
  },
  lower: (g, [x], { axis, before, after }, node) =>
    g.call("Pad", [x!, g.dims([before, after]), g.scalar(node.inputs[0]!.dtype, 0), g.int64([axis])]),
  grad: ({ dy, x: [x], attrs: { axis, before } }) => [slice(dy, axis, before, dimAdd(before, x!.shape[axis]!))],
});

export { padding as padOp };

/** Zeros before and after an axis. */
export function pad(x: Tensor, axis: number, before: Dim, after: Dim): Tensor {
  if (before === 0 && after === 0) return x;
  return padding.one([x], { axis: fromFront(axis, x.rank), before, after });
}

const reversal = op<{ axis: number }, "flip">("flip", {
  infer([x], { axis }) {
    normalizeAxis(axis, x!.rank);
    return x!;
  },
  lower: (g, [x], { axis }) =>
    g.call("Slice", [x!, g.int64([-1]), g.int64([Number.MIN_SAFE_INTEGER]), g.int64([axis]), g.int64([-1])]),
  grad: ({ dy, attrs }) => [flip(dy, attrs.axis)],
});

export { reversal as flipOp };

/** The axis in reverse order. */
export function flip(x: Tensor, axis: number): Tensor {
  return reversal.one([x], { axis: fromFront(axis, x.rank) });
}

const ordering = op<undefined, "after">("after", {
  infer: ([x]) => x!,
  /*
   * An edge that carries no data: x's shape, with the zero elements of a cut of the other tensors appended, is what x
   * is reshaped to. Reshape is an alias, so this costs a few tiny kernels and no pass over x. The runtime neither
   * knows the shape beforehand (so it folds nothing) nor sees x twice (so it merges nothing).
   */
  lower(g, [x, ...others], _attrs, node) {
    const nothing = others.map((value) => {
      const flat = g.call("Reshape", [value, g.int64([-1])]);
      return g.call("Cast", [g.call("Slice", [flat, g.int64([0]), g.int64([0])])], { to: g.int64Type });
    });
    return g.call("Reshape", [x!, g.call("Concat", [g.dims(node.inputs[0]!.shape), ...nothing], { axis: 0 })], {
      allowzero: 1,
    });
  },
  grad: ({ dy, x }) => [dy, ...x.slice(1).map(() => null)],
});

export { ordering as afterOp };

/** x, computed from no earlier than the moment the others are there. Orders the work of a graph; values are unchanged. */
export function after(x: Tensor, ...others: readonly Tensor[]): Tensor {
  return others.length === 0 ? x : ordering.one([x, ...others], undefined);
}
