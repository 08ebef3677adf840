import type { Store } from "@tenet/runs";
import { cardEstimate, type Scorecard } from "../evaluate/scorecard.ts";
import { agreementOf, reviewSpecSchema, type Word, wordsOf } from "../people/index.ts";

/** What people were asked about a run's pairs, and said: each person's latest word on each pair, of all queues. */
export function wordsAbout(store: Store, run: string): Word[] {
  const own = store.queues().filter(({ spec }) => reviewSpecSchema.safeParse(spec).data?.run === run);
  // Queues are given the latest first; a later word on a pair counts for an earlier one's.
  const answers = own.flatMap(({ id }) => store.answers(id)).sort((one, other) => one.id - other.id);
  return wordsOf(answers);
}

/** How far people agree, as the scorecard has it. */
export function peopleCard(words: readonly Word[], seed: number): NonNullable<Scorecard["people"]> {
  const { people, alpha, raw, single } = agreementOf(words, { seed });
  return {
    pairs: new Set(words.map(({ row }) => row)).size,
    judgements: words.length,
    single,
    ...(alpha && { alpha: cardEstimate(alpha) }),
    ...(raw && { raw: cardEstimate(raw) }),
    each: people.map(({ answers, seconds, agreement, leftShare }, i) => ({
      ...{ person: i + 1, answers },
      ...(seconds !== undefined && { seconds }),
      ...(agreement && { agreement: cardEstimate(agreement) }),
      ...(leftShare && { leftShare: cardEstimate(leftShare) }),
    })),
  };
}
