import type { Dim } from "../dims.ts";
import { normalizeAxis, op, reject } from "../op.ts";
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
    if (x!.dtype === "bool") reject("expected numbers, got bool");
    if (typeof k === "number" && (!Number.isInteger(k) || k < 0 || (typeof size === "number" && k > size)))
      reject(`expected 0 ≤ k ≤ ${size}, got ${k}`);
    const shape = x!.shape.map((dim, i) => (i === axis ? k : dim));
    return [
      { dtype: x!.dtype, shape },
      { dtype: "int32", shape },
    ];
  },
  lower(g, [x], { k, axis, largest }) {
    const [values, indices] = g.calls("TopK", [x!, g.dims([k])], 2, { axis, largest: largest ? 1 : 0, sorted: 1 });
    return [values!, g.call("Cast", [indices!], { to: g.elementType("int32") })];
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
  const [values, indices] = leading.apply([x], { k, axis: axis < 0 ? axis + x.rank : axis, largest });
  return { values: values!, indices: indices! };
}

/** All elements of an axis in order, ascending unless told otherwise. */
export function sort(x: Tensor, options: { axis?: number; descending?: boolean } = {}): Ordered {
  const { axis = -1, descending = false } = options;
  return topK(x, x.dim(axis), { axis, largest: descending });
}
