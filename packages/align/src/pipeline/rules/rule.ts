import type { Path } from "@tenet/data";
import type { Constitution } from "../../constitution/index.ts";
import type { Recipe } from "../recipe.ts";

/** Settings that may each be as they are, but not together. */
export interface Rule {
  /** Where the problem is shown. */
  readonly at: Path;
  /** Whether the recipe is wrong in this. */
  readonly when: boolean;
  /** What was to stand there, and why. */
  readonly expected: string;
  /** What stands there, where it is more than the value. */
  readonly got?: string | undefined;
  /** The nearest valid name. */
  readonly suggestion?: string | undefined;
}

/** What rules are told of. */
export interface Facts {
  /** With defaults filled in. */
  readonly recipe: Recipe;
  /** As the file has it, before any default. */
  readonly given: unknown;
}

/** Rules about one part of a recipe. */
export type Rules = (facts: Facts) => readonly Rule[];

/** Rules about what a recipe asks of its constitution. */
export type ConstitutionRules = (
  facts: Facts & { readonly constitution: Constitution; readonly unseen: Constitution | undefined },
) => readonly Rule[];

/** Why what needs a policy is refused without one. */
export const withoutPolicy =
  "policy beside it, e.g. policy: { algorithm: ppo }: without reinforcement learning nothing is labelled";
