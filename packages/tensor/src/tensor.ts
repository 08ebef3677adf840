import type { Dim, Shape } from "./dims.ts";
import { formatShape } from "./dims.ts";
import { callerLine, TensorError } from "./errors.ts";
import type { Node } from "./op.ts";
import * as elementwise from "./ops/elementwise.ts";
import * as linear from "./ops/matmul.ts";
import * as reduce from "./ops/reduce.ts";
import * as layout from "./ops/shape.ts";

/**
 * int8 and uint8 are what quantised weights are stored in; only products of such weights take them. float64 is for what must not be
 * rounded, elementwise and in reductions; WebGPU has none.
 */
export type DType = "float32" | "float16" | "float64" | "int32" | "bool" | "int8" | "uint8";

/** What is known of a tensor before it has values. */
export interface TensorType {
  readonly dtype: DType;
  readonly shape: Shape;
}

/** An operand of an elementwise op: a tensor, or a number that takes the other operand's type. */
export type Operand = Tensor | number;

/**
 * A symbolic tensor: one output of one node of a graph that is still being written. It has a type and a shape but no
 * values; `compile` turns the graph behind some tensors into a program that computes them.
 */
export class Tensor implements TensorType {
  readonly node: Node;
  /** Which output of the node this is. */
  readonly index: number;
  readonly dtype: DType;
  readonly shape: Shape;

  constructor(node: Node, index: number, type: TensorType) {
    this.node = node;
    this.index = index;
    this.dtype = type.dtype;
    this.shape = type.shape;
  }

  get rank(): number {
    return this.shape.length;
  }

  /** Size along an axis; negative axes count from the end. */
  dim(axis: number): Dim {
    const dim = this.shape[axis < 0 ? axis + this.rank : axis];
    if (dim === undefined) throw new TensorError(`axis ${axis} does not exist in ${this}\n  at ${callerLine()}`);
    return dim;
  }

  add(other: Operand): Tensor {
    return elementwise.add(this, other);
  }
  sub(other: Operand): Tensor {
    return elementwise.sub(this, other);
  }
  mul(other: Operand): Tensor {
    return elementwise.mul(this, other);
  }
  div(other: Operand): Tensor {
    return elementwise.div(this, other);
  }
  neg(): Tensor {
    return elementwise.neg(this);
  }
  exp(): Tensor {
    return elementwise.exp(this);
  }
  log(): Tensor {
    return elementwise.log(this);
  }
  square(): Tensor {
    return elementwise.mul(this, this);
  }
  sqrt(): Tensor {
    return elementwise.sqrt(this);
  }
  cast(dtype: DType): Tensor {
    return elementwise.cast(this, dtype);
  }
  sum(axes?: number | readonly number[], options?: reduce.ReduceOptions): Tensor {
    return reduce.sum(this, axes, options);
  }
  mean(axes?: number | readonly number[], options?: reduce.ReduceOptions): Tensor {
    return reduce.mean(this, axes, options);
  }
  max(axes?: number | readonly number[], options?: reduce.ReduceOptions): Tensor {
    return reduce.max(this, axes, options);
  }
  matmul(other: Tensor, options?: linear.MatmulOptions): Tensor {
    return linear.matmul(this, other, options);
  }
  reshape(shape: Shape): Tensor {
    return layout.reshape(this, shape);
  }
  transpose(permutation?: readonly number[]): Tensor {
    return layout.transpose(this, permutation);
  }
  slice(axis: number, start: Dim, end?: Dim): Tensor {
    return layout.slice(this, axis, start, end);
  }

  toString(): string {
    return `${this.dtype}${formatShape(this.shape)}`;
  }
}
