import type { Block } from "./checkpoint.ts";
import { currentBlock } from "./checkpoint.ts";
import { callerLine, ShapeError } from "./errors.ts";
import type { GraphBuilder, Value } from "./onnx/builder.ts";
import { Tensor, type TensorType } from "./tensor.ts";

/** One application of an op. Nodes are numbered as they are made, so the numbers order every graph topologically. */
export interface Node<Attrs = unknown> {
  readonly id: number;
  readonly op: Op<Attrs>;
  readonly inputs: readonly Tensor[];
  readonly attrs: Attrs;
  readonly outputs: readonly Tensor[];
  /** The checkpointed block the node was made in. */
  readonly block: Block | undefined;
}

export interface GradContext<Attrs> {
  /** Gradient of the loss by the first output. */
  readonly dy: Tensor;
  /** Gradients by every output; undefined where the loss does not depend on it. */
  readonly dys: readonly (Tensor | undefined)[];
  readonly x: readonly Tensor[];
  /** The first output. */
  readonly y: Tensor;
  readonly ys: readonly Tensor[];
  readonly attrs: Attrs;
  /** Which inputs need a gradient; the others may be answered with null. */
  readonly needs: readonly boolean[];
}

/** The rules of an op. `grad` gives one gradient an input, null where it is zero or not needed. */
export interface OpRules<Attrs> {
  infer(inputs: readonly Tensor[], attrs: Attrs): TensorType | readonly TensorType[];
  lower(g: GraphBuilder, inputs: readonly Value[], attrs: Attrs, node: Node<Attrs>): Value | readonly Value[];
  grad(context: GradContext<Attrs>): readonly (Tensor | null)[];
}

export interface Op<Attrs = unknown, Name extends string = string> extends OpRules<Attrs> {
  readonly name: Name;
  /** Adds a node to the graph. @throws ShapeError */
  apply(inputs: readonly Tensor[], attrs: Attrs): readonly Tensor[];
  /** `apply` for the first output alone. */
  one(inputs: readonly Tensor[], attrs: Attrs): Tensor;
}

/** Thrown inside `infer`; `apply` adds the op, the operands and the caller's line. */
export class RuleViolation extends Error {}

/** Rejects operands from within an op's shape rule. */
export function reject(expected: string): never {
  throw new RuleViolation(expected);
}

let nextId = 0;

/** Declares an op: its shape rule, its ONNX lowering and its gradient, side by side. */
export function op<Attrs, const Name extends string>(name: Name, rules: OpRules<Attrs>): Op<Attrs, Name> {
  const self: Op<Attrs, Name> = {
    ...rules,
    name,
    apply(inputs, attrs) {
      const outputs: Tensor[] = [];
      const node: Node<Attrs> = { id: nextId++, op: self, inputs, attrs, outputs, block: currentBlock() };
      for (const type of inferTypes(self, inputs, attrs)) outputs.push(new Tensor(node, outputs.length, type));
      return outputs;
    },
    one(inputs, attrs) {
      return self.apply(inputs, attrs)[0]!;
    },
  };
  return self;
}

function inferTypes<Attrs>(op: Op<Attrs>, inputs: readonly Tensor[], attrs: Attrs): readonly TensorType[] {
  try {
    const types = op.infer(inputs, attrs);
    return "dtype" in types ? [types] : types;
  } catch (cause) {
    if (!(cause instanceof RuleViolation)) throw cause;
    throw new ShapeError(`${op.name}(${inputs.join(", ")}): ${cause.message}\n  at ${callerLine()}`);
  }
}

/** Gradient rule of an op that is constant almost everywhere (comparisons, rounding, indices). */
export function zeroGradient({ x }: GradContext<unknown>): readonly null[] {
  return x.map(() => null);
}

/** Axis counted from the front where there is such an axis; the op's shape rule rejects what is left as it was. */
export function fromFront(axis: number, rank: number): number {
  return axis < 0 && axis >= -rank ? axis + rank : axis;
}

/** Axis counted from the front. @throws RuleViolation when the rank has no such axis */
export function normalizeAxis(axis: number, rank: number): number {
  const normal = fromFront(axis, rank);
  if (!Number.isInteger(axis) || normal < 0 || normal >= rank)
    reject(rank === 0 ? "a scalar has no axes" : `axis ${axis} does not exist; expected ${-rank} … ${rank - 1}`);
  return normal;
}

export function isFloat(type: TensorType): boolean {
  return type.dtype === "float32" || type.dtype === "float16" || type.dtype === "float64";
}

export function requireFloat(...inputs: readonly Tensor[]): void {
  for (const x of inputs) if (!isFloat(x)) reject(`expected floats, got ${x.dtype}`);
}

export function requireNumbers(x: Tensor): void {
  if (x.dtype === "bool") reject("expected numbers, got bool; cast() them");
}

export function requireInteger(x: Tensor, what: string): void {
  if (x.dtype !== "int32") reject(`expected int32 ${what}, got ${x.dtype}`);
}

export function requireSameType(...inputs: readonly Tensor[]): void {
  const [first, ...rest] = inputs;
  for (const x of rest)
    if (x.dtype !== first!.dtype)
      reject(`operands must have one type; cast() one of them (${first!.dtype}, ${x.dtype})`);
}
