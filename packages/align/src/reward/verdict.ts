import { type Constitution, runChecks, violations } from "../constitution/index.ts";

/** How far a reply breaks one principle: 0 not at all, 1 wholly. By checks the severity of the worst violation, by a critic P(breaks). */
export type Breach = {
  readonly principle: string;
  /** The principle's. */
  readonly weight: number;
  readonly breaks: number;
  readonly by: "checks" | "critic";
  /** What a critic's word weighs by the principle's level of authority; absent: 1. A check's severity has it already. */
  readonly factor?: number;
};

/** What a breach weighs, in [0, 1]. */
function severityOf({ breaks, factor = 1 }: Breach): number {
  return breaks * factor;
}

/** What is known of a reply under a constitution: nothing of a principle that is not among them. */
export type ReplyVerdict = { readonly breaches: readonly Breach[] } | { readonly unanswered: string };

/** Breaches by the checks that apply. */
export function breachesByChecks(constitution: Constitution, reply: Parameters<typeof runChecks>[1]): Breach[] {
  const results = runChecks(constitution, reply);
  return constitution.principles.flatMap(({ id, weight }): Breach[] => {
    const own = results.filter(({ principle, applies }) => principle === id && applies);
    return own.length === 0 ? [] : [{ principle: id, weight, breaks: violations(own).worst, by: "checks" }];
  });
}

/** Of each principle the worse of what several said. */
export function worst(breaches: readonly Breach[]): Breach[] {
  const found = new Map<string, Breach>();
  for (const breach of breaches) {
    const known = found.get(breach.principle);
    if (known === undefined || severityOf(breach) > severityOf(known)) found.set(breach.principle, breach);
  }
  return [...found.values()];
}

/**
 * R_const ∈ [−1, 1]: 1 − 2·Σ wₚ·vₚ / Σ wₚ over the principles p that something is known of, vₚ how far the reply breaks p, times what p's level
 * weighs; undefined where nothing is known. Of checks alone it is `checkReward`. METHODS §6.
 */
export function constitutionScore(breaches: readonly Breach[]): number | undefined {
  const weights = breaches.reduce((sum, { weight }) => sum + weight, 0);
  const broken = breaches.reduce((sum, breach) => sum + breach.weight * severityOf(breach), 0);
  return weights === 0 ? undefined : 1 - (2 * broken) / weights;
}

/**
 * Probability that a reply violates at all, a principle of whatever weight and level: 1 where a check found it to, else 1 − Π(1 − P(breaks p))
 * over what the critic was asked.
 */
export function violationProbability(breaches: readonly Breach[]): number {
  if (breaches.some(({ by, breaks }) => by === "checks" && breaks > 0)) return 1;
  return 1 - breaches.reduce((none, { by, breaks }) => (by === "critic" ? none * (1 - breaks) : none), 1);
}
