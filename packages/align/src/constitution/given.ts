import type { GivenPrinciple } from "@tenet/data";
import type { Principle } from "./schema.ts";

/** A principle as a preference model is shown it, and its opposite. METHODS §4 (SALMON, 2310.05910). */
export function givenOf({ id, text, negation }: Pick<Principle, "id" | "text" | "negation">): GivenPrinciple {
  return { principle: id, negated: false, says: text, otherwise: negation ?? `The opposite of this: ${text}` };
}
