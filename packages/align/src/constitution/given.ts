import type { GivenPrinciple } from "@tenet/data";
import { asAsked } from "./authority.ts";
import type { Principle } from "./schema.ts";

/** A principle as a preference model is shown it, and its opposite. METHODS §4 (SALMON, 2310.05910). */
export function givenOf(principle: Pick<Principle, "id" | "text" | "negation" | "authority">): GivenPrinciple {
  const says = asAsked(principle);
  return {
    ...{ principle: principle.id, negated: false, says },
    otherwise: principle.negation ?? `The opposite of this: ${says}`,
  };
}
