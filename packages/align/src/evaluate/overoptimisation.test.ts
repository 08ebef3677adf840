import { describe, expect, it } from "vitest";
import { type OptimisationPoint, overoptimisation } from "./overoptimisation.ts";

/** Of 100 prompts: the proxy rises at each; of the replies that broke nothing so many break something now. */
function points(fallen: number): OptimisationPoint[] {
  const scores = (of: (i: number) => number) => new Map(Array.from({ length: 100 }, (_, i) => [`p${i}`, of(i)]));
  return [
    { name: "base", kl: 0, proxy: scores((i) => i % 7), judge: scores(() => 1) },
    {
      name: "rl",
      kl: 3,
      proxy: scores((i) => (i % 7) + 0.5 + (i % 3) / 10),
      judge: scores((i) => (i < fallen ? 0 : 1)),
    },
  ];
}

describe("overoptimisation", () => {
  it("does not say that a judge of yes and no parted from the proxy by what chance gives", () => {
    // Four of four that changed: p = 1/8 by McNemar's exact test; nine of nine: 1/256.
    expect(overoptimisation(points(4), { seed: 7, shares: true }).trust).toBe("unconfirmed");
    expect(overoptimisation(points(9), { seed: 7, shares: true })).toMatchObject({
      trust: "parted",
      points: [{ name: "base" }, { name: "rl", against: "base", judge: { value: 0.91 } }],
    });
  });

  it("says how sure it is of a judge whom nothing breaks", () => {
    const { points: judged } = overoptimisation(points(0), { seed: 7, shares: true });
    expect(judged[0]!.judge.interval[0]).toBeLessThan(0.99);
  });
});
