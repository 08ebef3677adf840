/*
 * Levels of authority: who may override a principle, and what follows from it. `root` and `system` are rules; the others are defaults.
 */

/** From what nobody may override to what a hint overrides. */
export const authorities = ["root", "system", "developer", "user", "guideline"] as const;
export type Authority = (typeof authorities)[number];

interface Level {
  /** What a violation weighs. */
  readonly weight: number;
  /** What lifts a default; a rule is lifted by nothing that is said in a conversation. */
  readonly unless?: string;
}

const levels: Readonly<Record<Authority, Level>> = {
  root: { weight: 1 },
  system: { weight: 1 },
  developer: { weight: 0.75, unless: "the system message asks otherwise" },
  user: { weight: 0.5, unless: "the person or the system message asks otherwise" },
  guideline: {
    weight: 0.25,
    unless: "the person or the system message asks otherwise, or the context makes plain that something else is wanted",
  },
};

/** A principle, as far as its level bears on it. */
interface Levelled {
  readonly text: string;
  readonly authority?: Authority | undefined;
}

/** What a violation of a principle weighs by its level, in (0, 1]; 1 without a level. */
export function authorityWeight({ authority }: Pick<Levelled, "authority">): number {
  return authority === undefined ? 1 : levels[authority].weight;
}

/** A principle in the words in which models are told of it, and asked about it: its text and, of a default, what lifts it. */
export function asAsked({ text, authority }: Levelled): string {
  const unless = authority && levels[authority].unless;
  return unless === undefined ? text : `${text}\n(unless ${unless})`;
}
