import { randomStream, rateDifference } from "@tenet/data";
import { expect, it } from "vitest";
import { leastChange } from "./power.ts";

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
