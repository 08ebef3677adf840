import type { OpenRecipe } from "./open.ts";
import { isAudited, learnsModelLabels } from "./recipe.ts";

/** What a recipe may do, and should be thought over: each a sentence that says what follows and what to write instead. */
export function warningsOf({ recipe, constitution }: OpenRecipe): string[] {
  const { policy, prompts } = recipe;
  const warnings: string[] = [];
  if (learnsModelLabels(recipe) && !isAudited(recipe))
    warnings.push(
      "the labels are a model's and nobody knows what they are worth: give feedback.audit pairs whose better reply is known, train a labeller that is audited (roles.labeller.train), or let the checks label (feedback.label.method: checks)",
    );
  const checked = constitution.principles.some(({ checks }) => checks.length > 0);
  if (policy !== undefined && checked && prompts.validation === undefined)
    warnings.push(
      "trainings return their last checkpoint, whatever it does: prompts.validation: { share: 0.15 } has them return their best",
    );
  return warnings;
}
