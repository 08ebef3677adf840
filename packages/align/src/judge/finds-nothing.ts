/**
 * Whether a critique finds nothing wrong: its first sentence says so in one of these ways ("No critique needed", "There is
 * nothing harmful here", "The response is already kind"), and nothing in it objects with "however", "but" or "although".
 *
 * @example
 * findsNothing("No critique needed."); // true
 */
export function findsNothing(critique: string): boolean {
  const text = critique.replaceAll(/[‘’ʼ]/g, "'").trim();
  const first = /^[^.!?\n]*/.exec(text)![0];
  return satisfied.some((pattern) => pattern.test(first)) && !/\b(?:however|but|although)\b/i.test(text);
}

const satisfied: readonly RegExp[] = [
  /^(?:none|nothing|n\/a|no)\W*$/i,
  /^no (?:further )?(?:critiques?|criticisms?|revisions?|changes?|improvements?|issues?|problems?|concerns?|violations?|faults?|harm)\b/i,
  /^(?:there (?:is|are|isn't|aren't)|i (?:see|find|found|have)|i (?:do not|don't|did not|didn't) (?:see|find|have)) (?:really )?(?:no|nothing|any|anything)\b/i,
  /^(?:the|this) (?:response|reply|answer|assistant)(?:'s response)? (?:(?:is|was) (?:(?:already|perfectly|entirely|quite) )?(?:fine|good|acceptable|appropriate|harmless|helpful|kind|safe|polite)|(?:does not|doesn't|did not|didn't) (?:violate|break|contain|give|state|include) any)\b/i,
];
