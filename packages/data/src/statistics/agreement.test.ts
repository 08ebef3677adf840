import { expect, test } from "vitest";
import golden from "./agreement.golden.json" with { type: "json" };
import { cohenKappa, krippendorffAlpha } from "./agreement.ts";

test("Cohen's kappa is scikit-learn's", () => {
  for (const { items, kappa } of golden.kappas) expect(cohenKappa(items as [string, string][])).toBeCloseTo(kappa, 12);
});

test("Krippendorff's alpha is that of the Python package, its interval the jackknife over items", () => {
  for (const { items, alpha, interval, n } of golden.alphas) {
    const found = krippendorffAlpha(items);
    expect(found.value).toBeCloseTo(alpha, 12);
    expect(found.interval[0]).toBeCloseTo(interval[0]!, 5);
    expect(found.interval[1]).toBeCloseTo(interval[1]!, 5);
    expect(found.n).toBe(n);
  }
});

test("what says nothing of agreement is no number", () => {
  expect(cohenKappa([])).toBeNaN();
  expect(cohenKappa([["a", "a"]])).toBeNaN();
  for (const items of [
    [],
    [["a"], ["b"]],
    [
      ["a", "a"],
      ["a", "a"],
    ],
  ]) {
    const { value, interval } = krippendorffAlpha(items);
    expect(value).toBeNaN();
    expect(interval).toEqual([Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY]);
  }
  // An item that one person judged changes nothing.
  const items = [
    ["a", "a"],
    ["b", "b"],
    ["a", "b"],
    ["b", "b"],
  ];
  expect(krippendorffAlpha([...items, ["a"]])).toEqual(krippendorffAlpha(items));
  expect(
    krippendorffAlpha([
      ["a", "b"],
      ["b", "a"],
    ]).value,
  ).toBeLessThan(0);
});
