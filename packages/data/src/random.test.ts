import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { philox4x32, randomStream } from "./random.ts";

describe("philox4x32", () => {
  // The known-answer vectors published with the Random123 library (philox4x32, 10 rounds).
  it.each([
    [
      [0, 0, 0, 0],
      [0, 0],
      [0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8],
    ],
    [
      [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff],
      [0xffffffff, 0xffffffff],
      [0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd],
    ],
    [
      [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
      [0xa4093822, 0x299f31d0],
      [0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1],
    ],
  ] as [[number, number, number, number], [number, number], number[]][])(
    "counter %j, key %j",
    (counter, key, words) => {
      expect(philox4x32(counter, key)).toEqual(words);
    },
  );
});

describe("randomStream", () => {
  it("depends on each part of its key and on nothing else", () => {
    const base = { seed: 1, stage: "s", item: "i", sample: 0 };
    const first = randomStream(base).uniform(0);
    expect(randomStream(base).uniform(0)).toBe(first);
    for (const other of [{ seed: 2 }, { stage: "t" }, { item: "j" }, { sample: 1 }])
      expect(randomStream({ ...base, ...other }).uniform(0)).not.toBe(first);
    expect(randomStream({ ...base, item: 1 }).uniform(0)).not.toBe(randomStream({ ...base, item: "1" }).uniform(0));
  });

  it("stays in [0, 1) and can be read at any draw", () => {
    fc.assert(
      fc.property(fc.nat(), fc.string(), fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER }), (seed, item, draw) => {
        const u = randomStream({ seed, stage: "test", item }).uniform(draw);
        return u >= 0 && u < 1;
      }),
    );
  });

  it("is uniform: chi-squared over 100 cells, along draws and along items", () => {
    const stream = randomStream({ seed: 3, stage: "x", item: "y" });
    for (const draw of [
      (i: number) => stream.uniform(i),
      (i: number) => randomStream({ seed: 3, stage: "x", item: i }).uniform(0),
    ]) {
      const cells = new Array<number>(100).fill(0);
      const draws = 50_000;
      for (let i = 0; i < draws; i++) {
        const cell = Math.floor(draw(i) * 100);
        cells[cell] = cells[cell]! + 1;
      }
      const chi2 = cells.reduce((sum, count) => sum + (count - draws / 100) ** 2 / (draws / 100), 0);
      expect(chi2).toBeLessThan(149); // 99 degrees of freedom: p < 0.001 above
    }
  });
});
