import { broadcastShapes, formatShape, type Shape } from "../dims.ts";
import { float, type GraphBuilder, type Value } from "../onnx/builder.ts";
import {
  type GradContext,
  type Node,
  type Op,
  op,
  reject,
  requireFloat,
  requireSameType,
  zeroGradient,
} from "../op.ts";
import type { DType, Operand, Tensor } from "../tensor.ts";
import { sumTo } from "./reduce.ts";
import { scalar } from "./source.ts";

type Lower = string | ((g: GraphBuilder, inputs: readonly Value[], node: Node<undefined>) => Value);
type Grad = (context: GradContext<undefined>) => readonly (Tensor | null)[];

type UnaryOp<Name extends string> = ((x: Tensor) => Tensor) & { readonly op: Op<undefined, Name> };
type BinaryOp<Name extends string> = ((a: Operand, b: Operand) => Tensor) & { readonly op: Op<undefined, Name> };

function lowering(lower: Lower): Op<undefined>["lower"] {
  return typeof lower === "string" ? (g, x) => g.call(lower, x) : (g, x, _attrs, node) => lower(g, x, node);
}

interface Kinds {
  /** Types the op takes; floats when not said. */
  readonly takes?: readonly DType[];
  readonly gives?: DType;
}

const floats: readonly DType[] = ["float32", "float16", "float64"];
const numbers: readonly DType[] = [...floats, "int32"];

function requireType(inputs: readonly Tensor[], takes: readonly DType[]): void {
  for (const x of inputs)
    if (!takes.includes(x.dtype)) reject(`expected ${takes.join(" or ")} operands, got ${x.dtype}`);
}

function unary<const Name extends string>(name: Name, rules: { lower: Lower; grad: Grad } & Kinds): UnaryOp<Name> {
  const entry = op<undefined, Name>(name, {
    infer(inputs) {
      requireType(inputs, rules.takes ?? floats);
      return { dtype: rules.gives ?? inputs[0]!.dtype, shape: inputs[0]!.shape };
    },
    lower: lowering(rules.lower),
    grad: rules.grad,
  });
  return Object.assign((x: Tensor) => entry.one([x], undefined), { op: entry });
}

/** Shape of elementwise operands under broadcasting. @throws RuleViolation */
function broadcast(inputs: readonly Tensor[]): Shape {
  let shape: Shape = [];
  for (const x of inputs)
    shape =
      broadcastShapes(shape, x.shape) ??
      reject(`shapes ${inputs.map((t) => formatShape(t.shape)).join(" and ")} do not broadcast together`);
  return shape;
}

function binary<const Name extends string>(name: Name, rules: { lower: Lower; grad: Grad } & Kinds): BinaryOp<Name> {
  const entry = op<undefined, Name>(name, {
    infer(inputs) {
      requireSameType(...inputs);
      requireType(inputs, rules.takes ?? numbers);
      return { dtype: rules.gives ?? inputs[0]!.dtype, shape: broadcast(inputs) };
    },
    lower: lowering(rules.lower),
    grad(context) {
      // An operand that was broadcast receives the sum over the axes it was repeated along.
      return rules.grad(context).map((dx, i) => dx && sumTo(dx, context.x[i]!.shape));
    },
  });
  return Object.assign((a: Operand, b: Operand) => entry.one(lift(a, b), undefined), { op: entry });
}

/** Gives numbers among operands the type of the first tensor. */
function lift(...operands: Operand[]): Tensor[] {
  const like = operands.find((x) => typeof x !== "number");
  return operands.map((x) => (typeof x === "number" ? scalar(x, like?.dtype ?? "float32") : x));
}

export const add = binary("add", { lower: "Add", grad: ({ dy }) => [dy, dy] });

export const sub = binary("sub", { lower: "Sub", grad: ({ dy, needs }) => [dy, needs[1] ? neg(dy) : null] });

export const mul = binary("mul", {
  lower: "Mul",
  grad: ({ dy, x: [a, b], needs }) => [needs[0] ? dy.mul(b!) : null, needs[1] ? dy.mul(a!) : null],
});

/** a / b; integers truncate towards zero. */
export const div = binary("div", {
  lower: "Div",
  // d(a/b) = da/b − (a/b)·db/b
  grad: ({ dy, x: [, b], y, needs }) => [dy.div(b!), needs[1] ? neg(dy.mul(y).div(b!)) : null],
});

/** Elementwise larger operand; equal operands share the gradient. */
export const maximum = binary("maximum", {
  lower: "Max",
  grad: ({ dy, x: [a, b] }) => [dy.mul(preference(a!, b!)), dy.mul(preference(b!, a!))],
});

