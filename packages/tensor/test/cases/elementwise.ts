import fc from "fast-check";
import {
  abs,
  add,
  after,
  and,
  cast,
  clip,
  constant,
  cos,
  div,
  equal,
  erf,
  exp,
  fill,
  floor,
  gelu,
  geluTanh,
  greater,
  greaterEqual,
  iota,
  less,
  lessEqual,
  log,
  logSigmoid,
  maximum,
  minimum,
  mul,
  neg,
  not,
  type Operand,
  or,
  pow,
  reciprocal,
  relu,
  sigmoid,
  sign,
  silu,
  sin,
  sizeOf,
  softplus,
  sqrt,
  stopGradient,
  sub,
  type Tensor,
  tanh,
  where,
} from "../../src/index.ts";
import type { OpName } from "../../src/ops/index.ts";
import {
  anyFloats,
  bools,
  type CaseInput,
  coarseFloats,
  distinctFloats,
  drawBroadcast,
  drawFlag,
  drawShape,
  drawSize,
  type Gen,
  integers,
  nonzeroFloats,
  numel,
  type OpCases,
  offGridFloats,
  positiveFloats,
} from "./case.ts";

type Values = (g: Gen, shape: readonly number[]) => CaseInput;

const smallIntegers: Values = (g, shape) => integers(g, shape, -4, 4);

function unary(build: (x: Tensor) => Tensor, values: Values = anyFloats): OpCases {
  return { make: (g) => ({ inputs: [values(g, drawShape(g))], build }) };
}

/** Two operands that broadcast; a number instead of one of them now and then; int32 where `integer` values are given. */
function binary(
  build: (a: Operand, b: Operand) => Tensor,
  [left, right]: readonly [Values, Values] = [anyFloats, anyFloats],
  integer?: readonly [Values, Values],
): OpCases {
  return {
    make(g) {
      const [a, b] = drawBroadcast(g, 2) as [number[], number[]];
      const kind = g(fc.nat, { max: 7 });
      if (kind === 0) return { inputs: [left(g, a)], build: (x) => build(x, 0.75) };
      if (kind === 1) return { inputs: [right(g, a)], build: (x) => build(1.5, x) };
      const [p, q] = kind === 2 && integer ? integer : [left, right];
      return { inputs: [p(g, a), q(g, b)], build };
    },
  };
}

const comparing: readonly [Values, Values] = [coarseFloats, coarseFloats];
const integerPair: readonly [Values, Values] = [smallIntegers, smallIntegers];
const lanes: readonly [Values, Values] = [(g, s) => distinctFloats(g, s, 1), (g, s) => distinctFloats(g, s, 2)];
const boolPair: readonly [Values, Values] = [bools, bools];
const exponents = [-2, -1, 0, 0.5, 1, 2, 3];

/** Logic takes no numbers as operands. */
function logic(build: (a: Tensor, b: Tensor) => Tensor): OpCases {
  return {
    make(g) {
      const [a, b] = drawBroadcast(g, 2) as [number[], number[]];
      return { inputs: [boolPair[0](g, a), boolPair[1](g, b)], build };
    },
  };
}

