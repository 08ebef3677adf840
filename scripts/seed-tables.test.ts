import { expect, it } from "vitest";
import { differences, summarise, type Table, tableOf, violates } from "./seed-tables.ts";
import { type Evidence, pool, type Reply } from "./seeds.ts";

const reply = (prompt: string, broken: boolean | null): Reply => ({
  ...{ prompt, violates: broken, broken: broken ? ["kind"] : [], kept: broken === false ? ["kind"] : [] },
});
const evidence = (...seeds: Readonly<Record<string, readonly Reply[]>>[]): Evidence => ({
  ...{ recipe: "r", heldOut: '"h"', processor: "p", instructions: [], memory: 1, versions: {} },
  seeds: seeds.map((checkpoints, seed) => ({
    ...{ seed, run: `run ${seed}`, seconds: {} },
    checkpoints: Object.entries(checkpoints).map(([id, replies]) => ({ id, label: id, replies, openings: 1 })),
  })),
});

it("means of seeds, of whose prompts those without a check are left out; the worst of them", () => {
  const two = evidence(
    { sl: [reply("a", true), reply("b", false), reply("c", null)] },
    { sl: [reply("a", false), reply("b", false), reply("c", true)] },
  );
  const { mean, worst } = summarise(tableOf(two, "sl", violates));
  expect(mean).toBeCloseTo((1 / 2 + 1 / 3) / 2, 12);
  expect(worst).toBeCloseTo(1 / 2, 12);
});

it("differences pair seed with seed and prompt with prompt; what only one has is in none", () => {
  const table = (...seeds: readonly Record<string, number>[]): Table =>
    new Map(seeds.map((row, seed) => [String(seed), new Map(Object.entries(row))]));
  const found = differences(table({ a: 1, b: 1 }, { a: 1 }, { a: 0 }), table({ a: 0, c: 1 }, { a: 1 }));
  expect([...found].map(([seed, row]) => [seed, ...row])).toEqual([
    ["0", ["a", 1]],
    ["1", ["a", 0]],
  ]);
  const { mean, interval } = summarise(found);
  expect(mean).toBe(0.5);
  // Of two seeds that differ, both may be drawn twice.
  expect(interval).toEqual([0, 1]);
});

it("an interval of one seed is that of its prompts", () => {
  const rows = Array.from({ length: 100 }, (_, i) => reply(String(i), i < 30));
  const { mean, interval } = summarise(tableOf(evidence({ rl: rows }), "rl", violates));
  expect(mean).toBeCloseTo(0.3, 12);
  // ± 1.96·√(0.3·0.7/100)
  expect(interval[0]).toBeGreaterThan(0.18);
  expect(interval[0]).toBeLessThan(0.25);
  expect(interval[1]).toBeGreaterThan(0.35);
  expect(interval[1]).toBeLessThan(0.42);
});

it("finds baselines beside checkpoints, of seeds that have them", () => {
  const told = evidence({ sl: [reply("a", false)] }, { sl: [reply("a", false)] });
  const [first, second] = told.seeds;
  const beside = {
    ...told,
    seeds: [{ ...first!, baselines: [{ id: "shown", label: "s", replies: [reply("a", true)] }] }, second!],
  };
  const change = differences(tableOf(beside, "sl", violates), tableOf(beside, "shown", violates));
  expect([...change].map(([seed, row]) => [seed, ...row])).toEqual([["0 on p", ["a", -1]]]);
});

it("pools seeds of several processors: the same number on another is another seed, and pairs are of one processor", () => {
  const on = (processor: string, ...rows: readonly (readonly Reply[])[]) => ({
    ...evidence(...rows.map((row) => ({ sl: [reply("a", true)], rl: row }))),
    processor,
  });
  const pooled = pool(on("here"), [
    on("here", [reply("a", false)]),
    on("there", [reply("a", true)], [reply("a", false)]),
  ]);
  expect(pooled.processor).toBe("here; there");
  const table = tableOf(pooled, "rl", violates);
  expect([...table.keys()]).toEqual(["0 on here", "0 on there", "1 on there"]);
  const change = differences(table, tableOf(pooled, "sl", violates));
  expect([...change.values()].map((row) => row.get("a"))).toEqual([-1, 0, -1]);
});
