import { z } from "zod";
import type { Message } from "./message.ts";

/*
 * Principles that a preference model is shown with what it judges. METHODS §4 (SALMON, 2310.05910).
 */

export const givenPrincipleSchema = z.strictObject({
  /** Id of the principle. */
  principle: z.string(),
  /** Whether its opposite is asked for. */
  negated: z.boolean(),
  /** The words shown. */
  says: z.string().min(1),
  /** The words of the other side. */
  otherwise: z.string().min(1),
});
export type GivenPrinciple = z.output<typeof givenPrincipleSchema>;

export const givenSchema = z.strictObject({
  principles: z.array(givenPrincipleSchema).min(1),
  /** Id of the principle among them that decided which reply is better. */
  decidedBy: z.string(),
});

/**
 * A conversation behind the principles that its reply is to be judged by: a system turn, or the beginning of the one that it has.
 *
 * @example
 * givenBefore([{ role: "user", content: "Hello" }], [{ says: "Be brief." }])[0]; // { role: "system", content: "Judge by these principles:\n- Be brief." }
 */
export function givenBefore(
  prompt: readonly Message[],
  principles: readonly Pick<GivenPrinciple, "says">[],
): Message[] {
  if (principles.length === 0) return [...prompt];
  const content = `Judge by these principles:\n${principles.map(({ says }) => `- ${says}`).join("\n")}`;
  const [first, ...rest] = prompt;
  return first?.role === "system"
    ? [{ role: "system", content: `${content}\n\n${first.content}` }, ...rest]
    : [{ role: "system", content }, ...prompt];
}

/** The same principles with each turned into its opposite. */
export function turned(principles: readonly GivenPrinciple[]): GivenPrinciple[] {
  return principles.map(({ principle, negated, says, otherwise }) => {
    return { principle, negated: !negated, says: otherwise, otherwise: says };
  });
}
