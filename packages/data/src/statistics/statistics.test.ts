import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { randomStream } from "../random.ts";
import { bradleyTerry, elo, type Game } from "./rating.ts";
import {
  bootstrap,
  calibration,
  type Estimate,
  effectiveSize,
  logSumExp,
  mean,
  pearson,
  quantile,
  rate,
  rateDifference,
  spearman,
  wilson,
} from "./statistics.ts";

interface Golden {
  wilson: { successes: number; n: number; interval: [number, number] }[];
  quantiles: { sorted: number[]; at: number[]; values: number[] };
  bootstrap: { values: number[]; mean: number; interval: [number, number]; standardError: number };
  pairedRates: { up: number; down: number; same: number; interval: [number, number] }[];
  correlations: { x: number[]; y: number[]; pearson: number; spearman: number };
  calibration: { p: number[]; outcome: number[]; ece: number; brier: number };
  bradleyTerry: { name: string; prior: number; games: Game[]; strengths: Record<string, number> }[];
}
const golden = JSON.parse(readFileSync(new URL("./statistics.golden.json", import.meta.url), "utf8")) as Golden;

const repeat = <T>(n: number, value: (i: number) => T) => Array.from({ length: n }, (_, i) => value(i));

/** Share of simulated experiments whose interval holds the truth. */
function coverage(truth: number, experiments: number, run: (uniform: () => number, seed: number) => Estimate): number {
  let held = 0;
  for (let experiment = 0; experiment < experiments; experiment++) {
    const stream = randomStream({ seed: 5, stage: "simulation", item: experiment });
    let draw = 0;
    const { interval } = run(() => stream.uniform(draw++), experiment);
    if (interval[0] <= truth && truth <= interval[1]) held++;
  }
  return held / experiments;
}

it("tells the effective size from the interval", () => {
  for (const [yes, n] of [
    [30, 48],
    [0, 7],
    [7, 7],
    [1.5, 12.25],
  ] as const)
    expect(effectiveSize(wilson(yes, n))).toBeCloseTo(n, 6);
  expect(effectiveSize(wilson(0, 0))).toBe(0);
  // Four of each cluster that always agree count as one.
  const observed = Array.from({ length: 40 }, (_, i) => ({ cluster: String(i >> 2), yes: i < 24 }));
  expect(effectiveSize(rate(observed))).toBeCloseTo(9, 6);
});

describe("wilson", () => {
  it.each(golden.wilson)("$successes of $n as scipy has it", ({ successes, n, interval }) => {
    const estimate = wilson(successes, n);
    expect(estimate.value).toBe(successes / n);
    expect(estimate.interval[0]).toBeCloseTo(interval[0], 10);
    expect(estimate.interval[1]).toBeCloseTo(interval[1], 10);
  });

  it("knows nothing of nothing, and refuses what is no share", () => {
    expect(wilson(0, 0)).toEqual({ value: Number.NaN, interval: [0, 1], n: 0 });
    expect(() => wilson(3, 2)).toThrow(/3 of 2/);
    expect(() => wilson(-1, 2)).toThrow(RangeError);
  });

  it("stays in [0, 1] and holds its value", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), fc.double({ min: 0, max: 1, noNaN: true }), (n, share) => {
        const { value, interval } = wilson(Math.round(share * n), n);
        expect(interval[0]).toBeGreaterThanOrEqual(0);
        expect(interval[1]).toBeLessThanOrEqual(1);
        expect(interval[0]).toBeLessThanOrEqual(value);
        expect(interval[1]).toBeGreaterThanOrEqual(value);
      }),
    );
  });
});

describe("quantile", () => {
  it("is numpy's", () => {
    const { sorted, at, values } = golden.quantiles;
    for (const [i, q] of at.entries()) expect(quantile(sorted, q)).toBeCloseTo(values[i]!, 12);
    expect(quantile([], 0.5)).toBeNaN();
  });
});

