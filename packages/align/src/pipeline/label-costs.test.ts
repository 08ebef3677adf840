import { expect, it } from "vitest";
import { labellingOf } from "./label-costs.ts";

const stage = (name: string, kind: string, rows: number, attempts = 1) => ({
  name,
  kind,
  rows,
  seconds: 100,
  attempts,
});
const spent = (of: string, role: string, seconds: number, dollars?: number) => {
  const tokens = { promptTokens: 900, completionTokens: 100, calls: 10 };
  return { stage: of, role, seconds, ...tokens, ...(dollars === undefined ? {} : { dollars }) };
};
const recipe = (evaluate: object, roles: object = {}) =>
  ({ evaluate, roles, feedback: { label: {} } }) as unknown as Parameters<typeof labellingOf>[2];
const endpoint = { endpoint: "http://localhost:8000/v1" };

it("prices what is computed here by this machine's hour, and adds what came before", () => {
  const stages = [stage("labels", "label", 10), stage("audit labels", "label", 5), stage("labeller", "judge", 0)];
  const usage = [
    spent("labels", "labeller", 36),
    spent("audit labels", "labeller", 72),
    spent("pairs", "generator", 99),
  ];
  const { labelling } = labellingOf(stages, usage, recipe({ machineUsdPerHour: 100 }));
  // A dollar of labels; two of the audit and 100 seconds of training before.
  expect(labelling).toMatchObject({
    labels: 10,
    roles: [{ role: "labeller", tokens: 100, seconds: 3.6 }],
    breakEven: { atHigh: 1, atLow: 6 },
  });
  expect(labelling!.total.usd).toBeCloseTo(0.1, 12);
  expect(labelling!.fixedUsd).toBeCloseTo(2 + 100 / 36, 12);
});

it("takes an endpoint's own price, and knows none where it has none", () => {
  const stages = [stage("labels", "label", 10)];
  const of = (dollars?: number) =>
    labellingOf(
      stages,
      [spent("labels", "labeller", 36, dollars)],
      recipe({ machineUsdPerHour: 100 }, { labeller: endpoint }),
    );
  expect(of(5).labelling!.total.usd).toBe(0.5);
  expect(of().labelling!.total).not.toHaveProperty("usd");
  expect(of().labelling).not.toHaveProperty("breakEven");
});

it("says nothing of labels that another run asked for, or that checks gave", () => {
  const usage = [spent("labels", "labeller", 36)];
  expect(labellingOf([stage("labels", "label", 10, 0)], [], recipe({}))).toEqual({});
  expect(labellingOf([stage("labels", "label-by-checks", 10)], usage, recipe({}))).toEqual({});
});

it("prices a label by what was asked anew: what the store had already is no label of this run", () => {
  const stages = [stage("labels", "label", 10)];
  const usage = [spent("labels", "labeller", 36)];
  const of = (anew: Map<string, { rows: number }>) =>
    labellingOf(stages, usage, recipe({ machineUsdPerHour: 100 }), { anew }).labelling;
  expect(of(new Map([["labels", { rows: 4 }]]))).toMatchObject({ labels: 4, total: { tokens: 250, usd: 0.25 } });
  expect(of(new Map())).toBeUndefined();
  expect(of(new Map([["labels", { rows: 0 }]]))).toBeUndefined();
});