/** Elementwise smaller operand; equal operands share the gradient. */
export const minimum = binary("minimum", {
  lower: "Min",
  grad: ({ dy, x: [a, b] }) => [dy.mul(preference(b!, a!)), dy.mul(preference(a!, b!))],
});

/** 1 where a > b, ½ where equal, else 0. */
function preference(a: Tensor, b: Tensor): Tensor {
  return greater(a, b).cast(a.dtype).add(greaterEqual(a, b).cast(a.dtype)).mul(0.5);
}

export const neg = unary("neg", { takes: numbers, lower: "Neg", grad: ({ dy }) => [dy.neg()] });

export const abs = unary("abs", { takes: numbers, lower: "Abs", grad: ({ dy, x: [x] }) => [dy.mul(sign(x!))] });

export const sign = unary("sign", { takes: numbers, lower: "Sign", grad: zeroGradient });

export const floor = unary("floor", { lower: "Floor", grad: zeroGradient });

export const exp = unary("exp", { lower: "Exp", grad: ({ dy, y }) => [dy.mul(y)] });

export const log = unary("log", { lower: "Log", grad: ({ dy, x: [x] }) => [dy.div(x!)] });

export const sqrt = unary("sqrt", { lower: "Sqrt", grad: ({ dy, y }) => [dy.mul(0.5).div(y)] });

export const reciprocal = unary("reciprocal", {
  lower: "Reciprocal",
  grad: ({ dy, y }) => [neg(dy.mul(y.square()))],
});

export const sin = unary("sin", { lower: "Sin", grad: ({ dy, x: [x] }) => [dy.mul(cos(x!))] });

export const cos: UnaryOp<"cos"> = unary("cos", { lower: "Cos", grad: ({ dy, x: [x] }) => [neg(dy.mul(sin(x!)))] });

export const tanh = unary("tanh", {
  lower: "Tanh",
  grad: ({ dy, y }) => [dy.mul(sub(1, y.square()))],
});

export const erf = unary("erf", {
  lower: "Erf",
  // d erf(x) = 2/√π · exp(−x²)
  grad: ({ dy, x: [x] }) => [
    dy.mul(
      neg(x!.square())
        .exp()
        .mul(2 / Math.sqrt(Math.PI)),
    ),
  ],
});

export const sigmoid = unary("sigmoid", {
  lower: "Sigmoid",
  grad: ({ dy, y }) => [dy.mul(y.mul(sub(1, y)))],
});

/** log(1 + exp(x)). */
export const softplus = unary("softplus", {
  lower: "Softplus",
  grad: ({ dy, x: [x] }) => [dy.mul(sigmoid(x!))],
});

/** log σ(x) = −softplus(−x): the term of every preference loss. */
export function logSigmoid(x: Tensor): Tensor {
  return neg(softplus(neg(x)));
}

export const relu = unary("relu", {
  lower: "Relu",
  grad: ({ dy, x: [x] }) => [dy.mul(greater(x!, 0).cast(x!.dtype))],
});

/** x·σ(x). */
export const silu = unary("silu", {
  lower(g, [x], node) {
    // QuickGelu(α) = x·σ(αx) is one pass on the CPU and CUDA; other providers and types take the product.
    if ((g.device === "cpu" || g.device === "cuda") && node.inputs[0]!.dtype === "float32")
      return g.call("com.microsoft.QuickGelu", [x!], { alpha: float(1) });
    return g.call("Mul", [x!, g.call("Sigmoid", [x!])]);
  },
  // d silu = σ(x)·(1 − y) + y
  grad: ({ dy, x: [x], y }) => [dy.mul(sigmoid(x!).mul(sub(1, y)).add(y))],
});

/** x·Φ(x) with Φ the normal distribution function. */
export const gelu = unary("gelu", {
  lower: (g, x) => g.call("Gelu", x, { approximate: "none" }),
  // d gelu = Φ(x) + x·φ(x)
  grad: ({ dy, x: [x] }) => {
    const cdf = erf(x!.mul(Math.SQRT1_2)).add(1).mul(0.5);
    const pdf = x!
      .square()
      .mul(-0.5)
      .exp()
      .mul(1 / Math.sqrt(2 * Math.PI));
    return [dy.mul(cdf.add(x!.mul(pdf)))];
  },
});

/** The tanh approximation of GELU: ½x(1 + tanh(√(2/π)(x + 0.044715x³))). */
export const geluTanh = unary("geluTanh", {
  lower: (g, x) => g.call("Gelu", x, { approximate: "tanh" }),
  grad: ({ dy, x: [x] }) => {
    const k = Math.sqrt(2 / Math.PI);
    const square = x!.square();
    const t = tanh(x!.mul(square.mul(0.044715 * k).add(k)));
    const slope = sub(1, t.square()).mul(square.mul(3 * 0.044715 * k).add(k));
    return [dy.mul(t.add(1).add(x!.mul(slope)).mul(0.5))];
  },
});

