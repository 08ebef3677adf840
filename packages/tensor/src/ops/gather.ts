import { type Dim, dimMul, formatShape, type Shape, sameShape } from "../dims.ts";
import type { GraphBuilder, Value } from "../onnx/builder.ts";
import { fromFront, normalizeAxis, op, reject, requireInteger, requireNumbers, requireSameType } from "../op.ts";
import type { DType, Tensor } from "../tensor.ts";
import { equal } from "./elementwise.ts";
import { expandDims, transpose } from "./shape.ts";
import { fill, iota } from "./source.ts";

const picking = op<{ axis: number }, "gather">("gather", {
  infer([x, indices], { axis }) {
    normalizeAxis(axis, x!.rank);
    requireInteger(indices!, "indices");
    return { dtype: x!.dtype, shape: [...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)] };
  },
  lower: (g, x, { axis }) => g.call("Gather", x, { axis }),
  grad({ dy, x: [x, indices], attrs: { axis } }) {
    // Bring the picked axis to the front on both sides, add rows, and bring it back.
    const back = moveToFront(x!.rank, axis, 1);
    const shape = back.map((from) => x!.shape[from]!);
    const rows = scatterAdd(
      fill(shape, 0, dy.dtype),
      indices!,
      transpose(dy, moveToFront(dy.rank, axis, indices!.rank)),
    );
    return [
      transpose(
        rows,
        back.map((_, i) => back.indexOf(i)),
      ),
      null,
    ];
  },
});

export { picking as gatherOp };

/** The permutation that brings `count` axes from `axis` on to the front. */
function moveToFront(rank: number, axis: number, count: number): number[] {
  const moved = Array.from({ length: count }, (_, i) => axis + i);
  return [...moved, ...Array.from({ length: rank }, (_, i) => i).filter((i) => !moved.includes(i))];
}

/**
 * Slices of x at int32 indices along an axis: x [.., n, ..], indices [k, …] → [.., k, …, ..]. An index outside the axis
 * is an error at run time. With axis 0 this is an embedding lookup.
 */
export function gather(x: Tensor, indices: Tensor, axis = 0): Tensor {
  return picking.one([x, indices], { axis: fromFront(axis, x.rank) });
}

const adding = op<undefined, "scatterAdd">("scatterAdd", {
  infer([x, indices, updates]) {
    requireInteger(indices!, "indices");
    requireSameType(x!, updates!);
    requireNumbers(x!);
    const expected: Shape = [...indices!.shape, ...x!.shape.slice(1)];
    if (x!.rank < 1 || !sameShape(updates!.shape, expected))
      reject(`expected updates of shape ${formatShape(expected)}, got ${formatShape(updates!.shape)}`);
    return x!;
  },
  lower(g, [x, indices, updates], _attrs, node) {
    const [{ shape }, { shape: named }] = node.inputs as readonly [Tensor, Tensor];
    const { dtype } = node.outputs[0]!;
    if (g.device !== "cpu") {
      const rows = asRows(g, indices!, named);
      return g.call("ScatterND", [x!, rows, updates!], { reduction: "add" });
    }
    // There ScatterND's threads add to one row without waiting for each other: sums of rows that are named twice would lose what one adds
    // while another does, and differ from run to run. ScatterElements goes through its updates in order.
    const each: Shape = [named.reduce(dimMul, 1), ...shape.slice(1)];
    const column = g.call("Reshape", [indices!, g.dims(each.map((dim, axis) => (axis === 0 ? dim : 1)))], {
      allowzero: 1,
    });
    const places = g.expand(g.call("Cast", [column], { to: g.elementType("int32") }), "int32", each);
    const flat = g.call("Reshape", [updates!, g.dims(each)], { allowzero: 1 });
    return addingWide(g, dtype, [x!, flat], (into, from) =>
      g.call("ScatterElements", [into, places, from], { axis: 0, reduction: "add" }),
    );
  },
  grad: ({ dy, x: [, indices] }) => [dy, null, gather(dy, indices!)],
});

