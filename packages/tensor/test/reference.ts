import { dimValue, type Shape } from "../src/dims.ts";
import { nodesBehind } from "../src/grad.ts";
import { fromHalf } from "../src/onnx/float16.ts";
import type { Node } from "../src/op.ts";
import type { AttrsOf, OpName } from "../src/ops/index.ts";
import { bodyOf } from "../src/ops/loop.ts";
import type { DType, Tensor } from "../src/tensor.ts";

/** Values in float64 whatever the tensor's type; bool as 0 and 1. */
export interface Values {
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

interface Call {
  readonly node: Node;
  /** Type of the first output. */
  readonly dtype: DType;
  readonly feeds: Readonly<Record<string, Values>>;
  /** Sizes of a shape whose symbols the feeds have settled. */
  sizes(shape: Shape): number[];
}

type Kernel<Attrs> = (inputs: readonly Values[], attrs: Attrs, call: Call) => Values | readonly Values[];

/**
 * What the graph behind some tensors computes, from each op's definition in plain loops: the yardstick of the op tests.
 * It shares no code with the lowering to ONNX and rounds nothing to float32.
 */
export function evaluate(outputs: readonly Tensor[], feeds: Readonly<Record<string, Values>> = {}): Values[] {
  const nodes = nodesBehind(outputs);
  const symbols = new Map<string, number>();
  for (const { op, attrs } of nodes)
    if (op.name === "input") {
      const { name, shape, source } = attrs as AttrsOf<"input">;
      if (!source)
        shape.forEach((dim, axis) => {
          if (typeof dim === "string") symbols.set(dim, feeds[name]!.shape[axis]!);
        });
    }
  const sizes = (shape: Shape) => shape.map((dim) => dimValue(dim, symbols));
  const values = new Map<Tensor, Values>();
  evaluateNodes(nodes, values, feeds, sizes);
  return outputs.map((y) => values.get(y)!);
}

function evaluateNodes(
  nodes: readonly Node[],
  values: Map<Tensor, Values>,
  feeds: Call["feeds"],
  sizes: Call["sizes"],
): void {
  for (const node of nodes) {
    const inputs = node.inputs.map((x) => values.get(x)!);
    const kernel = kernels[node.op.name as OpName] as Kernel<unknown>;
    const made = kernel(inputs, node.attrs, { node, dtype: node.outputs[0]!.dtype, feeds, sizes });
    const list = "data" in made ? [made] : made;
    node.outputs.forEach((y, i) => {
      const value = list[i]!;
      const declared = sizes(y.shape);
      if (value.shape.length !== declared.length || value.shape.some((size, axis) => size !== declared[axis]))
        throw new Error(`${node.op.name}: the shape rule says [${declared}], the values are [${value.shape}]`);
      values.set(y, value);
    });
  }
}

/** A tensor whose element at an index (one number an axis) is `at(index)`. The index is reused: copy it to keep it. */
function make(shape: readonly number[], at: (index: readonly number[]) => number): Values {
  const data = new Float64Array(shape.reduce((a, b) => a * b, 1));
  const index = shape.map(() => 0);
  for (let i = 0; i < data.length; i++) {
    data[i] = at(index);
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      index[axis]!++;
      if (index[axis]! < shape[axis]!) break;
      index[axis] = 0;
    }
  }
  return { shape, data };
}

/** Row-major position of an index. Leading axes the tensor lacks are left out and axes of size 1 repeat (broadcasting). */
function position({ shape }: Values, index: readonly number[]): number {
  const lead = index.length - shape.length;
  let at = 0;
  for (let axis = 0; axis < shape.length; axis++)
    at = at * shape[axis]! + (shape[axis] === 1 ? 0 : index[lead + axis]!);
  return at;
}

function read(x: Values, index: readonly number[]): number {
  return x.data[position(x, index)]!;
}

function broadcast(inputs: readonly Values[]): number[] {
  const shape: number[] = [];
  for (const x of inputs)
    for (let fromEnd = 1; fromEnd <= x.shape.length; fromEnd++) {
      const size = x.shape[x.shape.length - fromEnd]!;
      const at = fromEnd - 1;
      if (size !== 1 || shape[at] === undefined) shape[at] = size;
    }
  return shape.reverse();
}