describe("bootstrap", () => {
  it("agrees with scipy's interval of a mean", () => {
    const { values, interval, standardError, mean: value } = golden.bootstrap;
    const estimate = bootstrap(values, mean, { seed: 3, resamples: 20_000 });
    expect(estimate.value).toBeCloseTo(value, 12);
    expect(estimate.n).toBe(30);
    for (const end of [0, 1] as const)
      expect(Math.abs(estimate.interval[end] - interval[end])).toBeLessThan(0.1 * standardError);
  });

  it("gives equal intervals for equal seeds and others for others", () => {
    const values = repeat(20, (i) => (i * 7) % 11);
    expect(bootstrap(values, mean, { seed: 1 })).toEqual(bootstrap(values, mean, { seed: 1 }));
    expect(bootstrap(values, mean, { seed: 1 }).interval).not.toEqual(bootstrap(values, mean, { seed: 2 }).interval);
  });

  it("draws clusters whole: ten copies of each value add no knowledge", () => {
    const values = repeat(25, (i) => ({ cluster: `${i}`, x: (i * 13) % 17 }));
    const copies = values.flatMap((value) => repeat(10, () => value));
    const of = (sample: readonly { x: number }[]) => mean(sample.map(({ x }) => x));
    const cluster = (item: { cluster: string }) => item.cluster;
    const alone = bootstrap(values, of, { seed: 1, cluster });
    expect(bootstrap(copies, of, { seed: 1, cluster }).interval[0]).toBeCloseTo(alone.interval[0], 10);
    const blind = bootstrap(copies, of, { seed: 1 });
    expect(blind.interval[1] - blind.interval[0]).toBeLessThan(0.5 * (alone.interval[1] - alone.interval[0]));
  });

  it("knows nothing of a single cluster", () => {
    expect(bootstrap([4], mean, { seed: 1 }).interval).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
  });

  it("covers the mean of skewed values in about 95 % of experiments", () => {
    const held = coverage(1, 600, (uniform, seed) =>
      bootstrap(
        repeat(20, () => -Math.log(1 - uniform())),
        mean,
        { seed, resamples: 500 },
      ),
    );
    expect(held).toBeGreaterThan(0.91);
    expect(held).toBeLessThan(0.985);
  });
});

describe("rate", () => {
  it("is Wilson's where nothing repeats", () => {
    const seen = repeat(20, (i) => ({ cluster: `${i}`, yes: i < 7 }));
    expect(rate(seen)).toEqual(wilson(7, 20));
    expect(rate([])).toEqual(wilson(0, 0));
  });

  it("counts replies that always agree once", () => {
    const seen = repeat(40, (i) => ({ cluster: `${i % 10}`, yes: i % 10 < 3 }));
    const [low, high] = rate(seen).interval;
    const ten = wilson(3, 10).interval;
    expect(rate(seen).n).toBe(40);
    expect(low).toBeLessThan(ten[0] + 0.02);
    expect(high).toBeGreaterThan(ten[1] - 0.02);
    const never = rate(repeat(40, (i) => ({ cluster: `${i % 10}`, yes: false })));
    expect(never.interval).toEqual(wilson(0, 10).interval);
  });

  it("covers a rate of 7 % at three correlated replies to each of 60 prompts", () => {
    const held = coverage(0.07, 2000, (uniform) =>
      rate(
        repeat(60, (prompt) => {
          const usual = uniform() < 0.07;
          return repeat(3, () => ({ cluster: `${prompt}`, yes: uniform() < 0.5 ? usual : uniform() < 0.07 }));
        }).flat(),
      ),
    );
    expect(held).toBeGreaterThan(0.93);
    expect(held).toBeLessThan(0.985);
  });
});

describe("rateDifference", () => {
  const pairs = ({ up, down, same }: { up: number; down: number; same: number }) =>
    repeat(up + down + same, (i) => ({
      cluster: `${i}`,
      before: i >= up && i < up + down,
      after: i < up,
    }));

  it.each(golden.pairedRates)("$up up, $down down, $same same: near Bonett and Price's interval", (counts) => {
    const n = counts.up + counts.down + counts.same;
    const { value, interval } = rateDifference(pairs(counts), { seed: 1 });
    expect(value).toBeCloseTo((counts.up - counts.down) / n, 12);
    const width = counts.interval[1] - counts.interval[0];
    expect(Math.abs(interval[0] - counts.interval[0])).toBeLessThan(0.15 * width);
    expect(Math.abs(interval[1] - counts.interval[1])).toBeLessThan(0.15 * width);
  });

  it("never claims certainty, nor leaves [−1, 1]", () => {
    const none = rateDifference(pairs({ up: 0, down: 0, same: 12 }), { seed: 1 });
    expect(none.interval[0]).toBeLessThan(-0.05);
    expect(none.interval[1]).toBeGreaterThan(0.05);
    const all = rateDifference(pairs({ up: 4, down: 0, same: 0 }), { seed: 1 });
    expect(all.value).toBe(1);
    expect(all.interval[1]).toBe(1);
    expect(all.interval[0]).toBeLessThan(0.6);
    expect(rateDifference([], { seed: 1 }).interval).toEqual([-1, 1]);
  });

  it.each([
    ["frequent", 0.5, 0.3],
    ["rare", 0.05, 0.01],
  ])("covers the change of a %s share over 60 prompts", (_, before, after) => {
    const held = coverage(after - before, 300, (uniform, seed) =>
      rateDifference(
        repeat(60, (prompt) => {
          const draw = uniform();
          return {
            cluster: `${prompt}`,
            before: draw < before,
            after: uniform() < 0.6 ? draw < after : uniform() < after,
          };
        }),
        { seed, resamples: 400 },
      ),
    );
    expect(held).toBeGreaterThan(0.92);
  });
});

