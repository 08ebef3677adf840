import type { Item } from "./packing.ts";
import type { BuildLoss, Objective, Sums, Trainer } from "./trainer.ts";

/*
 * A combined loss, L = L_own + Σ λ·L_term: the gradients of all are added up and applied in one step. An algorithm knows its own loss; which
 * terms stand beside it is no business of its file. METHODS §6.
 */

/** A further term of the loss, in the same update: λ·L beside the algorithm's own. */
export interface LossTerm {
  readonly name: string;
  /** λ. */
  readonly weight: number;
  /** L, without λ. */
  readonly build: BuildLoss;
  /** What it is computed on in an update: a function of the update's number alone, so that a resumed training needs no more. */
  items(update: number): readonly Item[];
  /** Batches to come, as far as their lengths are known: rows are laid out for them too. */
  readonly expected: readonly (readonly Item[])[];
  /** SHA-256 of what it learns from. */
  readonly digest: string;
  /** Rows that it does not use, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
}

/** A term with its compiled loss. */
interface OpenTerm extends LossTerm {
  readonly objective: Objective;
}

/** A trainer's terms. Those of weight 0 are none: a training with them has the bits of one without. */
export function openTerms(trainer: Trainer, terms: readonly LossTerm[] = []): readonly OpenTerm[] {
  return active(terms).map((term) => {
    const objective = trainer.objective((graph) => {
      const { loss } = term.build(graph);
      return { loss: loss.mul(term.weight), metrics: { own: loss } };
    });
    return { ...term, objective };
  });
}

/** Terms that have a weight. */
export function active(terms: readonly LossTerm[] = []): readonly LossTerm[] {
  return terms.filter(({ weight }) => weight !== 0);
}

/** What an outcome depends on of its terms; nothing where there are none. */
export function termsIdentity(terms: readonly LossTerm[] = []): { readonly terms?: readonly (readonly string[])[] } {
  const some = active(terms);
  return some.length === 0 ? {} : { terms: some.map(({ name, digest }) => [name, digest]) };
}

export interface Step {
  /** The algorithm's own loss and metrics. */
  readonly sums: Sums;
  /** Of all losses together, before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /**
   * `loss/<name>`, each term's loss before its weight, and `policy/gradient_cosine`, the cosine between the algorithm's gradient and that of
   * the terms: below 0 they pull apart. Absent where one of the two is zero, or
   * where gradients are not here.
   */
  readonly metrics: Readonly<Record<string, number>>;
}

/** One update of an algorithm's loss on some items, and of every term on its own. Errors: DivergenceError. */
export async function takeStep(
  trainer: Trainer,
  objective: Objective,
  items: readonly Item[],
  terms: readonly OpenTerm[],
): Promise<Step> {
  const metrics: Record<string, number> = {};
  for (const term of terms) {
    const { own } = await term.objective.accumulate(term.items(trainer.step));
    metrics[`loss/${term.name}`] = own!;
  }
  const ofTerms = terms.length > 0 ? trainer.gradient()?.slice() : undefined;
  const sums = await objective.accumulate(items);
  const cosine = ofTerms && cosineOfParts(ofTerms, trainer.gradient()!);
  if (cosine !== undefined) metrics["policy/gradient_cosine"] = cosine;
  const { gradNorm, learningRate } = await trainer.update();
  return { sums, gradNorm, learningRate, metrics };
}

/** The cosine between a part of a sum and the rest of it; undefined where one of them is zero. */
export function cosineOfParts(part: ArrayLike<number>, sum: ArrayLike<number>): number | undefined {
  let [dot, own, other] = [0, 0, 0];
  for (let i = 0; i < sum.length; i++) {
    const rest = sum[i]! - part[i]!;
    dot += part[i]! * rest;
    own += part[i]! * part[i]!;
    other += rest * rest;
  }
  return own > 0 && other > 0 ? dot / Math.sqrt(own * other) : undefined;
}
