import type { ParsedDocument, Problem } from "@tenet/data";
import type { Constitution } from "../constitution/index.ts";
import type { Recipe } from "./recipe.ts";
import { constitutionRules } from "./rules/constitution.ts";
import { evaluateRules } from "./rules/evaluate.ts";
import { labelRules } from "./rules/labels.ts";
import { policyRules } from "./rules/policy.ts";
import { roleRules } from "./rules/roles.ts";
import type { Rule, Rules } from "./rules/rule.ts";
import { supervisedRules } from "./rules/supervised.ts";

/** Everything that rules/ says of a recipe by itself: a file for each of its parts. */
const all: readonly Rules[] = [supervisedRules, labelRules, policyRules, roleRules, evaluateRules];

/** What each by itself may be, but not together. */
export function contradictions(document: ParsedDocument<Recipe>): Problem[] {
  const { value: recipe, given } = document;
  return all.flatMap((rules) => broken(document, rules({ recipe, given })));
}

/** What a recipe asks of a constitution that this one does not have. */
export function unmet(document: ParsedDocument<Recipe>, constitution: Constitution): Problem[] {
  const { value: recipe, given } = document;
  return broken(document, constitutionRules({ recipe, given, constitution }));
}

function broken(document: ParsedDocument<Recipe>, rules: readonly Rule[]): Problem[] {
  return rules
    .filter(({ when }) => when)
    .map(({ at, expected, got, suggestion }) => document.problem(at, { expected, got, suggestion }));
}
