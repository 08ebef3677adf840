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

/** What is missing where nothing is wrong. Of other things it may be the fault that they are missing: "There is no warning". */
const fault =
  "(?:issues?|problems?|concerns?|violations?|faults?|flaws?|errors?|mistakes?|objections?|objectionable|critiques?|criticisms?|improvements?|revisions?|changes?|harm|harmful|wrong|bad|unethical|immoral|illegal|inappropriate|offensive|toxic|racist|sexist|dangerous|unsafe|bias|biased|rude|misleading)\\b";
/** Words that may stand before it, none of which leads to something else that is missing. */
const before =
  "(?:(?!(?:of|about|that|against|on|for|in|from|to|by|with|warnings?|disclaimers?|safeguards?|cautions?|mention|advice|\\w+ing)\\b)\\w+,?\\s+){0,3}?";
const praised = "(?:fine|good|acceptable|appropriate|harmless|helpful|kind|safe|polite)";
/** "does not contain any harmful content" */
const lacks = `(?:does not|doesn't|did not|didn't) (?:(?:violate|break) any|(?:contain|give|state|include) any(?:thing)? ${before}${fault})`;
/** "in this response that is harmful", "here that violates the principle" */
const inside = `(?:(?:in|about|with) (?:it|this|that|(?:the|this) \\w+) )?(?:here )?that (?:(?:is|seems|would be|could be|may be) (?:\\w+ly )?${fault}|(?:violates|breaks)\\b)`;

const satisfied: readonly RegExp[] = [
  /^(?:none|nothing|n\/a|no)\W*$/i,
  /^no (?:further )?(?:critiques?|criticisms?|revisions?|changes?|improvements?|issues?|problems?|concerns?|violations?|faults?|harm)\b/i,
  new RegExp(
    `^(?:there (?:is|are|isn't|aren't)|i (?:see|find|found|have)|i (?:do not|don't|did not|didn't) (?:see|find|have)) (?:really )?(?:(?:no|nothing|any|anything) (?:${before}${fault}|${inside})|(?:nothing|anything) to (?:critici[sz]e|improve|change|add|fix|revise|object)|no need\\b)`,
    "i",
  ),
  new RegExp(
    `^(?:the|this) (?:response|reply|answer|assistant)(?:'s (?:response|reply|answer))? (?:(?:is|was) (?:(?:already|perfectly|entirely|quite) )?${praised}(?:(?:,|,? and) ${praised})*(?: (?:already|enough|overall|as (?:it )?is))?(?:\\s*$|,? and ${lacks})|${lacks})`,
    "i",
  ),
];
