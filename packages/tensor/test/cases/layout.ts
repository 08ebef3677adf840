import fc from "fast-check";
import {
  after,
  broadcastTo,
  concat,
  customGradient,
  dimMul,
  expandDims,
  fill,
  flip,
  gather,
  gatherAlong,
  less,
  loop,
  numel,
  oneHot,
  pad,
  reshape,
  type Shape,
  scalar,
  scatterAdd,
  scatterAddAlong,
  slice,
  sort,
  split,
  topK,
  transpose,
} from "../../src/index.ts";
import type { OpName } from "../../src/ops/index.ts";
import {
  anyFloats,
  bools,
  distinctFloats,
  drawAxis,
  drawFlag,
  drawIndex,
  drawShape,
  drawSize,
  fixed,
  type Gen,
  integers,
  type OpCases,
} from "./case.ts";

const someIntegers = (g: Gen, shape: readonly number[]) => integers(g, shape, -9, 9);

const anyValues = (g: Gen, shape: readonly number[]) =>
  g(fc.constantFrom, anyFloats, anyFloats, anyFloats, bools, someIntegers)(g, shape);

function drawNumbers(g: Gen) {
  return g(fc.constantFrom, anyFloats, anyFloats, someIntegers);
}

/** The axes of a shape joined in consecutive groups at random, with axes of size 1 in between. */
function drawGrouping(g: Gen, rank: number): (shape: Shape) => Shape {
  const joins = Array.from({ length: rank }, () => drawFlag(g));
  const ones = Array.from({ length: rank }, () => g(fc.nat, { max: 4 }) === 0);
  return (shape) => {
    const groups: (number | string)[] = [];
    shape.forEach((dim, i) => {
      if (ones[i]) groups.push(1);
      if (i > 0 && joins[i] && !ones[i]) groups.push(dimMul(groups.pop()!, dim));
      else groups.push(dim);
    });
    return groups;
  };
}

function drawOrder(g: Gen, rank: number): number[] {
  const order: number[] = [];
  for (let axis = 0; axis < rank; axis++) order.splice(drawIndex(g, axis + 1), 0, axis);
  return order;
}

/** A tensor with at least one axis, and one of its axes. */
function drawAlong(g: Gen, minSize = 0): { shape: number[]; axis: number; at: number; size: number } {
  const shape = drawShape(g, { minRank: 1, maxRank: 3 });
  const axis = drawAxis(g, shape.length);
  const at = axis < 0 ? axis + shape.length : axis;
  shape[at] = Math.max(minSize, shape[at]!);
  return { shape, axis, at, size: shape[at]! };
}

