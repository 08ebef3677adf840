import { isScored, RewardError, type Rewarded } from "./reward.ts";

/**
 * Places of the responses that every judge has answered for; the others have no part in anything that is learnt.
 * @param judged what each judge said, in the order of the responses
 * @throws RewardError when more than `most` of them, a share, have no answer, or none has one
 */
export function answeredPlaces(
  judged: readonly (readonly Rewarded[])[],
  { most, when }: { readonly most: number; readonly when: string },
): number[] {
  const count = judged[0]?.length ?? 0;
  const places: number[] = [];
  const reasons: string[] = [];
  for (let i = 0; i < count; i++) {
    const missing = judged.flatMap((said) => unanswered(said[i]!));
    if (missing.length === 0) places.push(i);
    else reasons.push(missing.join("; "));
  }
  if (count > 0 && (places.length === 0 || reasons.length > most * count))
    throw new RewardError(
      `${reasons.length} of ${count} replies of ${when} were not judged, more than ${percent(most)} (reward.failures.most); the first: ${reasons[0]}. What was learnt so far is kept: mend what judges and give the same command, or allow more.`,
    );
  return places;
}

function unanswered(said: Rewarded): string[] {
  return isScored(said) ? [] : [said.unanswered];
}

function percent(share: number): string {
  return `${Number((100 * share).toPrecision(3))} %`;
}