export const elementwiseCases = {
  input: unary((x) => x),
  constant: {
    make(g) {
      const shape = drawShape(g);
      const data = Float32Array.from(anyFloats(g, shape).data);
      return { inputs: [], build: () => constant(data, shape) };
    },
  },
  fill: {
    make(g) {
      const dtype = g(fc.constantFrom, "float32" as const, "int32" as const, "bool" as const);
      return { inputs: [anyFloats(g, drawShape(g))], build: (x) => after(fill(x!.shape, 1, dtype), x!) };
    },
  },
  iota: { make: (g) => ({ inputs: [anyFloats(g, [drawSize(g)])], build: (x) => after(iota(x!.dim(0)), x!) }) },
  size: {
    make(g) {
      const dtype = g(fc.constantFrom, "float32" as const, "int32" as const);
      return { inputs: [anyFloats(g, [drawSize(g)])], build: (x) => after(sizeOf(x!.dim(0), dtype), x!) };
    },
  },

  add: binary(add, [anyFloats, anyFloats], integerPair),
  sub: binary(sub, [anyFloats, anyFloats], integerPair),
  mul: binary(mul, [anyFloats, anyFloats], integerPair),
  div: binary(div, [anyFloats, nonzeroFloats], [smallIntegers, (g, shape) => integers(g, shape, 1, 3)]),
  maximum: binary(maximum, lanes, integerPair),
  minimum: binary(minimum, lanes, integerPair),
  neg: unary(neg),
  abs: unary(abs, nonzeroFloats),
  sign: unary(sign, nonzeroFloats),
  floor: unary(floor, offGridFloats),
  exp: unary(exp),
  log: unary(log, positiveFloats),
  sqrt: unary(sqrt, positiveFloats),
  reciprocal: unary(reciprocal, nonzeroFloats),
  power: {
    make(g) {
      const exponent = g(fc.constantFrom, ...exponents);
      const values = Number.isInteger(exponent) ? nonzeroFloats : positiveFloats;
      return { inputs: [values(g, drawShape(g))], build: (x) => pow(x, exponent) };
    },
    tolerance: 1e-5,
  },
  clip: {
    make(g) {
      const bounds = g(fc.constantFrom, { min: -1, max: 0.5 }, { min: 0 }, { max: 1 }, {});
      return { inputs: [offGridFloats(g, drawShape(g))], build: (x) => clip(x, bounds) };
    },
  },
  sin: unary(sin),
  cos: unary(cos),
  tanh: unary(tanh),
  erf: unary(erf),
  sigmoid: unary(sigmoid),
  softplus: unary(softplus),
  relu: unary(relu, nonzeroFloats),
  silu: unary(silu),
  gelu: unary(gelu),
  geluTanh: unary(geluTanh),
  not: unary(not, bools),
  and: logic(and),
  or: logic(or),
  equal: binary(equal, comparing, integerPair),
  less: binary(less, comparing, integerPair),
  lessEqual: binary(lessEqual, comparing, integerPair),
  where: {
    make(g) {
      const [condition, a, b] = drawBroadcast(g, 3) as [number[], number[], number[]];
      const values = g(fc.constantFrom, anyFloats, smallIntegers, bools);
      if (values === anyFloats && drawFlag(g))
        return { inputs: [bools(g, condition), anyFloats(g, a)], build: (c, x) => where(c!, x!, 0.5) };
      return { inputs: [bools(g, condition), values(g, a), values(g, b)], build: where };
    },
  },
  cast: {
    make(g) {
      const from = g(fc.constantFrom, offGridFloats, smallIntegers, bools);
      const to = g(fc.constantFrom, "float32" as const, "int32" as const, "bool" as const);
      return { inputs: [from(g, drawShape(g))], build: (x) => cast(x, to) };
    },
  },
  stopGradient: { ...unary((x) => stopGradient(x)), zeroGradient: "that is what the op is for" },
} satisfies Partial<Record<OpName, OpCases>>;

/** What is made of those ops and has no entry of its own. */
export const elementwiseComposites: Record<string, OpCases> = {
  logSigmoid: unary(logSigmoid),
  greater: binary(greater, comparing, integerPair),
  greaterEqual: binary(greaterEqual, comparing, integerPair),
  "integer abs, neg, sign": unary((x) => abs(neg(x)).mul(sign(x)), smallIntegers),
  "a whole expression": {
    make(g) {
      const [a, b, c] = drawBroadcast(g, 3) as [number[], number[], number[]];
      return {
        inputs: [anyFloats(g, a), positiveFloats(g, b), anyFloats(g, c)],
        build: (x, y, z) => tanh(x!.mul(y!).add(z!)).div(y!.add(1)).mul(log(y!)).sub(sigmoid(z!)),
      };
    },
  },
  "an operand used twice": {
    make: (g) => ({ inputs: [anyFloats(g, drawShape(g))], build: (x) => x!.mul(x!).add(x!).mul(x!.exp()) }),
  },
};

export { numel };
