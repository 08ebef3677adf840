import { expect, it } from "vitest";
import { Beginnings, type KeptBeginnings } from "./beginnings.ts";
import { Prefix } from "./cache.ts";

/** An engine that says which texts it computed, and behind what. */
function beginnings(kept: KeptBeginnings) {
  const computed: string[] = [];
  const shape = { layers: 1, kvHeads: 1, headDim: 1 };
  const engine = {
    emptyPrefix: () => Prefix.empty(shape),
    async prefix(tokens: readonly number[], base: Prefix) {
      const fresh = tokens.slice(base.tokens.length);
      computed.push(`${base.tokens.length}+${fresh.length}`);
      return base.extended(fresh, { data: new Float32Array(2 * fresh.length), rows: 1, time: fresh.length });
    },
  };
  return { computed, found: new Beginnings(engine, kept) };
}

/** So many tokens of the kind, then a few of its own. */
const text = (kind: number, length: number, own = 0) => [...Array<number>(length).fill(kind), own, own, own];

it("what a batch shares is computed once, and is there for the next that begins so", async () => {
  const { computed, found } = beginnings({ most: 4 });
  expect((await found.of([text(1, 40, 2), text(1, 40, 3)])).tokens).toHaveLength(40);
  expect((await found.of([text(1, 40, 4), text(1, 40, 5)])).tokens).toHaveLength(40);
  expect((await found.of([text(1, 40, 6)])).tokens).toHaveLength(40);
  expect(computed).toEqual(["0+40"]);
  // One that is longer by enough is computed behind it.
  expect((await found.of([text(1, 60, 2), text(1, 60, 3)])).tokens).toHaveLength(60);
  expect(computed).toEqual(["0+40", "40+20"]);
  // Too short to be worth it, and nothing in common.
  expect((await found.of([text(7, 10, 2), text(7, 10, 3)])).tokens).toHaveLength(0);
  expect((await found.of([text(8, 40), text(9, 40)])).tokens).toHaveLength(0);
});

it("a text keeps a token of its own", async () => {
  const { found } = beginnings({ most: 4 });
  expect((await found.of([text(1, 40), text(1, 40)])).tokens).toHaveLength(42);
});

it("a batch of one makes no beginning; callers who come one by one share what two of them begin with", async () => {
  const batch = beginnings({ most: 4 });
  for (const own of [2, 3, 4]) expect((await batch.found.of([text(1, 40, own)])).tokens).toHaveLength(0);
  const live = beginnings({ most: 4, live: true });
  const lengths: number[] = [];
  for (const own of [2, 3, 4]) lengths.push((await live.found.of([text(1, 40, own)])).tokens.length);
  expect(lengths).toEqual([0, 40, 40]);
  expect(live.computed).toEqual(["0+40"]);
  // One that says the same twice makes a longer one, and those who say something else still have the shorter.
  await live.found.of([text(1, 70, 5)]);
  await live.found.of([text(1, 70, 5)]);
  expect((await live.found.of([text(1, 40, 6)])).tokens).toHaveLength(40);
  expect(live.computed).toEqual(["0+40", "40+32"]);
});

it("only so many are kept, of so many positions: what was used longest ago goes", async () => {
  const { computed, found } = beginnings({ most: 2, live: true });
  for (const kind of [1, 2, 3]) await found.of([text(kind, 40, 8), text(kind, 40, 9)]);
  await found.of([text(3, 40, 8), text(3, 40, 9)]);
  await found.of([text(2, 40, 8), text(2, 40, 9)]);
  expect(computed).toHaveLength(3);
  await found.of([text(1, 40, 8), text(1, 40, 9)]);
  expect(computed).toHaveLength(4);
  const narrow = beginnings({ most: 8, positions: 70, live: true });
  for (const kind of [1, 2, 1, 2]) await narrow.found.of([text(kind, 40, 8), text(kind, 40, 9)]);
  expect(narrow.computed).toHaveLength(4);
});
