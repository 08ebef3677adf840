import { expect, it } from "vitest";
import { rowId, sideOf, splitRows } from "./index.ts";

const rows = Array.from({ length: 2000 }, (_, i) => ({ id: rowId("row", i), prompt: `p${i % 500}` }));

it("a split has about its share, without a row lost", () => {
  const { train, validation } = splitRows(rows, { seed: 1, validation: 0.1 });
  expect([...train, ...validation].map(({ id }) => id).sort()).toEqual(rows.map(({ id }) => id).sort());
  // Binomial(2000, 0.1): 200 ± 13.4; five deviations either side.
  expect(Math.abs(validation.length - 200)).toBeLessThan(67);
});

it("a row's side depends on seed and id alone, and a larger share keeps the rows of a smaller one", () => {
  const ids = (list: typeof rows, seed: number, validation: number) =>
    splitRows(list, { seed, validation }).validation.map(({ id }) => id);
  const held = ids(rows, 1, 0.1);
  expect(ids(rows.toReversed(), 1, 0.1).toReversed()).toEqual(held);
  expect(ids(rows.slice(0, 1000), 1, 0.1)).toEqual(held.filter((id) => rows.findIndex((row) => row.id === id) < 1000));
  expect(ids(rows, 2, 0.1)).not.toEqual(held);
  expect(ids(rows, 1, 0.3)).toEqual(expect.arrayContaining(held));
  for (const id of held) expect(sideOf(id, { seed: 1, validation: 0.1 })).toBe("validation");
});

it("rows of one key stay together", () => {
  const { train, validation } = splitRows(rows, { seed: 1, validation: 0.2, key: ({ prompt }) => prompt });
  const trained = new Set(train.map(({ prompt }) => prompt));
  expect(validation.length).toBeGreaterThan(0);
  expect(validation.filter(({ prompt }) => trained.has(prompt))).toEqual([]);
});

it("shares are between 0 and 1", () => {
  expect(splitRows(rows, { seed: 1, validation: 0 }).validation).toEqual([]);
  expect(splitRows(rows, { seed: 1, validation: 1 }).train).toEqual([]);
  expect(() => splitRows(rows, { seed: 1, validation: 10 })).toThrow(
    "validation is 10; expected a share between 0 and 1",
  );
});
