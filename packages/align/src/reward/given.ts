import { type GivenPrinciple, type Message, turned } from "@tenet/data";
import type { GivenRewardSettings } from "@tenet/train";
import { type Constitution, drawPrinciples, givenOf } from "../constitution/index.ts";

/** What a reply answers, as far as principles are drawn for it. */
export interface Answered {
  /** Of the prompt's row. */
  readonly id: string;
  readonly prompt: readonly Message[];
  readonly category?: string | undefined;
  /** The round of sampling; looks at a model, and the scorecard, have one draw for all. */
  readonly iteration?: number | undefined;
}

/**
 * The principles that a conditioned preference model judges a reply by: those that always are, those of the prompt's category, and others
 * drawn by weight for each prompt anew in each round. Replies to one prompt in one round have the same. SALMON (2310.05910), §3.4.
 */
export function principlesFor(
  { id, category, iteration = -1 }: Answered,
  {
    constitution,
    settings: { count, always = [], negate = [], categories = {} },
    seed,
  }: { readonly constitution: Constitution; readonly settings: GivenRewardSettings; readonly seed: number },
): GivenPrinciple[] {
  const fixed = new Set([...always, ...(category === undefined ? [] : (categories[category] ?? []))]);
  const others = constitution.principles.filter(
    ({ id: own, weight, use }) => !fixed.has(own) && weight > 0 && use !== "revision",
  );
  const drawn = drawPrinciples(
    { ...constitution, principles: others },
    {
      ...{ seed, stage: "given-reward", item: JSON.stringify([id, Math.max(-1, iteration)]) },
      ...{ count: Math.min(count, others.length), use: "preference" },
    },
  );
  const shown = [...constitution.principles.filter(({ id: own }) => fixed.has(own)), ...drawn];
  return shown.flatMap((principle) => {
    const given = givenOf(principle);
    return negate.includes(principle.id) ? turned([given]) : [given];
  });
}
