import { type Dim, isSymbolName, numel, type Shape } from "../dims.ts";
import { callerLine, TensorError } from "../errors.ts";
import { op, zeroGradient } from "../op.ts";
import type { DType, Tensor } from "../tensor.ts";

export type TypedData = Float32Array | Float64Array | Int32Array | Uint8Array | Int8Array | Uint16Array;

/** Where a frozen weight's values are: in memory, or in a range of a file that is then memory-mapped. */
export type WeightSource = { readonly data: TypedData } | { readonly path: string; readonly offset: number };

export interface InputAttrs {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: Shape;
  /** A weight keeps one value for the life of the compiled graph; an input is fed on each run. */
  readonly source?: WeightSource | undefined;
}

/** A named input of the graph; `compile` declares it from its attributes. */
export const graphInput = op<InputAttrs, "input">("input", {
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  lower: (g, _inputs, attrs) => g.declareInput(attrs),
  grad: zeroGradient,
});

/**
 * Declares an input that is fed on each run. Dimensions are sizes or names; a name stands for one size in the whole graph.
 * @throws TensorError when a dimension is neither
 */
export function input(name: string, dtype: DType, shape: Shape): Tensor {
  checkShape(name, shape);
  return graphInput.one([], { name, dtype, shape });
}

/**
 * Declares a frozen weight: read once from memory or from a file (little-endian, row-major).
 * @throws TensorError when the data's length does not fit the shape
 */
export function weight(name: string, shape: readonly number[], source: WeightSource, dtype: DType = "float32"): Tensor {
  checkShape(name, shape);
  const count = numel(shape);
  if ("data" in source && source.data.length !== count)
    throw new TensorError(
      `weight "${name}" of shape [${shape}] needs ${count} values, got ${source.data.length}\n  at ${callerLine()}`,
    );
  return graphInput.one([], { name, dtype, shape, source });
}

function checkShape(name: string, shape: Shape): void {
  for (const dim of shape)
    if (typeof dim === "string" ? !isSymbolName(dim) : !Number.isSafeInteger(dim) || dim < 0)
      throw new TensorError(
        `input "${name}": expected sizes or names as dimensions, got ${JSON.stringify(dim)}\n  at ${callerLine()}`,
      );
}

export interface ConstantAttrs {
  readonly data: TypedData;
  readonly dtype: DType;
  readonly shape: readonly number[];
}

const literal = op<ConstantAttrs, "constant">("constant", {
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  lower: (g, _inputs, { dtype, shape, data }) => g.constant(dtype, shape, data),
  grad: zeroGradient,
});

export { literal as constantOp };

/** A tensor whose values are part of the graph. float16 is given as its 16-bit patterns, bool as 0 and 1. */
export function constant(data: TypedData, shape: readonly number[], dtype: DType = dtypeOf(data)): Tensor {
  const count = numel(shape);
  if (data.length !== count)
    throw new TensorError(
      `a constant of shape [${shape}] needs ${count} values, got ${data.length}\n  at ${callerLine()}`,
    );
  return literal.one([], { data, dtype, shape });
}

export function dtypeOf(data: TypedData): DType {
  if (data instanceof Float32Array) return "float32";
  if (data instanceof Float64Array) return "float64";
  if (data instanceof Int32Array) return "int32";
  if (data instanceof Int8Array) return "int8";
  return data instanceof Uint16Array ? "float16" : "bool";
}

export interface FillAttrs {
  readonly value: number;
  readonly dtype: DType;
  readonly shape: Shape;
}

const filled = op<FillAttrs, "fill">("fill", {
  infer: (_inputs, { dtype, shape }) => ({ dtype, shape }),
  lower: (g, _inputs, { value, dtype, shape }) =>
    shape.length === 0 ? g.scalar(dtype, value) : g.expand(g.scalar(dtype, value), dtype, shape),
  grad: zeroGradient,
});

export { filled as fillOp };

/** A tensor of one repeated value; symbolic dimensions must belong to some input of the graph. */
export function fill(shape: Shape, value: number, dtype: DType = "float32"): Tensor {
  return filled.one([], { value, dtype, shape });
}

export function scalar(value: number, dtype: DType = "float32"): Tensor {
  return fill([], value, dtype);
}

const counting = op<{ length: Dim }, "iota">("iota", {
  infer: (_inputs, { length }) => ({ dtype: "int32", shape: [length] }),
  lower: (g, _inputs, { length }) =>
    typeof length === "number"
      ? g.constant(
          "int32",
          [length],
          Int32Array.from({ length }, (_, i) => i),
        )
      : g.call("Range", [
          g.scalar("int32", 0),
          g.call("Cast", [g.call("Squeeze", [g.dims([length])])], { to: g.elementType("int32") }),
          g.scalar("int32", 1),
        ]),
  grad: zeroGradient,
});

export { counting as iotaOp };

/** 0, 1, … length − 1 as int32. */
export function iota(length: Dim): Tensor {
  return counting.one([], { length });
}

const size = op<{ dim: Dim; dtype: DType }, "size">("size", {
  infer: (_inputs, { dtype }) => ({ dtype, shape: [] }),
  lower: (g, _inputs, { dim, dtype }) =>
    typeof dim === "number"
      ? g.scalar(dtype, dim)
      : g.call("Cast", [g.call("Squeeze", [g.dims([dim])])], { to: g.elementType(dtype) }),
  grad: zeroGradient,
});

export { size as sizeOp };

/** A dimension as a scalar tensor: what a symbolic size is at run time. */
export function sizeOf(dim: Dim, dtype: DType = "int32"): Tensor {
  return size.one([], { dim, dtype });
}