function elementwise(f: (...operands: number[]) => number): Kernel<undefined> {
  return (inputs) => make(broadcast(inputs), (index) => f(...inputs.map((x) => read(x, index))));
}

function replaced(index: readonly number[], axis: number, value: number): number[] {
  const copy = [...index];
  copy[axis] = value;
  return copy;
}

/** The elements a reduction gathers for each of its results, combined by `f`. */
function reduction(f: (elements: number[]) => number): Kernel<AttrsOf<"sum">> {
  return ([x], { axes, keepDims }) => {
    const kept = x!.shape.map((size, axis) => (axes.includes(axis) ? 1 : size));
    const extents = x!.shape.map((size, axis) => (axes.includes(axis) ? size : 1));
    const full = make(kept, (index) => {
      const elements: number[] = [];
      make(extents, (inner) => elements.push(read(x!, index.map((i, axis) => i + inner[axis]!)))); // biome-ignore format: one loop over the reduced axes
      return f(elements);
    });
    return keepDims ? full : { shape: x!.shape.filter((_, axis) => !axes.includes(axis)), data: full.data };
  };
}

/** Each vector along an axis replaced by `f` of it. */
function along(x: Values, axis: number, f: (vector: number[]) => number[]): Values {
  const count = x.shape[axis]!;
  return make(x.shape, (index) => {
    const vector = Array.from({ length: count }, (_, i) => read(x, replaced(index, axis, i)));
    return f(vector)[index[axis]!]!;
  });
}

const total = (numbers: readonly number[]) => numbers.reduce((a, b) => a + b, 0);

/** erf(x) = 2/√π · exp(−x²) · Σ 2ⁿ x²ⁿ⁺¹ / (2n + 1)!!, whose terms all have one sign. */
function erf(x: number): number {
  if (Math.abs(x) > 6) return Math.sign(x);
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) {
    term *= (2 * x * x) / (2 * n + 1);
    sum += term;
  }
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

function product(a: Values, b: Values, { transA, transB, alpha }: AttrsOf<"matmul">): Values {
  const element = (x: Values, batch: readonly number[], i: number, j: number) => read(x, [...batch, i, j]);
  const [rowsA, columnsA] = a.shape.slice(-2) as [number, number];
  const [rowsB, columnsB] = b.shape.slice(-2) as [number, number];
  const batch = broadcast([a, b].map(({ shape, data }) => ({ shape: shape.slice(0, -2), data })));
  const inner = transA ? rowsA : columnsA;
  return make([...batch, transA ? columnsA : rowsA, transB ? rowsB : columnsB], (index) => {
    const lead = index.slice(0, -2);
    const [i, j] = index.slice(-2) as [number, number];
    let sum = 0;
    for (let k = 0; k < inner; k++)
      sum += (transA ? element(a, lead, k, i) : element(a, lead, i, k)) * (transB ? element(b, lead, j, k) : element(b, lead, k, j)); // biome-ignore format: a row times a column
    return alpha * sum;
  });
}

function checkedIndex(index: number, size: number): number {
  if (!(index >= 0 && index < size)) throw new RangeError(`index ${index} is outside 0 … ${size - 1}`);
  return index;
}

/** Vectors of the last axis with their mean and variance. */
function moments(x: Values, index: readonly number[]): { mean: number; variance: number; meanSquare: number } {
  const axis = x.shape.length - 1;
  const vector = Array.from({ length: x.shape[axis]! }, (_, i) => read(x, replaced(index, axis, i)));
  const mean = total(vector) / vector.length;
  const average = (f: (v: number) => number) => total(vector.map(f)) / vector.length;
  return { mean, variance: average((v) => (v - mean) ** 2), meanSquare: average((v) => v * v) };
}