export const layoutCases = {
  reshape: {
    make(g) {
      const shape = drawShape(g);
      const [there, back] = [drawGrouping(g, shape.length), drawGrouping(g, shape.length)];
      const infer = g(fc.nat, { max: 4 });
      return {
        inputs: [anyValues(g, shape)],
        build(x) {
          const target = [...back(x!.shape)];
          if (infer < target.length && !shape.includes(0)) target[infer] = -1;
          return reshape(reshape(x!, there(x!.shape)), target);
        },
      };
    },
  },
  transpose: {
    make(g) {
      const shape = drawShape(g);
      const order = drawFlag(g) ? drawOrder(g, shape.length) : undefined;
      return { inputs: [anyValues(g, shape)], build: (x) => transpose(x!, order) };
    },
  },
  broadcastTo: {
    make(g) {
      const target = drawShape(g);
      const lead = g(fc.nat, { max: target.length });
      const repeated = target.map(() => drawFlag(g));
      const shape = target.slice(lead).map((size, i) => (repeated[lead + i] ? 1 : size));
      return {
        inputs: [anyValues(g, shape), anyFloats(g, target)],
        build: (x, like) => after(broadcastTo(x!, like!.shape), like!),
      };
    },
  },
  slice: {
    make(g) {
      const { shape, axis, size } = drawAlong(g);
      const start = g(fc.nat, { max: size });
      const end = g(fc.integer, { min: start, max: size });
      const step = g(fc.constantFrom, 1, 1, 2, 3);
      const fromEnd = [drawFlag(g) && start < size, drawFlag(g) && end < size];
      const given = anyValues(g, shape);
      return {
        inputs: [step === 1 ? given : fixed(given, axis)],
        build: (x) =>
          slice(x!, axis, fromEnd[0] ? start - size : start, end === size && fromEnd[0] ? undefined : fromEnd[1] ? end - size : end, step), // biome-ignore format: long
      };
    },
  },
  concat: {
    make(g) {
      const { shape, axis, at } = drawAlong(g);
      const count = g(fc.integer, { min: 1, max: 3 });
      const values = g(fc.constantFrom, anyFloats, bools);
      const inputs = Array.from({ length: count }, () => values(g, shape.with(at, drawSize(g))));
      return { inputs, build: (...parts) => concat(parts, axis) };
    },
  },
  pad: {
    make(g) {
      const { shape, axis } = drawAlong(g);
      const [before, behind] = [drawIndex(g, 3), drawIndex(g, 3)];
      return { inputs: [anyValues(g, shape)], build: (x) => pad(x!, axis, before, behind) };
    },
  },
  flip: {
    make(g) {
      const { shape, axis } = drawAlong(g);
      return { inputs: [anyValues(g, shape)], build: (x) => flip(x!, axis) };
    },
  },
  after: {
    make(g) {
      const others = [anyValues(g, drawShape(g)), anyValues(g, drawShape(g))];
      return { inputs: [anyValues(g, drawShape(g)), ...others], build: (x, ...first) => after(x!, ...first) };
    },
  },
  gather: {
    make(g) {
      const { shape, axis, size } = drawAlong(g, 1);
      const indices = integers(g, drawShape(g, { maxRank: 2 }), 0, size - 1);
      return { inputs: [anyValues(g, shape), indices], build: (x, at) => gather(x!, at!, axis) };
    },
  },
  gatherAlong: {
    make(g) {
      const { shape, axis, at, size } = drawAlong(g, 1);
      const indices = integers(g, shape.with(at, drawSize(g)), 0, size - 1);
      return { inputs: [anyValues(g, shape), indices], build: (x, where) => gatherAlong(x!, where!, axis) };
    },
  },
  scatterAdd: {
    make(g) {
      const shape = drawShape(g, { minRank: 1, maxRank: 3 });
      shape[0] = Math.max(1, shape[0]!);
      const indices = integers(g, drawShape(g, { maxRank: 2 }), 0, shape[0] - 1);
      const values = drawNumbers(g);
      const updates = values(g, [...indices.shape, ...shape.slice(1)]);
      return { inputs: [values(g, shape), indices, updates], build: scatterAdd };
    },
  },
  scatterAddAlong: {
    make(g) {
      const { shape, axis, at, size } = drawAlong(g, 1);
      const indices = integers(g, shape.with(at, drawSize(g)), 0, size - 1);
      const values = drawNumbers(g);
      return {
        inputs: [values(g, shape), indices, values(g, indices.shape)],
        build: (x, where, updates) => scatterAddAlong(x!, where!, updates!, axis),
      };
    },
  },
  topK: {
    make(g) {
      const { shape, axis, size } = drawAlong(g);
      const k = g(fc.nat, { max: size });
      const largest = drawFlag(g);
      return {
        inputs: [distinctFloats(g, shape)],
        build(x) {
          const { values, indices } = topK(x!, k, { axis, largest });
          return [values, indices];
        },
      };
    },
  },
  loop: {
    make(g) {
      const shape = drawShape(g);
      const steps = g(fc.nat, { max: 4 });
      const stop = g(fc.nat, { max: 5 });
      return {
        inputs: [
          { ...anyFloats(g, shape), constant: true },
          { ...anyFloats(g, shape), constant: true },
        ],
        // A sum that grows by what is outside, a state that stands still, and one that counts.
        build: (x, by) =>
          loop(steps, [x!, by!, scalar(0, "int32")], (step, [sum, same, count]) => ({
            proceed: less(step, stop),
            states: [sum!.mul(0.5).add(by!.mul(2)), same!, count!.add(step).add(1)],
          })),
      };
    },
  },
  loopParameter: {
    // Never by itself: two of a body, one of which the other step takes over.
    make(g) {
      const x = { ...anyFloats(g, drawShape(g)), constant: true };
      const y = { ...x, data: [...x.data].reverse() };
      return {
        inputs: [x, y],
        build: (x, y) => loop(3, [x!, y!], (step, [a, b]) => ({ proceed: less(step, 9), states: [b!, a!] })),
      };
    },
  },
  customGradient: {
    make(g) {
      const shape = drawShape(g);
      return {
        inputs: [anyFloats(g, shape), anyFloats(g, shape)],
        // x²·y and x·y with their true gradients, written out.
        build: (x, y) =>
          customGradient([x!, y!], (a, b) => {
            const both = a.mul(b);
            return {
              outputs: [a.mul(both), both],
              saved: [both],
              gradient: ({ dys, inputs, saved }) => [
                dys[0]!.mul(saved[0]!).mul(2).add(dys[1]!.mul(inputs[1]!)),
                dys[0]!.mul(inputs[0]!.square()).add(dys[1]!.mul(inputs[0]!)),
              ],
            };
          }),
      };
    },
  },
} satisfies Partial<Record<OpName, OpCases>>;

export const layoutComposites: Record<string, OpCases> = {
  expandDims: {
    make(g) {
      const shape = drawShape(g, { maxRank: 3 });
      const axis = drawAxis(g, shape.length + 1);
      return { inputs: [anyValues(g, shape)], build: (x) => expandDims(x!, axis) };
    },
  },
  split: {
    make(g) {
      const { shape, axis, size } = drawAlong(g);
      const first = g(fc.nat, { max: size });
      return { inputs: [fixed(anyValues(g, shape), axis)], build: (x) => split(x!, axis, [first, 0, size - first]) };
    },
  },
  sort: {
    make(g) {
      const { shape, axis } = drawAlong(g);
      const descending = drawFlag(g);
      return { inputs: [distinctFloats(g, shape)], build: (x) => Object.values(sort(x!, { axis, descending })) };
    },
  },
  "order of equal elements": {
    make(g) {
      const { shape, axis } = drawAlong(g);
      const descending = drawFlag(g);
      return { inputs: [integers(g, shape, 0, 2)], build: (x) => Object.values(sort(x!, { axis, descending })) };
    },
  },
  oneHot: {
    make(g) {
      const depth = drawSize(g);
      return { inputs: [integers(g, drawShape(g, { maxRank: 3 }), -1, depth)], build: (x) => oneHot(x!, depth) };
    },
  },
  "scatter into zeros, then gather": {
    make(g) {
      const rows = drawSize(g, 1);
      const indices = integers(g, [drawSize(g)], 0, rows - 1);
      const updates = anyFloats(g, [...indices.shape, drawSize(g)]);
      return {
        inputs: [indices, updates],
        build: (at, x) => gather(scatterAdd(fill([rows, x!.dim(1)], 0), at!, x!), at!),
      };
    },
  },
};

export { numel };
