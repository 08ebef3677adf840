import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { MixtureError, mix, rowId } from "./index.ts";

const pool = (name: string, count: number) =>
  Array.from({ length: count }, (_, i) => ({ id: rowId(name, i), from: name }));

describe("a mixture", () => {
  const counts = fc.array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 20 })), {
    minLength: 1,
    maxLength: 5,
  });

  it("keeps its ratios to within one row, in the whole and in every prefix", () => {
    fc.assert(
      fc.property(counts, fc.integer(), (counts, seed) => {
        const sources = counts.map(([count, ratio], i) => ({ name: `s${i}`, rows: pool(`s${i}`, count), ratio }));
        const { rows, sources: shares } = mix(sources, { seed });
        const sum = counts.reduce((all, [, ratio]) => all + ratio, 0);
        const exact = counts.map(([, ratio]) => ratio / sum);
        for (const [i, share] of shares.entries()) {
          expect(Math.abs(share.taken - exact[i]! * rows.length)).toBeLessThan(1);
          expect(share.taken).toBeLessThanOrEqual(counts[i]![0]);
          for (let length = 0, seen = 0; length < rows.length; ) {
            if (rows[length++]!.from === share.name) seen++;
            // One row from the share the whole has; that share is itself within one row of the exact one.
            expect(Math.abs(seen - (share.taken / rows.length) * length)).toBeLessThan(1);
          }
        }
        // No larger mixture fits: one more row of the scarcest source's share would exceed what it has.
        const bound = Math.min(...counts.map(([count, ratio]) => (count * sum) / ratio));
        expect(rows.length).toBeGreaterThanOrEqual(Math.floor(bound + 1e-9));
      }),
    );
  });

  it("is the same for a seed whatever order the rows come in, another for another seed, and takes no row twice", () => {
    const sources = [
      { name: "a", rows: pool("a", 50), ratio: 1 },
      { name: "b", rows: pool("b", 50), ratio: 1 },
    ];
    const ids = (seed: number, list = sources, total = 20) => mix(list, { seed, total }).rows.map(({ id }) => id);
    const reversed = sources.map((source) => ({ ...source, rows: source.rows.toReversed() }));
    expect(ids(1, reversed)).toEqual(ids(1));
    expect(ids(2)).not.toEqual(ids(1));
    expect(new Set(ids(1)).size).toBe(20);
    // A larger mixture holds the smaller one's rows.
    expect(ids(1, sources, 40)).toEqual(expect.arrayContaining(ids(1)));
  });

  it("draws each row equally often", () => {
    const rows = pool("a", 10);
    const drawn = new Map<string, number>();
    for (let seed = 0; seed < 1000; seed++)
      for (const { id } of mix([{ name: "a", rows, limit: 3 }], { seed }).rows) drawn.set(id, (drawn.get(id) ?? 0) + 1);
    // Binomial(1000, 0.3): 300 ± 14.5; five deviations either side.
    for (const { id } of rows) expect(Math.abs((drawn.get(id) ?? 0) - 300)).toBeLessThan(73);
  });

  it("says which source ran out and what that cost", () => {
    const sources = [
      { name: "helpful", rows: pool("helpful", 30), ratio: 3 },
      { name: "harmless", rows: pool("harmless", 50), ratio: 1 },
    ];
    const { rows, sources: shares } = mix(sources, { seed: 1 });
    expect(rows).toHaveLength(40);
    expect(shares).toEqual([
      {
        name: "helpful",
        available: 30,
        duplicates: 0,
        taken: 30,
        exhausted:
          "helpful has 30 rows for 75 % of the mixture, which makes 40 in all; 40 rows of other sources stay unused",
      },
      { name: "harmless", available: 50, duplicates: 0, taken: 10 },
    ]);
    expect(mix(sources, { seed: 1, total: 100 }).sources[0]?.exhausted).toMatch(/makes 40 in all; 100 were asked for/);
    expect(mix(sources, { seed: 1, total: 12 }).sources.map(({ taken, exhausted }) => [taken, exhausted])).toEqual([
      [9, undefined],
      [3, undefined],
    ]);
  });

  it("without ratios takes all there is, within the limits, and rows of two sources once", () => {
    const rows = pool("a", 5);
    const { rows: mixed, sources } = mix(
      [
        { name: "a", rows },
        { name: "b", rows: [...rows.slice(0, 2), ...pool("b", 9)], limit: 4 },
      ],
      { seed: 1 },
    );
    expect(mixed.map(({ from }) => from).sort()).toEqual([..."aaaaabbbb"]);
    expect(sources.map(({ duplicates, available, taken }) => [duplicates, available, taken])).toEqual([
      [0, 5, 5],
      [2, 4, 4],
    ]);
    expect(mix([], { seed: 1 })).toEqual({ rows: [], sources: [] });
    expect(mix([{ name: "none", rows: [], ratio: 1 }], { seed: 1 }).rows).toEqual([]);
  });

  it.each([
    [[{ ratio: 1 }, {}], {}, "a has a ratio and b has none"],
    [[{ ratio: 0 }], {}, "a: ratio is 0; expected a number above 0"],
    [[{ ratio: Number.NaN }], {}, "a: ratio is NaN"],
    [[{ limit: -1 }], {}, "a: limit is -1"],
    [[{ limit: 1.5 }], {}, "a: limit is 1.5; expected a whole number"],
    [[{}], { total: 5 }, "total needs ratios"],
    [[{ ratio: 1 }], { total: 0.5 }, "total is 0.5"],
  ])("refuses %j with %j", (sources, options, message) => {
    const named = sources.map((source, i) => ({ name: "ab"[i]!, rows: pool("x", 3), ...source }));
    expect(() => mix(named, { seed: 1, ...options })).toThrow(MixtureError);
    expect(() => mix(named, { seed: 1, ...options })).toThrow(message);
  });
});
