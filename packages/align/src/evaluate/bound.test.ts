import { expect, it } from "vitest";
import { type Bound, verdict } from "./verdict.ts";

function said(bound: Bound, [value, low, high]: readonly [number, number, number]) {
  const row = { checkpoint: "rl", metric: "violations", value, interval: [low, high] as [number, number], n: 94 };
  const card = {
    checkpoints: ["base", "rl"].map((id) => ({ id, label: id.toUpperCase(), model: "m" })),
    rows: [{ ...row, better: "lower" as const }],
    ...{ differences: [], metrics: [], labelHealth: [], gates: [], heldOut: { prompts: 94, categories: [] } },
  };
  const first = { recommendation: { sentence: "Take RL.", better: [] }, mustHold: [], unseen: [], bound };
  return verdict(card as never, first as never).sentences[1];
}

it("a bound is called kept or broken where its interval lies on one side, and else neither", () => {
  const bound = { checkpoint: "rl", bound: 0.1, cost: "checks" } as const;
  expect(said(bound, [0.02, 0.01, 0.07])).toMatch(
    /The bound of 10.*% is kept on held-out prompts: 2.*of RL's replies violate/,
  );
  expect(said(bound, [0.3, 0.21, 0.39])).toMatch(/is broken on held-out prompts: 30/);
  expect(said(bound, [0.11, 0.06, 0.18])).toMatch(/neither shown to be kept nor to be broken/);
});

it("a bound on what nobody measured is unknown", () => {
  for (const cost of ["critic", "model"] as const)
    expect(said({ checkpoint: "rl", bound: 0, cost }, [0.02, 0.01, 0.07])).toMatch(
      /is unknown: the (critic was not asked|cost model did not)/,
    );
  expect(said({ checkpoint: "sl", bound: 0, cost: "checks" }, [0.02, 0.01, 0.07])).toMatch(/unknown: no check applies/);
});
