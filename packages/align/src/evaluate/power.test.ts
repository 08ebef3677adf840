import { randomStream, rate, rateDifference } from "@tenet/data";
import { expect, it } from "vitest";
import { accuracyGate } from "./gate.ts";
import { fewPairs, gatePower, leastChange, leastPairs } from "./power.ts";

/** How often scorecards of so many prompts show a fall, over 1,000 of them. */
function shown(prompts: number, before: number, change: number): number {
  const cards = 1000;
  let falls = 0;
  for (let card = 0; card < cards; card++) {
    const { uniform } = randomStream({ seed: card, stage: "power", item: `${prompts} ${before}` });
    const pairs = Array.from({ length: prompts }, (_, i) => ({
      cluster: String(i),
      before: uniform(2 * i) < before,
      after: uniform(2 * i + 1) < before - change,
    }));
    // Five seeds in turns: what they draw is then remembered, and drawing is most of the work.
    if (rateDifference(pairs, { seed: card % 5, resamples: 400 }).interval[1] < 0) falls++;
  }
  return falls / cards;
}

it.each([
  [94, 0.5],
  [220, 0.2],
  [220, 0.8],
])(
  "what %i prompts show from a rate of %f is shown four times in five, over 1,000 scorecards",
  (prompts, before) => {
    expect(Math.abs(shown(prompts, before, leastChange(prompts, before)!) - 0.8)).toBeLessThan(0.03);
  },
  180_000,
);

it("is less with more prompts, and none where no fall can be shown", () => {
  const changes = [50, 100, 200, 400].map((prompts) => leastChange(prompts, 0.3)!);
  expect(changes).toEqual([...changes].sort((a, b) => b - a));
  expect(leastChange(12, 0.05)).toBeUndefined();
});

it.each([
  [12, 0.7, 0.5],
  [48, 0.7, 0.5],
  [95, 0.6, 0.5],
  [120, 0.8, 0.7],
])(
  "a gate on %i pairs lets a signal that is right on %f pass, over a chance of %f, as often as of 1,000",
  (pairs, accuracy, chance) => {
    const gates = 1000;
    let passed = 0;
    for (let gate = 0; gate < gates; gate++) {
      const { uniform } = randomStream({ seed: gate, stage: "gate", item: `${pairs} ${accuracy}` });
      const seen = Array.from({ length: pairs }, (_, i) => ({ cluster: String(i), yes: uniform(i) < accuracy }));
      if (accuracyGate(rate(seen), { chance, override: false }, "").passed) passed++;
    }
    expect(Math.abs(passed / gates - gatePower(pairs, { accuracy, chance }))).toBeLessThan(0.03);
  },
);

it("names the least pairs from which on a gate lets a good signal pass four times in five", () => {
  const signal = { accuracy: 0.7, chance: 0.5 };
  const least = leastPairs(signal)!;
  // Fewer may do by the luck of whole numbers: 46 do, 47 do not.
  expect(gatePower(least - 1, signal)).toBeLessThan(0.8);
  for (let pairs = least; pairs < 4 * least; pairs++) expect(gatePower(pairs, signal)).toBeGreaterThanOrEqual(0.8);
  expect(leastPairs({ accuracy: 0.7, chance: 0.7 })).toBeUndefined();
  expect(gatePower(0, signal)).toBe(0);
  expect(gatePower(3, { accuracy: 1, chance: 0.5 })).toBe(0);
  expect(gatePower(4, { accuracy: 1, chance: 0.5 })).toBe(1);
  expect(fewPairs(least, { chance: 0.5 })).toBeUndefined();
  expect(fewPairs(12, { chance: 0.5 })).toEqual({
    text: `on 12 pairs a preference model that is right on 0.7 of all is shown to be above chance (0.5) in 25 % of tests; it takes ${least} to do so four times in five`,
    least,
  });
});

it("counts pairs of one prompt for what they are worth", () => {
  const { text } = fewPairs(96, { chance: 0.5, counted: 12.2 })!;
  expect(text).toMatch(
    /^on 96 pairs, which count for 12 since pairs of one prompt count for less, .* 25 % of tests; it takes 48 of as many prompts to do so/,
  );
  expect(fewPairs(96, { chance: 0.5, counted: 60 })).toBeUndefined();
});

it("says what it did not look for, and what cannot be", () => {
  expect(fewPairs(48, { chance: 0.69 })).toMatchObject({
    text: expect.stringContaining("it takes more than 5,000 to do so"),
    least: undefined,
  });
  expect(fewPairs(48, { chance: 0.7 })!.text).toContain("no number of pairs would do");
});

it.each([0.05, 0.3, 0.5, 0.55, 0.6, 0.62])(
  "the least pairs over a chance of %f are the same when all are tried",
  (chance) => {
    const signal = { accuracy: 0.7, chance };
    const least = leastPairs(signal)!;
    let last = 0;
    for (let pairs = 1; pairs <= 2 * least + 20; pairs++) if (gatePower(pairs, signal) < 0.8) last = pairs;
    expect(least).toBe(last + 1);
  },
);

it("is quick where thousands are needed", () => {
  const began = performance.now();
  expect(leastPairs({ accuracy: 0.7, chance: 0.68 })).toBeGreaterThan(3000);
  expect(performance.now() - began).toBeLessThan(2000);
});
