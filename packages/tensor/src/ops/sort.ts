import { type Dim, numel } from "../dims.ts";
import type { Value } from "../onnx/builder.ts";
import { fromFront, normalizeAxis, op, reject, requireNumbers } from "../op.ts";
import type { Tensor } from "../tensor.ts";
import { scatterAddAlong } from "./gather.ts";
import { fill } from "./source.ts";

interface TopKAttrs {
  readonly k: Dim;
  readonly axis: number;
  readonly largest: boolean;
}

const leading = op<TopKAttrs, "topK">("topK", {
  infer([x], { k, axis }) {
    const size = x!.shape[normalizeAxis(axis, x!.rank)]!;
    requireNumbers(x!);
    if (typeof k === "number" && (!Number.isInteger(k) || k < 0 || (typeof size === "number" && k > size)))
      reject(`expected 0 ≤ k ≤ ${size}, got ${k}`);
    const shape = x!.shape.map((dim, i) => (i === axis ? k : dim));
    return [
      { dtype: x!.dtype, shape },
      { dtype: "int32", shape },
    ];
  },
  lower(g, [x], { k, axis, largest }, node) {
    const { dtype, shape } = node.inputs[0]!;
    const given = node.outputs[0]!.shape;
    if (given.includes(0)) return [g.expand(x!, dtype, given), g.expand(x!, "int32", given)];
    const topK = (value: Value, along: number) => {
      const [values, places] = g.calls("TopK", [value, g.dims([k])], 2, {
        axis: along,
        largest: largest ? 1 : 0,
        sorted: 1,
      });
      return [values!, g.call("Cast", [places!], { to: g.elementType("int32") })];
    };
    const lead = shape.slice(0, axis);
    if (lead.every((dim) => typeof dim === "number")) return topK(x!, axis);
    // ONNX Runtime divides by the number of rows before the axis, and with none the process ends: give it one more.
    const rest = shape.slice(axis);
    const rows = g.call("Reshape", [x!, g.dims([numel(lead), ...rest])], { allowzero: 1 });
    const spare = g.expand(g.scalar(dtype, 0), dtype, [1, ...rest]);
    return topK(g.call("Concat", [rows, spare], { axis: 0 }), 1).map((value) => {
      const cut = g.call("Slice", [value, g.int64([0]), g.int64([-1]), g.int64([0])]);
      return g.call("Reshape", [cut, g.dims(given)], { allowzero: 1 });
    });
  },
  grad: ({ dy, x: [x], ys, attrs: { axis } }) => [scatterAddAlong(fill(x!.shape, 0, dy.dtype), ys[1]!, dy, axis)],
});

export { leading as topKOp };

export interface Ordered {
  readonly values: Tensor;
  /** Where each value stood, int32. */
  readonly indices: Tensor;
}

/** The k largest (or smallest) elements along an axis, in order; among equals the lower index first. */
export function topK(x: Tensor, k: Dim, options: { axis?: number; largest?: boolean } = {}): Ordered {
  const { axis = -1, largest = true } = options;
  const [values, indices] = leading.apply([x], { k, axis: fromFront(axis, x.rank), largest });
  return { values: values!, indices: indices! };
}

/** All elements of an axis in order, ascending unless told otherwise. */
export function sort(x: Tensor, options: { axis?: number; descending?: boolean } = {}): Ordered {
  const { axis = -1, descending = false } = options;
  return topK(x, x.shape[fromFront(axis, x.rank)] ?? 0, { axis, largest: descending });
}
