import { expect, it } from "vitest";
import { labelCosts } from "./cost.ts";

const role = (name: string, usd?: number) => {
  return { role: name, promptTokens: 900, completionTokens: 100, seconds: 50, ...(usd === undefined ? {} : { usd }) };
};
const people = { humanUsd: [1, 10] as const };

it("divides what each role used by the labels", () => {
  const costs = labelCosts({ labels: 100, roles: [role("labeller", 2), role("critic", 3)], ...people });
  expect(costs.roles).toEqual([
    { role: "labeller", tokens: 10, seconds: 0.5, usd: 0.02 },
    { role: "critic", tokens: 10, seconds: 0.5, usd: 0.03 },
  ]);
  expect(costs.total).toEqual({ role: "total", tokens: 20, seconds: 1, usd: 0.05 });
  expect(costs).toMatchObject({ fixedUsd: 0, breakEven: { atHigh: 1, atLow: 1 } });
});

it("breaks even where what was spent first is earned back", () => {
  // 40 dollars first, 0.20 a label: 40 / 9.8 = 4.08, 40 / 0.8 = 50.
  const fixed = [role("training", 30), role("audit", 10)];
  expect(labelCosts({ labels: 100, roles: [role("labeller", 20)], fixed, ...people })).toMatchObject({
    fixedUsd: 40,
    breakEven: { atHigh: 5, atLow: 50 },
  });
});

it("never, where a label costs more than a person's", () => {
  expect(labelCosts({ labels: 10, roles: [role("labeller", 20)], ...people }).breakEven).toEqual({
    atHigh: 1,
    atLow: null,
  });
});

it("says no price where one is not known", () => {
  const costs = labelCosts({ labels: 10, roles: [role("labeller", 20), role("critic")], ...people });
  expect(costs.total).not.toHaveProperty("usd");
  expect(costs).not.toHaveProperty("breakEven");
  const trained = labelCosts({ labels: 10, roles: [role("labeller", 20)], fixed: [role("training")], ...people });
  expect(trained).not.toHaveProperty("breakEven");
  expect(trained.total.usd).toBe(2);
});

it("nothing can be told of no labels", () => {
  expect(() => labelCosts({ labels: 0, roles: [role("labeller")], ...people })).toThrow(RangeError);
});
