import { expect, it } from "vitest";
import { IdSet } from "./id-set.ts";
import { rowId } from "./rows.ts";

it("an id set knows what was added, through all its growth", () => {
  const ids = Array.from({ length: 5000 }, (_, i) => rowId("x", i));
  const set = new IdSet();
  expect(ids.map((id) => set.add(id))).toEqual(ids.map(() => true));
  expect(ids.map((id) => set.add(id))).toEqual(ids.map(() => false));
  expect(set.add("0000000000000000")).toBe(true);
  expect(set.add("0000000000000000")).toBe(false);
  expect(set.add("ffffffff00000000")).toBe(true);
  expect(set.size).toBe(5002);
});
