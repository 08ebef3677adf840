import { expect, it } from "vitest";
import { families } from "./families.ts";

const limits = { shortest: 16, cost: 256 };

/** So many tokens of the kind, then a few of its own. */
const text = (kind: number, length: number, own = 0) => [...Array<number>(length).fill(kind), own, own, own];

it("texts that begin alike are a family where that saves more than it costs", () => {
  const members = (texts: number[][], known = 0) =>
    families(texts, { known, ...limits }).map(({ members, common }) => ({
      members: [...members].sort((a, b) => a - b),
      common,
    }));
  // Two that share a long beginning; two that share a short one; one by itself.
  const texts = [text(1, 400, 2), text(9, 30, 2), text(1, 400, 3), text(9, 30, 3), text(5, 400)];
  expect(members(texts)).toEqual([{ members: [0, 2], common: 400 }]);
  // What is computed anyway counts for nothing.
  expect(members(texts, 390)).toEqual([]);
  expect(members([])).toEqual([]);
  // Many that share a little, but not less than is worth a call.
  const many = (length: number) => Array.from({ length: 40 }, (_, own) => text(1, length, 100 + own));
  expect(members(many(20))).toEqual([{ members: Array.from({ length: 40 }, (_, i) => i), common: 20 }]);
  expect(members(many(12))).toEqual([]);
});

it("of families within a family those are taken that save most", () => {
  const under = (kind: number, count: number, length: number) =>
    Array.from({ length: count }, (_, own) => [...text(1, 50, 1), ...text(kind, length, 100 + own)]);
  const lengths = (texts: number[][]) => families(texts, limits).map(({ members, common }) => [members.length, common]);
  expect(lengths([...under(2, 5, 300), ...under(3, 7, 300)])).toEqual([
    [5, 353],
    [7, 353],
  ]);
  expect(lengths([...under(2, 5, 20), ...under(3, 7, 20)])).toEqual([[12, 53]]);
  // Equal texts keep a token each.
  expect(lengths(Array.from({ length: 4 }, () => text(4, 200)))).toEqual([[4, 202]]);
});
