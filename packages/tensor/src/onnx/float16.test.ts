import fc from "fast-check";
import { expect, it } from "vitest";
import { fromHalf, toHalf } from "./float16.ts";

const patterns = Array.from({ length: 65536 }, (_, pattern) => pattern);
const isNan = (pattern: number) => (pattern & 0x7fff) > 0x7c00;

/** The value of a pattern from IEEE 754's definition: (−1)^s · 2^(e − 15) · 1.f, or 2^−14 · 0.f where e is 0. */
function defined(pattern: number): number {
  const sign = pattern >= 0x8000 ? -1 : 1;
  const e = Math.floor(pattern / 1024) % 32;
  const f = (pattern % 1024) / 1024;
  if (e === 31) return f === 0 ? sign * Number.POSITIVE_INFINITY : Number.NaN;
  return sign * (e === 0 ? 2 ** -14 * f : 2 ** (e - 15) * (1 + f));
}

/** Finite values from 0 up. One past them stands for infinity: what lies half way to it and beyond rounds there. */
const ladder = [...patterns.slice(0, 0x7c00).map(defined), 65536];

/** The pattern of the nearest value, of two as near the one whose last bit is 0: found by bisection of all values. */
function nearest(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0;
  const magnitude = Math.abs(x);
  if (magnitude >= ladder.at(-1)!) return sign | 0x7c00;
  let [low, high] = [0, ladder.length - 1];
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (ladder[middle]! <= magnitude) low = middle;
    else high = middle;
  }
  const [below, above] = [magnitude - ladder[low]!, ladder[high]! - magnitude];
  const up = above < below || (above === below && high % 2 === 0);
  return sign | (up ? high : low);
}

it("reads every pattern", () => {
  for (const pattern of patterns) expect(Object.is(fromHalf(pattern), defined(pattern)), `${pattern}`).toBe(true);
});

it("writes every value back to its pattern, and NaN to a NaN", () => {
  for (const pattern of patterns) {
    const written = toHalf(fromHalf(pattern));
    if (isNan(pattern)) expect(isNan(written), `${pattern}`).toBe(true);
    else expect(written).toBe(pattern);
  }
});

it("rounds what lies between two neighbours to the nearer, ties to even", () => {
  for (let i = 0; i < ladder.length - 1; i++) {
    const [below, above] = [ladder[i]!, ladder[i + 1]!];
    const middle = (below + above) / 2;
    const even = i % 2 === 0 ? i : i + 1;
    // The neighbours of the tie are a float64 step away: a float32 on the way would lose them.
    const step = middle * 2 ** -52;
    expect([toHalf(middle), toHalf(middle - step), toHalf(middle + step), toHalf(-middle)]).toEqual([
      even,
      i,
      i + 1,
      even | 0x8000,
    ]);
  }
});

it("rounds any double as the definition does", () => {
  const doubles = fc.oneof(
    fc.double({ noNaN: true }),
    fc.double({ noNaN: true, min: -70000, max: 70000 }),
    fc.double({ noNaN: true, min: -1e-4, max: 1e-4 }),
  );
  fc.assert(
    fc.property(doubles, (x) => {
      expect(toHalf(x)).toBe(nearest(x));
    }),
    { seed: 1, numRuns: 5000 },
  );
});

it("knows what lies outside", () => {
  expect(toHalf(65519.99)).toBe(0x7bff);
  expect(toHalf(65520)).toBe(0x7c00);
  expect(toHalf(-1e300)).toBe(0xfc00);
  expect(toHalf(2 ** -25)).toBe(0);
  expect(toHalf(2 ** -25 * (1 + 2 ** -52))).toBe(1);
  expect(toHalf(-Number.MIN_VALUE)).toBe(0x8000);
});
