/** What stands around a reply's reasoning where models are taught to reason; readers of replies take it off (`readReply` of @tenet/lm). */
const [open, close] = ["<think>", "</think>"] as const;

/**
 * A reply behind its reasoning, as one completion.
 *
 * @example
 * withReasoning("It hurts.", "See a doctor."); // "<think>\nIt hurts.\n</think>\n\nSee a doctor."
 */
export function withReasoning(reasoning: string | undefined, reply: string): string {
  return reasoning === undefined ? reply : `${open}\n${reasoning.trim()}\n${close}\n\n${reply}`;
}

/** The ids in square brackets that a reasoning cites, each once, of those that are known. */
export function citedIn(reasoning: string, known: ReadonlySet<string>): string[] {
  const cited = [...reasoning.matchAll(/\[([A-Za-z0-9][A-Za-z0-9._-]{0,63})\]/g)].map(([, id]) => id!);
  return [...new Set(cited)].filter((id) => known.has(id));
}
