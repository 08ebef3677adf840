import { randomStream } from "@tenet/data";
import { ConstitutionError } from "./errors.ts";
import type { Constitution, Principle } from "./schema.ts";

export interface DrawOptions {
  seed: number;
  /** What the draw is for, e.g. "revise" or "label": other stages draw independently. */
  stage: string;
  /** Id of the row it is for. */
  item: string;
  /** How many principles. */
  count: number;
  /** Which principles take part: those of this use and those for both. Default: all. */
  use?: "revision" | "preference" | undefined;
}

/**
 * Principles in the order drawn: proportional to weight, none again until all were drawn. METHODS §1.
 *
 * Each principle runs an exponential race with a time of its own, E/weight, E from the stream of (seed, stage, item,
 * principle id, cycle); the order of arrival is a weighted draw without replacement (Efraimidis and Spirakis, 2006). Nothing a
 * principle does depends on the others, so changing, adding or removing one changes only the draws it is (or would be)
 * part of. A principle of weight 0 is never drawn.
 *
 * Errors: ConstitutionError when there is nothing to draw from.
 *
 * @example
 * const constitution = importCaiPaper({ preferences: '["Which is kinder?", "Which is wiser?"]' });
 * drawPrinciples(constitution, { seed: 1, stage: "label", item: "prompt-1", count: 2 }).length; // 2
 */
export function drawPrinciples(constitution: Constitution, options: DrawOptions): Principle[] {
  const { seed, stage, item, count, use } = options;
  const running = drawnFrom(constitution, use);
  if (count > 0 && running.length === 0)
    throw new ConstitutionError(
      `the constitution "${constitution.name}" has no principle to draw${use ? ` for ${use}` : ""}: each has weight 0 or another use`,
    );
  const drawn: Principle[] = [];
  for (let cycle = 0; drawn.length < count; cycle++) {
    const arrivals = running.map((principle) => {
      const { uniform } = randomStream({ seed, stage, item: JSON.stringify([item, principle.id, cycle]) });
      return { principle, time: -Math.log1p(-uniform(0)) / principle.weight };
    });
    arrivals.sort((a, b) => a.time - b.time || (a.principle.id < b.principle.id ? -1 : 1));
    drawn.push(...arrivals.slice(0, count - drawn.length).map(({ principle }) => principle));
  }
  return drawn;
}

/** The principles that a draw for a use is from. */
export function drawnFrom({ principles }: Constitution, use: DrawOptions["use"]): Principle[] {
  return principles.filter(
    (principle) => principle.weight > 0 && (use === undefined || principle.use === "both" || principle.use === use),
  );
}