describe("calibration", () => {
  it("is numpy's", () => {
    const { p, outcome, ece, brier } = golden.calibration;
    const result = calibration(p.map((value, i) => ({ p: value, outcome: outcome[i]! })));
    expect(result.ece).toBeCloseTo(ece, 9);
    expect(result.brier).toBeCloseTo(brier, 9);
    expect(result.bins.reduce((sum, { n }) => sum + n, 0)).toBe(500);
  });

  it("keeps p = 1 in the last bin, leaves empty bins out and refuses what is no probability", () => {
    expect(calibration([{ p: 1, outcome: 1 }]).bins).toEqual([{ low: 0.9, high: 1, n: 1, predicted: 1, observed: 1 }]);
    expect(() => calibration([{ p: 1.2, outcome: 1 }])).toThrow(/1.2 is no probability/);
    expect(calibration([]).ece).toBeNaN();
  });
});

describe("correlations", () => {
  it("are scipy's, ties included", () => {
    const { x, y, ...expected } = golden.correlations;
    expect(pearson(x, y)).toBeCloseTo(expected.pearson, 12);
    expect(spearman(x, y)).toBeCloseTo(expected.spearman, 12);
    expect(pearson([1, 1, 1], [1, 2, 3])).toBeNaN();
    expect(() => pearson([1], [1, 2])).toThrow(RangeError);
  });
});

describe("bradleyTerry", () => {
  it.each(golden.bradleyTerry)(
    "$name games with a prior of $prior as scipy's optimum",
    ({ games, prior, strengths }) => {
      const fitted = bradleyTerry(games, { prior });
      expect(fitted.size).toBe(Object.keys(strengths).length);
      for (const [player, strength] of Object.entries(strengths)) expect(fitted.get(player)).toBeCloseTo(strength, 5);
    },
  );

  it("rates on Elo's scale from its anchor", () => {
    const games = repeat(1000, (i) => ({ a: "rl", b: "base", score: i < 640 ? 1 : 0 }));
    const ratings = elo(games, { anchor: "base", prior: 1e-6 });
    expect(ratings.get("base")).toBe(1000);
    expect(ratings.get("rl")).toBeCloseTo(1000 + 400 * Math.log10(640 / 360), 3);
    expect(() => elo(games, { anchor: "sl" })).toThrow(/'sl' was compared with nothing/);
  });

  it("refuses a prior of nothing, scores outside [0, 1] and games against oneself", () => {
    expect(() => bradleyTerry([], { prior: 0 })).toThrow(RangeError);
    expect(() => bradleyTerry([{ a: "a", b: "b", score: 2 }])).toThrow(RangeError);
    expect(() => bradleyTerry([{ a: "a", b: "a", score: 1 }])).toThrow(/itself/);
  });

  it("converges from lopsided starts", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 100_000 }), fc.constantFrom(0.01, 0.1, 1), (wins, prior) => {
        const strengths = bradleyTerry(
          repeat(20, () => ({ a: "x", b: "y", score: 1 })).concat(
            repeat(Math.min(wins, 300), () => ({ a: "y", b: "z", score: 1 })),
          ),
          { prior },
        );
        expect(strengths.get("x")! > strengths.get("y")! && strengths.get("y")! > strengths.get("z")!).toBe(true);
      }),
      { numRuns: 30 },
    );
  });
});

describe("logSumExp", () => {
  it("is the log-probability of any of some events, however unlikely they are", () => {
    expect(logSumExp([Math.log(0.25), Math.log(0.5)])).toBeCloseTo(Math.log(0.75), 12);
    expect(logSumExp([-1000, -1000])).toBeCloseTo(-1000 + Math.LN2, 12);
    expect(logSumExp([Number.NEGATIVE_INFINITY, -2])).toBe(-2);
    expect(logSumExp([Number.NEGATIVE_INFINITY, Number.NEGATIVE_INFINITY])).toBe(Number.NEGATIVE_INFINITY);
    expect(logSumExp([])).toBe(Number.NEGATIVE_INFINITY);
  });
});
