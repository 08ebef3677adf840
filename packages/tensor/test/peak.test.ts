import { expect, it } from "vitest";
import { input, matmul, peakBytes, reshape } from "../src/index.ts";

const x = input("x", "float32", ["n", 8]);
const bytes = (n: number, width = 8) => 4 * n * width;

it("of a chain is two results: each goes when the next is there", () => {
  const y = x.mul(2).add(1).mul(3).neg();
  expect(peakBytes([y], { n: 5 })).toBe(2 * bytes(5));
});

it("counts what is needed again until it is, and what leaves the graph to the end", () => {
  const first = x.mul(2);
  const last = first.add(1).mul(3).neg().add(first);
  expect(peakBytes([last], { n: 5 })).toBe(3 * bytes(5));
  const kept = x.mul(2);
  expect(peakBytes([kept, kept.add(1).mul(3).neg()], { n: 5 })).toBe(3 * bytes(5));
});

it("has nothing for what is fed, nor for another shape of a result", () => {
  expect(peakBytes([x], { n: 5 })).toBe(0);
  const squares = matmul(x, x, { transB: true });
  expect(peakBytes([reshape(squares, [-1]).add(1)], { n: 5 })).toBe(2 * bytes(5, 5));
});
