import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Constitution, ConstitutionError, drawPrinciples, parseConstitution } from "./index.ts";

function constitution(weights: Record<string, number>): Constitution {
  const principles = Object.entries(weights).map(([id, weight]) => ({ id, text: `Principle ${id}.`, weight }));
  return parseConstitution(JSON.stringify({ name: "c", version: "1", principles }), { file: "c.json" }).value;
}

const ids = (of: Constitution, item: string, count: number, seed = 1) =>
  drawPrinciples(of, { seed, stage: "revise", item, count }).map(({ id }) => id);

const weights = fc
  .array(fc.integer({ min: 1, max: 20 }), { minLength: 2, maxLength: 8 })
  .map((list) => Object.fromEntries(list.map((weight, i) => [`p${i}`, weight])));

/** Pearson's χ² of counts against expected shares. */
function chiSquare(counts: readonly number[], shares: readonly number[]): number {
  const n = counts.reduce((sum, count) => sum + count, 0);
  return counts.reduce((sum, count, i) => sum + (count - n * shares[i]!) ** 2 / (n * shares[i]!), 0);
}

describe("drawPrinciples", () => {
  it("draws in proportion to weight", () => {
    const of = constitution({ a: 1, b: 2, c: 3, d: 4 });
    const counts: Record<string, number> = { a: 0, b: 0, c: 0, d: 0 };
    for (let i = 0; i < 8000; i++) counts[ids(of, `row-${i}`, 1)[0]!]! += 1;
    // 16.27 is passed by chance once in a thousand (3 degrees of freedom); the seed is fixed.
    expect(chiSquare(Object.values(counts), [0.1, 0.2, 0.3, 0.4])).toBeLessThan(16.27);
  });

  it("draws the second in proportion to weight among the rest", () => {
    const w = [1, 2, 3];
    const of = constitution({ a: 1, b: 2, c: 3 });
    const pairs = [0, 1, 2].flatMap((i) => [0, 1, 2].filter((j) => j !== i).map((j) => [i, j] as const));
    const shares = pairs.map(([i, j]) => (w[i]! / 6) * (w[j]! / (6 - w[i]!)));
    const counts = pairs.map(() => 0);
    for (let n = 0; n < 8000; n++) {
      const [i, j] = ids(of, `row-${n}`, 2).map((id) => "abc".indexOf(id));
      counts[pairs.findIndex(([x, y]) => x === i && y === j)]! += 1;
    }
    // 20.52: once in a thousand, 5 degrees of freedom.
    expect(chiSquare(counts, shares)).toBeLessThan(20.52);
  });

  it("is a function of seed, stage and item", () => {
    const of = constitution({ a: 1, b: 1, c: 1, d: 1, e: 1, f: 1 });
    const all = (seed: number, stage: string) =>
      Array.from({ length: 20 }, (_, i) =>
        drawPrinciples(of, { seed, stage, item: `${i}`, count: 3 }).map(({ id }) => id),
      );
    expect(all(1, "revise")).toEqual(all(1, "revise"));
    expect(all(1, "revise")).not.toEqual(all(2, "revise"));
    expect(all(1, "revise")).not.toEqual(all(1, "label"));
    expect(new Set(all(1, "revise").map(String)).size).toBeGreaterThan(10);
  });

  it("repeats none until all were drawn", () => {
    fc.assert(
      fc.property(weights, fc.string(), fc.integer({ min: 1, max: 3 }), (w, item, cycles) => {
        const of = constitution(w);
        const size = Object.keys(w).length;
        const drawn = ids(of, item, size * cycles);
        for (let k = 0; k < cycles; k++)
          expect(drawn.slice(k * size, (k + 1) * size).toSorted()).toEqual(Object.keys(w).toSorted());
      }),
      { numRuns: 50 },
    );
  });

  it("never draws a weight of 0", () => {
    expect(ids(constitution({ a: 0, b: 1, c: 0 }), "x", 3)).toEqual(["b", "b", "b"]);
  });

  it("draws the principles of a use and those for both", () => {
    const of = constitution({ a: 1, b: 1, c: 1 });
    of.principles[0]!.use = "revision";
    of.principles[1]!.use = "preference";
    const drawn = (use?: "revision" | "preference") =>
      new Set(drawPrinciples(of, { seed: 1, stage: "s", item: "i", count: 6, use }).map(({ id }) => id));
    expect([...drawn("revision")].sort()).toEqual(["a", "c"]);
    expect([...drawn("preference")].sort()).toEqual(["b", "c"]);
    expect(drawn().size).toBe(3);
    of.principles[2]!.use = "revision";
    of.principles[1]!.weight = 0;
    expect(() => drawn("preference")).toThrow(ConstitutionError);
  });

  it("changes only where a principle is or would be drawn, when that one is added, removed, rewritten or reweighted", () => {
    fc.assert(
      fc.property(
        weights,
        fc.nat(7),
        fc.integer({ min: 1, max: 20 }),
        fc.integer({ min: 1, max: 4 }),
        (w, which, other, count) => {
          const names = Object.keys(w);
          const name = names[which % names.length]!;
          const asked = Math.min(count, names.length - 1);
          const whole = constitution(w);
          const { [name]: _, ...rest } = w;
          const without = constitution(rest);
          const reweighted = constitution({ ...w, [name]: other });
          const rewritten = constitution(Object.fromEntries(Object.entries(w).toReversed()));
          for (let i = 0; i < 10; i++) {
            const before = ids(whole, `row-${i}`, asked);
            expect(ids(rewritten, `row-${i}`, asked)).toEqual(before);
            const removed = ids(without, `row-${i}`, asked);
            // Where it was drawn, the others keep their order and one moves up from behind.
            expect(removed.slice(0, before.filter((id) => id !== name).length)).toEqual(
              before.filter((id) => id !== name),
            );
            const after = ids(reweighted, `row-${i}`, asked);
            if (!before.includes(name)) {
              expect(removed).toEqual(before);
              if (!after.includes(name)) expect(after).toEqual(before);
            }
          }
        },
      ),
      { numRuns: 60 },
    );
  });
});
