import fc from "fast-check";
import { addMatmul, flattenRows, int4Block, int4Matmul, int8Matmul, matmul, transposeMatrix } from "../../src/index.ts";
import type { OpName } from "../../src/ops/index.ts";
import {
  anyFloats,
  drawBroadcast,
  drawFlag,
  drawShape,
  drawSize,
  fixed,
  type Gen,
  gridFloats,
  integersOf,
  type OpCases,
  positiveFloats,
} from "./case.ts";

function drawProduct(g: Gen) {
  const options = { transA: drawFlag(g), transB: drawFlag(g), alpha: g(fc.constantFrom, 1, 0.5, -2) };
  const [rows, inner, columns] = [drawSize(g), drawSize(g), drawSize(g)];
  const left = options.transA ? [inner, rows] : [rows, inner];
  const right = options.transB ? [columns, inner] : [inner, columns];
  return { options, rows, columns, left, right };
}

export const linearCases = {
  matmul: {
    make(g) {
      const { options, left, right } = drawProduct(g);
      const batches = drawBroadcast(g, 2, { maxRank: 2 }) as [number[], number[]];
      // A batch of matrices times one matrix is the commonest product of all.
      const [a, b] = g(fc.constantFrom, batches, [batches[0], []], [[], batches[1]]) as [number[], number[]];
      return {
        inputs: [anyFloats(g, [...a, ...left]), anyFloats(g, [...b, ...right])],
        build: (x, y) => matmul(x!, y!, options),
      };
    },
  },
  addMatmul: {
    make(g) {
      const { options, rows, columns, left, right } = drawProduct(g);
      const summand = g(fc.constantFrom, [rows, columns], [1, columns], [rows, 1], [columns], [1], []);
      return {
        inputs: [anyFloats(g, summand), anyFloats(g, left), anyFloats(g, right)],
        build: (c, x, y) => addMatmul(c!, x!, y!, options),
      };
    },
  },
  // Rows that 8 bits hold exactly, so that the kernel's rounding of rows is no rounding.
  int8Matmul: {
    make(g) {
      const [inner, columns] = [drawSize(g, 1), drawSize(g, 1)];
      return {
        inputs: [
          fixed(gridFloats(g, [drawSize(g), inner]), 1),
          fixed(integersOf(g, "int8", [inner, columns], -127, 127), 0, 1),
          { ...fixed(positiveFloats(g, [columns]), 0), constant: true },
        ],
        build: (x, w, scales) => int8Matmul(x!, w!, scales!),
      };
    },
  },
  int4Matmul: {
    make(g) {
      const [blocks, columns, rows] = [1, 1, 0].map((min, i) => g(fc.integer, { min, max: 3 - i })) as [number, number, number]; // biome-ignore format: sizes
      return {
        inputs: [
          fixed(gridFloats(g, [rows, blocks * int4Block], int4Block), 1),
          fixed(integersOf(g, "uint8", [columns, blocks, int4Block / 2], 0, 255), 0, 1, 2),
          { ...fixed(positiveFloats(g, [columns * blocks]), 0), constant: true },
          fixed(anyFloats(g, [columns, blocks]), 0, 1),
        ],
        build: (x, w, scales, offsets) => int4Matmul(x!, w!, scales!, offsets!),
      };
    },
  },
} satisfies Partial<Record<OpName, OpCases>>;

export const linearComposites: Record<string, OpCases> = {
  transposeMatrix: {
    make: (g) => ({ inputs: [anyFloats(g, drawShape(g, { minRank: 2 }))], build: (x) => transposeMatrix(x) }),
  },
  flattenRows: {
    make: (g) => ({ inputs: [anyFloats(g, drawShape(g, { minRank: 1 }))], build: (x) => flattenRows(x) }),
  },
};