/** A kernel an op: the type makes a missing one a compile error. */
const kernels: { [Name in OpName]: Kernel<AttrsOf<Name>> } = {
  input: (_, { name, source, dtype, shape }, { feeds }) => {
    if (!source) return feeds[name]!;
    if (!("data" in source)) throw new Error("the reference reads no files");
    return { shape: shape as number[], data: decode(source.data, dtype) };
  },
  constant: (_, { data, dtype, shape }) => ({ shape, data: decode(data, dtype) }),
  fill: (_, { value, shape }, { sizes }) => make(sizes(shape), () => value),
  iota: (_, { length }, { sizes }) => make(sizes([length]), ([i]) => i!),
  size: (_, { dim }, { sizes }) => make([], () => sizes([dim])[0]!),

  add: elementwise((a, b) => a + b),
  sub: elementwise((a, b) => a - b),
  mul: elementwise((a, b) => a * b),
  div: (inputs, attrs, call) =>
    elementwise(call.dtype === "int32" ? (a, b) => Math.trunc(a / b) : (a, b) => a / b)(inputs, attrs, call),
  maximum: elementwise(Math.max),
  minimum: elementwise(Math.min),
  neg: elementwise((x) => -x),
  abs: elementwise(Math.abs),
  sign: elementwise(Math.sign),
  floor: elementwise(Math.floor),
  exp: elementwise(Math.exp),
  log: elementwise(Math.log),
  sqrt: elementwise(Math.sqrt),
  reciprocal: elementwise((x) => 1 / x),
  power: ([x], { exponent }, call) => elementwise((v) => v ** exponent)([x!], undefined, call),
  clip: ([x], { min, max }, call) => elementwise((v) => Math.min(max, Math.max(min, v)))([x!], undefined, call),
  sin: elementwise(Math.sin),
  cos: elementwise(Math.cos),
  tanh: elementwise(Math.tanh),
  erf: elementwise(erf),
  sigmoid: elementwise(sigmoid),
  softplus: elementwise((x) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)))),
  relu: elementwise((x) => (x > 0 ? x : 0)),
  silu: elementwise((x) => x * sigmoid(x)),
  gelu: elementwise((x) => (x * (1 + erf(x / Math.SQRT2))) / 2),
  geluTanh: elementwise((x) => (x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3)))) / 2),
  not: elementwise((x) => 1 - x),
  and: elementwise((a, b) => a * b),
  or: elementwise(Math.max),
  equal: elementwise((a, b) => (a === b ? 1 : 0)),
  less: elementwise((a, b) => (a < b ? 1 : 0)),
  lessEqual: elementwise((a, b) => (a <= b ? 1 : 0)),
  where: elementwise((condition, a, b) => (condition ? a : b)),
  cast: ([x], { dtype }, call) => {
    const to: Partial<Record<DType, (v: number) => number>> = { int32: Math.trunc, bool: (v) => (v === 0 ? 0 : 1) };
    return elementwise(to[dtype] ?? ((v) => v))([x!], undefined, call);
  },
  stopGradient: ([x]) => x!,

  sum: reduction(total),
  mean: reduction((elements) => total(elements) / elements.length),
  max: reduction((elements) => Math.max(...elements)),
  min: reduction((elements) => Math.min(...elements)),
  argMax: ([x], { axis }, call) => {
    const at = axis < 0 ? axis + x!.shape.length : axis;
    const best = along(x!, at, (vector) => vector.map(() => vector.indexOf(Math.max(...vector))));
    const shape = call.sizes(call.node.outputs[0]!.shape);
    return make(shape, (index) => read(best, [...index.slice(0, at), 0, ...index.slice(at)]));
  },
  cumulativeSum: ([x], { axis, reverse, exclusive }) =>
    along(x!, axis < 0 ? axis + x!.shape.length : axis, (vector) =>
      vector.map((own, i) => total(reverse ? vector.slice(i) : vector.slice(0, i + 1)) - (exclusive ? own : 0)),
    ),

  matmul: ([a, b], attrs) => product(a!, b!, attrs),
  int8Matmul: ([x, w, scales]) =>
    make([x!.shape[0]!, w!.shape[1]!], ([row, column]) =>
      total(
        Array.from(
          { length: w!.shape[0]! },
          (_, i) => read(x!, [row!, i]) * read(w!, [i, column!]) * scales!.data[column!]!,
        ),
      ),
    ),
  int4Matmul: ([x, w, scales]) => {
    const [columns, blocks] = w!.shape as [number, number, number];
    const half = (bytes: Values, at: number) => (bytes.data[at >> 1]! >> (4 * (at % 2))) & 15;
    return make([x!.shape[0]!, columns], ([row, column]) =>
      total(
        Array.from({ length: 32 * blocks }, (_, i) => {
          const block = Math.floor(i / 32);
          const value = half(w!, 32 * blocks * column! + i) - 8;
          return read(x!, [row!, i]) * value * scales!.data[column! * blocks + block]!;
        }),
      ),
    );
  },
  addMatmul: ([c, a, b], attrs, call) => elementwise((p, q) => p + q)([c!, product(a!, b!, attrs)], undefined, call),

  softmax: ([x], { axis }) =>
    along(x!, axis, (vector) => {
      const powers = vector.map((v) => Math.exp(v - Math.max(...vector)));
      return powers.map((p) => p / total(powers));
    }),
  logSoftmax: ([x], { axis }) =>
    along(x!, axis, (vector) => {
      const top = Math.max(...vector);
      const sum = top + Math.log(total(vector.map((v) => Math.exp(v - top))));
      return vector.map((v) => v - sum);
    }),
  rmsNorm: ([x, gain], { epsilon }) => {
    const inverse = (index: readonly number[]) => 1 / Math.sqrt(moments(x!, index).meanSquare + epsilon);
    return [
      make(x!.shape, (index) => read(x!, index) * inverse(index) * read(gain!, index.slice(-1))),
      make([...x!.shape.slice(0, -1), 1], inverse),
    ];
  },
  layerNorm: ([x, gain, bias], { epsilon }) => {
    const inverse = (index: readonly number[]) => 1 / Math.sqrt(moments(x!, index).variance + epsilon);
    const outer = [...x!.shape.slice(0, -1), 1];
    const normal = (index: readonly number[]) => (read(x!, index) - moments(x!, index).mean) * inverse(index);
    return [
      make(x!.shape, (index) => normal(index) * read(gain!, index.slice(-1)) + read(bias!, index.slice(-1))),
      make(outer, (index) => moments(x!, index).mean),
      make(outer, inverse),
    ];
  },
  rotary: ([x, cos, sin], { inverse }) => {
    const half = x!.shape[3]! / 2;
    return make(x!.shape, ([batch, head, time, i]) => {
      const pair = i! % half;
      const angle = [batch!, time!, pair];
      const c = read(cos!, angle);
      const s = (inverse ? -1 : 1) * read(sin!, angle);
      const first = read(x!, [batch!, head!, time!, pair]);
      const second = read(x!, [batch!, head!, time!, pair + half]);
      return i! < half ? first * c - second * s : second * c + first * s;
    });
  },

  reshape: ([x], { shape }, { sizes }) => ({ shape: sizes(shape), data: x!.data }),
  transpose: ([x], { permutation }) =>
    make(
      permutation.map((axis) => x!.shape[axis]!),
      (index) => {
        return read(
          x!,
          permutation.map((_, axis) => index[permutation.indexOf(axis)]!),
        );
      },
    ),
  broadcastTo: ([x], { shape }, { sizes }) => make(sizes(shape), (index) => read(x!, index)),
  slice: ([x], { axis, start, end, step }, { sizes }) => {
    const [from, to] = sizes([start, end]) as [number, number];
    const picked = Array.from({ length: x!.shape[axis]! }, (_, i) => i).filter(
      (i) => i >= from && i < to && (i - from) % step === 0,
    );
    const shape = replaced(x!.shape, axis, picked.length);
    return make(shape, (index) => x!.data[exactPosition(x!, replaced(index, axis, picked[index[axis]!]!))]!);
  },
  concat: (inputs, { axis }) => {
    const shape = replaced(inputs[0]!.shape, axis, total(inputs.map((x) => x.shape[axis]!)));
    return make(shape, (index) => {
      let at = index[axis]!;
      for (const x of inputs) {
        if (at < x.shape[axis]!) return x.data[exactPosition(x, replaced(index, axis, at))]!;
        at -= x.shape[axis]!;
      }
      throw new RangeError("outside every part");
    });
  },
  pad: ([x], { axis, before, after }, { sizes }) => {
    const [front, back] = sizes([before, after]) as [number, number];
    const size = x!.shape[axis]!;
    return make(replaced(x!.shape, axis, front + size + back), (index) => {
      const at = index[axis]! - front;
      return at < 0 || at >= size ? 0 : x!.data[exactPosition(x!, replaced(index, axis, at))]!;
    });
  },
  flip: ([x], { axis }) =>
    make(x!.shape, (index) => read(x!, replaced(index, axis, x!.shape[axis]! - 1 - index[axis]!))),
  after: ([x]) => x!,

  gather: ([x, indices], { axis }) => {
    const rank = indices!.shape.length;
    return make([...x!.shape.slice(0, axis), ...indices!.shape, ...x!.shape.slice(axis + 1)], (index) => {
      const at = checkedIndex(read(indices!, index.slice(axis, axis + rank)), x!.shape[axis]!);
      return x!.data[exactPosition(x!, [...index.slice(0, axis), at, ...index.slice(axis + rank)])]!;
    });
  },
  gatherAlong: ([x, indices], { axis }) =>
    make(indices!.shape, (index) => {
      const at = checkedIndex(indices!.data[exactPosition(indices!, index)]!, x!.shape[axis]!);
      return x!.data[exactPosition(x!, replaced(index, axis, at))]!;
    }),
  scatterAdd: ([x, indices, updates]) => {
    const sum = { shape: x!.shape, data: Float64Array.from(x!.data) };
    const rank = indices!.shape.length;
    make(updates!.shape, (index) => {
      const row = checkedIndex(read(indices!, index.slice(0, rank)), x!.shape[0]!);
      sum.data[exactPosition(sum, [row, ...index.slice(rank)])]! += read(updates!, index);
      return 0;
    });
    return sum;
  },
  scatterAddAlong: ([x, indices, updates], { axis }) => {
    const sum = { shape: x!.shape, data: Float64Array.from(x!.data) };
    make(updates!.shape, (index) => {
      const at = checkedIndex(indices!.data[exactPosition(indices!, index)]!, x!.shape[axis]!);
      sum.data[exactPosition(sum, replaced(index, axis, at))]! += read(updates!, index);
      return 0;
    });
    return sum;
  },
  loop(inputs, { steps, parameters: [step, ...before], results }, { sizes }) {
    const { body, captured } = bodyOf([step!, ...before], results);
    const outer = new Map(captured.map((x, i) => [x, inputs[before.length + i]!]));
    let states = inputs.slice(0, before.length);
    for (let i = 0, on = true; on && i < sizes([steps])[0]!; i++) {
      const values = new Map([...outer, ...before.map((x, s) => [x, states[s]!] as const)]);
      values.set(step!, { shape: [], data: Float64Array.of(i) });
      evaluateNodes(body, values, {}, sizes);
      const [proceed, ...after] = results.map((y) => values.get(y)!);
      on = proceed!.data[0] === 1;
      states = after;
    }
    return states;
  },
  loopParameter: () => {
    throw new Error("a loop's states have values within its body alone");
  },
  topK: ([x], { axis, k, largest }, { sizes }) => {
    const shape = replaced(x!.shape, axis, sizes([k])[0]!);
    const order = (index: readonly number[]) => {
      const vector = Array.from({ length: x!.shape[axis]! }, (_, i) => read(x!, replaced(index, axis, i)));
      const places = vector.map((_, i) => i);
      // Array.prototype.sort is stable: of equal values the lower place comes first.
      return { vector, places: places.sort((i, j) => (largest ? vector[j]! - vector[i]! : vector[i]! - vector[j]!)) };
    };
    return [
      make(shape, (index) => {
        const { vector, places } = order(index);
        return vector[places[index[axis]!]!]!;
      }),
      make(shape, (index) => order(index).places[index[axis]!]!),
    ];
  },
  customGradient: (inputs, { outputs }) => inputs.slice(0, outputs),
};

/** `position` for an index that must lie within the tensor: no axis repeats. */
function exactPosition(x: Values, index: readonly number[]): number {
  if (index.length !== x.shape.length) throw new RangeError(`index [${index}] into a tensor of shape [${x.shape}]`);
  return index.reduce((at, i, axis) => at * x.shape[axis]! + checkedIndex(i, x.shape[axis]!), 0);
}

function decode(data: ArrayLike<number>, dtype: DType): Float64Array {
  return Float64Array.from(data, dtype === "float16" ? fromHalf : (v) => v);
}
