import fc from "fast-check";
import { addMatmul, flattenRows, matmul, transposeMatrix } from "../../src/index.ts";
import type { OpName } from "../../src/ops/index.ts";
import { anyFloats, drawBroadcast, drawFlag, drawShape, drawSize, type Gen, type OpCases } from "./case.ts";

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
} satisfies Partial<Record<OpName, OpCases>>;

export const linearComposites: Record<string, OpCases> = {
  transposeMatrix: {
    make: (g) => ({ inputs: [anyFloats(g, drawShape(g, { minRank: 2 }))], build: (x) => transposeMatrix(x) }),
  },
  flattenRows: {
    make: (g) => ({ inputs: [anyFloats(g, drawShape(g, { minRank: 1 }))], build: (x) => flattenRows(x) }),
  },
};