const logic: Kinds = { takes: ["bool"], gives: "bool" };
const comparison: Kinds = { takes: numbers, gives: "bool" };

export const not = unary("not", { ...logic, lower: "Not", grad: zeroGradient });
export const and = binary("and", { ...logic, lower: "And", grad: zeroGradient });
export const or = binary("or", { ...logic, lower: "Or", grad: zeroGradient });
export const equal = binary("equal", { ...comparison, lower: "Equal", grad: zeroGradient });
export const less = binary("less", { ...comparison, lower: "Less", grad: zeroGradient });
export const lessEqual = binary("lessEqual", { ...comparison, lower: "LessOrEqual", grad: zeroGradient });

export function greater(a: Operand, b: Operand): Tensor {
  return less(b, a);
}

export function greaterEqual(a: Operand, b: Operand): Tensor {
  return lessEqual(b, a);
}

/** x ** exponent for a fixed exponent. */
export const power = op<{ exponent: number }, "power">("power", {
  infer([x]) {
    requireFloat(x!);
    return x!;
  },
  lower: (g, [x], { exponent }, node) => g.call("Pow", [x!, g.scalar(node.inputs[0]!.dtype, exponent)]),
  grad: ({ dy, x: [x], attrs }) => [
    attrs.exponent === 0 ? null : dy.mul(pow(x!, attrs.exponent - 1).mul(attrs.exponent)),
  ],
});

export function pow(x: Tensor, exponent: number): Tensor {
  return power.one([x], { exponent });
}

/** Limits x to [min, max]; the gradient passes where x is inside, bounds included. */
export const limit = op<{ min: number; max: number }, "clip">("clip", {
  infer([x], { min, max }) {
    requireFloat(x!);
    if (!(min <= max)) reject(`expected min ≤ max, got ${min} and ${max}`);
    return x!;
  },
  lower: (g, [x], { min, max }, node) => {
    const { dtype } = node.inputs[0]!;
    return g.call("Clip", [x!, g.scalar(dtype, min), g.scalar(dtype, max)]);
  },
  grad: ({ dy, x: [x], attrs: { min, max } }) => [
    where(and(greaterEqual(x!, min), lessEqual(x!, max)), dy, scalar(0, dy.dtype)),
  ],
});

export function clip(x: Tensor, bounds: { min?: number; max?: number }): Tensor {
  return limit.one([x], { min: bounds.min ?? -Infinity, max: bounds.max ?? Infinity });
}

/** a where the condition holds, else b. */
export const select = op<undefined, "where">("where", {
  infer([condition, a, b]) {
    if (condition!.dtype !== "bool") reject(`expected a bool condition, got ${condition!.dtype}`);
    requireSameType(a!, b!);
    return { dtype: a!.dtype, shape: broadcast([condition!, a!, b!]) };
  },
  lower(g, [condition, a, b], _attrs, node) {
    if (node.inputs[1]!.dtype !== "bool") return g.call("Where", [condition!, a!, b!]);
    // ONNX Runtime's CPU has no Where of booleans: (condition ∧ a) ∨ (¬condition ∧ b).
    return g.call("Or", [g.call("And", [condition!, a!]), g.call("And", [g.call("Not", [condition!]), b!])]);
  },
  grad({ dy, x: [condition, a, b], needs }) {
    const zero = scalar(0, dy.dtype);
    return [
      null,
      needs[1] ? sumTo(where(condition!, dy, zero), a!.shape) : null,
      needs[2] ? sumTo(where(condition!, zero, dy), b!.shape) : null,
    ];
  },
});

export function where(condition: Tensor, a: Operand, b: Operand): Tensor {
  return select.one([condition, ...lift(a, b)], undefined);
}

/** The same values in another type; float to integer truncates towards zero. */
export const convert = op<{ dtype: DType }, "cast">("cast", {
  infer: ([x], { dtype }) => ({ dtype, shape: x!.shape }),
  lower: (g, x, { dtype }) => g.call("Cast", x, { to: g.elementType(dtype) }),
  grad: ({ dy, x: [x] }) => [floats.includes(x!.dtype) ? cast(dy, x!.dtype) : null],
});

export function cast(x: Tensor, dtype: DType): Tensor {
  return x.dtype === dtype ? x : convert.one([x], { dtype });
}

/** x itself, cut off from gradients. */
export const stop = op<undefined, "stopGradient">("stopGradient", {
  infer: ([x]) => x!,
  lower: (_g, [x]) => x!,
  grad: zeroGradient,
});

export function stopGradient(x: Tensor): Tensor {
  return stop.one([x], undefined);
}