export { adding as scatterAddOp };

/** [k, …] int32 → [k, …, 1] int64, the form ScatterND takes. */
function asRows(g: GraphBuilder, indices: Value, shape: readonly Dim[]): Value {
  const wide = g.call("Cast", [indices], { to: g.int64Type });
  return g.call("Reshape", [wide, g.dims([...shape, 1])], { allowzero: 1 });
}

/** Halves added as float32: ONNX Runtime's CPU kernels take none. */
function addingWide(
  g: GraphBuilder,
  dtype: DType,
  [x, updates]: readonly [Value, Value],
  add: (into: Value, from: Value) => Value,
): Value {
  if (g.device !== "cpu" || dtype !== "float16") return add(x, updates);
  const cast = (value: Value, to: DType) => g.call("Cast", [value], { to: g.elementType(to) });
  return cast(add(cast(x, "float32"), cast(updates, "float32")), dtype);
}

/** x with updates added to its rows: x [n, …], indices [k], updates [k, …]; rows named twice receive both. */
export function scatterAdd(x: Tensor, indices: Tensor, updates: Tensor): Tensor {
  return adding.one([x, indices, updates], undefined);
}

const pickingAlong = op<{ axis: number }, "gatherAlong">("gatherAlong", {
  infer([x, indices], { axis }) {
    normalizeAxis(axis, x!.rank);
    requireInteger(indices!, "indices");
    requireSameExtent(x!, indices!, axis);
    return { dtype: x!.dtype, shape: indices!.shape };
  },
  lower: (g, x, { axis }) => g.call("GatherElements", x, { axis }),
  grad: ({ dy, x: [x, indices], attrs: { axis } }) => [
    scatterAddAlong(fill(x!.shape, 0, dy.dtype), indices!, dy, axis),
    null,
  ],
});

export { pickingAlong as gatherAlongOp };

function requireSameExtent(x: Tensor, indices: Tensor, axis: number): void {
  if (indices.rank !== x.rank || indices.shape.some((dim, i) => i !== axis && dim !== x.shape[i]))
    reject(`indices ${formatShape(indices.shape)} must match ${formatShape(x.shape)} off axis ${axis}`);
}

/** One element per index along an axis: out[i, j] = x[i, indices[i, j]] for the last axis of a matrix. */
export function gatherAlong(x: Tensor, indices: Tensor, axis = -1): Tensor {
  return pickingAlong.one([x, indices], { axis: fromFront(axis, x.rank) });
}

const addingAlong = op<{ axis: number }, "scatterAddAlong">("scatterAddAlong", {
  infer([x, indices, updates], { axis }) {
    normalizeAxis(axis, x!.rank);
    requireInteger(indices!, "indices");
    requireSameType(x!, updates!);
    requireNumbers(x!);
    requireSameExtent(x!, indices!, axis);
    if (!sameShape(indices!.shape, updates!.shape))
      reject(`indices ${formatShape(indices!.shape)} and updates ${formatShape(updates!.shape)} must have one shape`);
    return x!;
  },
  lower: (g, [x, indices, updates], { axis }, node) =>
    addingWide(g, node.outputs[0]!.dtype, [x!, updates!], (into, from) =>
      g.call("ScatterElements", [into, indices!, from], { axis, reduction: "add" }),
    ),
  grad: ({ dy, x: [, indices], attrs: { axis } }) => [dy, null, gatherAlong(dy, indices!, axis)],
});

export { addingAlong as scatterAddAlongOp };

/** x with updates added at indices along an axis: the transpose of `gatherAlong`. */
export function scatterAddAlong(x: Tensor, indices: Tensor, updates: Tensor, axis = -1): Tensor {
  return addingAlong.one([x, indices, updates], { axis: fromFront(axis, x.rank) });
}

/** Indices [..] → [.., depth], 1 at the index and 0 elsewhere. */
export function oneHot(indices: Tensor, depth: Dim): Tensor {
  return equal(expandDims(indices, -1), iota(depth)).cast("float32");
}
