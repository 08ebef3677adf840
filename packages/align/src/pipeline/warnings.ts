import { constitutionTerm } from "@tenet/train";
import { judgeHeard } from "./independence.ts";
import type { OpenRecipe } from "./open.ts";
import { unseenPairs } from "./parts/labels.ts";
import { constraintOf } from "./parts/policy-judges.ts";
import { isAudited, learnsModelLabels } from "./recipe.ts";
import { planOf } from "./rounds.ts";

/** What a recipe may do, and should be thought over: each a sentence that says what follows and what to write instead. */
export function warningsOf({ recipe, constitution }: Pick<OpenRecipe, "recipe" | "constitution">): string[] {
  const { policy, prompts } = recipe;
  const warnings: string[] = [];
  if (learnsModelLabels(recipe) && !isAudited(recipe))
    warnings.push(
      "the labels are a model's and nobody knows what they are worth: give feedback.audit pairs whose better reply is known, train a labeller that is audited (roles.labeller.train), or let the checks label (feedback.label.method: checks)",
    );
  const heard = judgeHeard(recipe);
  if (heard !== undefined)
    warnings.push(
      `${heard[0]!.toLowerCase()}${heard.slice(1)}: it likes what it taught, so it says who wins, and neither rates replies nor stands for an independent word against over-optimisation; give roles.judge a model that nothing learns from`,
    );
  const unseen = learnsModelLabels(recipe) ? unseenPairs(recipe) : undefined;
  if (unseen !== undefined) warnings.push(unseen);
  if (recipe.inference?.weights === "int8")
    warnings.push(
      "all that local models say and score in this run is of weights in 8 bits, the scorecard too: an adapter is exported for the float32 model, so measure it there (tenet eval, by a recipe without inference) before it is relied on",
    );
  if (recipe.training?.weights === "int8" && recipe.inference?.weights !== "int8")
    warnings.push(
      "adapters are trained over weights in 8 bits and speak over float32 ones: what they learnt holds there but for the difference of the two (docs/performance.md), which the scorecard's figures include",
    );
  const { steps, rounds } = planOf(recipe);
  if (rounds > 1 && steps[0] === "policy" && policy && "kl" in policy && policy.kl.reference === "first")
    warnings.push('policy.kl.reference: first is the model itself where rounds begin with the policy: "base" says so');
  const checked = constitution.principles.some(({ checks }) => checks.length > 0);
  if (policy !== undefined && checked && prompts.validation === undefined)
    warnings.push(
      "trainings return their last checkpoint, whatever it does: prompts.validation: { share: 0.15 } has them return their best",
    );
  const reward = policy !== undefined && "reward" in policy ? constitutionTerm(policy.reward) : undefined;
  if (reward && reward.weight > 0 && reward.by !== "critic" && constraintOf(policy)?.cost === "checks")
    warnings.push(
      "the checks both reward the policy and are what its constraint bounds: one signal pulls twice, and the multiplier says less; give policy.reward: { constitution: 0 }, or another cost",
    );
  return warnings;
}
