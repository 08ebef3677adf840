import type { ParsedDocument, Problem } from "@tenet/data";
import type { Constitution } from "../constitution/index.ts";
import type { Recipe } from "./recipe.ts";
import { planOf, settingsOf } from "./rounds.ts";
import { arrangementRules } from "./rules/arrangement.ts";
import { constitutionRules } from "./rules/constitution.ts";
import { engineRules } from "./rules/engine.ts";
import { evaluateRules } from "./rules/evaluate.ts";
import { labelRules } from "./rules/labels.ts";
import { policyRules } from "./rules/policy.ts";
import { reasoningRules } from "./rules/reasoning.ts";
import { roleRules } from "./rules/roles.ts";
import type { Rule, Rules } from "./rules/rule.ts";
import { supervisedRules } from "./rules/supervised.ts";

/** What rules/ says of a recipe by itself: a file for each of its parts. */
const parts: readonly Rules[] = [
  supervisedRules,
  labelRules,
  policyRules,
  reasoningRules,
  roleRules,
  evaluateRules,
  engineRules,
];

/** What each by itself may be, but not together. */
export function contradictions(document: ParsedDocument<Recipe>): Problem[] {
  const { value: recipe, given } = document;
  const arranged = broken(arrangementRules({ recipe, given }));
  const all = (some: Recipe) => parts.flatMap((rules) => broken(rules({ recipe: some, given })));
  return [...arranged, ...inEveryRound(document, all)].map((rule) => problemOf(document, rule));
}

/** What a recipe asks of a constitution that this one does not have. */
export function unmet(
  document: ParsedDocument<Recipe>,
  constitution: Constitution,
  unseen: Constitution | undefined,
): Problem[] {
  const { given } = document;
  const all = (some: Recipe) => broken(constitutionRules({ recipe: some, given, constitution, unseen }));
  return inEveryRound(document, all).map((rule) => problemOf(document, rule));
}

/** What is wrong in the recipe, and what a schedule makes wrong in a round: that is shown at the schedule. */
function inEveryRound(
  { value: recipe, given }: ParsedDocument<Recipe>,
  all: (some: Recipe) => readonly Rule[],
): readonly Rule[] {
  // A schedule that is none has no rounds whose settings could be looked at.
  if (broken(arrangementRules({ recipe, given })).length > 0) return all(unscheduled(recipe));
  const found = [...all(recipe)];
  const plan = planOf(recipe);
  const known = new Set(found.map(({ at }) => at.join(".")));
  const last = Math.max(0, ...Object.values(plan.schedule).map((values) => values.length));
  for (let round = 1; round <= last; round++)
    for (const { at, expected, got } of all(settingsOf(recipe, plan, round))) {
      const place = at.join(".");
      if (known.has(place)) continue;
      known.add(place);
      const here = `settings that go together in round ${round}: of ${place}, ${expected}`;
      found.push({ at: ["arrangement", "schedule"], when: true, expected: here, got: got ?? "others" });
    }
  return found;
}

function unscheduled(recipe: Recipe): Recipe {
  const { arrangement } = recipe;
  return typeof arrangement === "object" ? { ...recipe, arrangement: { ...arrangement, schedule: undefined } } : recipe;
}

function broken(rules: readonly Rule[]): Rule[] {
  return rules.filter(({ when }) => when);
}

function problemOf(document: ParsedDocument<Recipe>, { at, expected, got, suggestion }: Rule): Problem {
  return document.problem(at, { expected, got, suggestion });
}
