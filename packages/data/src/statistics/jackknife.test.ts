import { expect, it } from "vitest";
import { randomStream } from "../random.ts";
import { jackknife } from "./jackknife.ts";
import { mean } from "./statistics.ts";

const without = (values: readonly number[], of: (values: readonly number[]) => number) =>
  values.map((_, i) => of(values.filter((__, j) => j !== i)));

it("is the textbook's standard error where the statistic is a mean", () => {
  const values = [3, 1, 4, 1, 5, 9, 2, 6];
  const m = mean(values);
  const error = Math.sqrt(values.reduce((sum, x) => sum + (x - m) ** 2, 0) / (7 * 8));
  const { value, interval } = jackknife({ value: m, without: without(values, mean), n: 8 });
  expect(value).toBe(m);
  // Student's t at 7 degrees of freedom, 97.5 %: 2.3646.
  expect(interval[1] - m).toBeCloseTo(2.3646 * error, 3);
  expect(m - interval[0]).toBeCloseTo(2.3646 * error, 3);
});

it("knows nothing of one cluster, or where nothing varies", () => {
  const unknown = [Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY];
  expect(jackknife({ value: 1, without: [1], n: 1 }).interval).toEqual(unknown);
  expect(jackknife({ value: 0.1, without: [0.1 + 1e-17, 0.1, 0.1], n: 3 }).interval).toEqual(unknown);
  expect(jackknife({ value: 1, without: [], n: 0 }).interval).toEqual(unknown);
});

it("holds the expected share of kinds in 95 of 100 experiments, where a bootstrap's draws would halve it", () => {
  // 60 draws from 40 kinds, the k-th with a weight of 1/(k + 1): the truth is the mean share of kinds over many experiments.
  const weights = Array.from({ length: 40 }, (_, k) => 1 / (k + 1));
  const all = weights.reduce((a, b) => a + b, 0);
  const draw = (uniform: number) => {
    let left = uniform * all;
    return weights.findIndex((weight) => {
      left -= weight;
      return left < 0;
    });
  };
  const share = (values: readonly number[]) => new Set(values).size / values.length;
  const experiments = Array.from({ length: 600 }, (_, item) => {
    const stream = randomStream({ seed: 3, stage: "kinds", item });
    const values = Array.from({ length: 60 }, (_, i) => draw(stream.uniform(i)));
    return jackknife({ value: share(values), without: without(values, share), n: 60 });
  });
  const truth = mean(experiments.map(({ value }) => value));
  const held = experiments.filter(({ interval: [low, high] }) => low <= truth && truth <= high).length / 600;
  expect(held).toBeGreaterThan(0.91);
  expect(held).toBeLessThan(0.995);
});
