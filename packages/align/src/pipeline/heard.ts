import { constitutionTerm } from "@tenet/train";
import { heedsChecks } from "../feedback/critique-settings.ts";
import { avoidsOf, constraintOf, imitatesOf, ratingOf } from "./parts/policy-judges.ts";
import { asksLabeller, isTrained, learnsLabels, learnsOwnReplies, type Recipe, type TrainableRole } from "./recipe.ts";
import { planOf, roundsOf } from "./rounds.ts";

/*
 * Whose word models are trained on: what one of these says of replies afterwards is no independent word.
 */

/** Who says what is good: the constitution's checks, or the model in a role. */
export type Voice = "checks" | "critic" | "labeller";

/** Whose word the policy learns, in any round: by its reward, its bound, its labels, and what it imitates and avoids. */
export function heardByPolicy(recipe: Recipe): ReadonlySet<Voice> {
  return inAllRounds(recipe, policyVoices);
}

/** Whose word is learnt of replies that are criticised and revised, in any round. */
export function heardBySupervised(recipe: Recipe): ReadonlySet<Voice> {
  return inAllRounds(recipe, (round) => (planOf(recipe).steps.includes("supervised") ? revisionVoices(round) : []));
}

/** Whose word labels are, in any round, whether or not they are learnt. */
export function heardInLabels(recipe: Recipe): ReadonlySet<Voice> {
  return inAllRounds(recipe, labelVoices);
}

/** What a model in a role learns from, where the recipe trains it: the file of its pairs, or how they are made. */
export function teacherOf(role: TrainableRole | undefined): string | undefined {
  if (!isTrained(role)) return undefined;
  const { pairs } = role.train;
  if (typeof pairs === "string") return pairs;
  return "path" in pairs ? pairs.path : `from: ${pairs.from}`;
}

/** Whether it is the checks that teach a model in a role. */
export function isTaughtByChecks(role: TrainableRole | undefined): boolean {
  return teacherOf(role) === "from: checks";
}

function inAllRounds(recipe: Recipe, voicesOf: (round: Recipe) => readonly Voice[]): ReadonlySet<Voice> {
  const heard = new Set(roundsOf(recipe).flatMap(voicesOf));
  const { critic, labeller } = recipe.roles;
  // What was taught by the checks says what they say; a critic's pairs are told apart by them, wherever they are from.
  const byChecks = { critic: isTrained(critic), labeller: isTaughtByChecks(labeller) };
  for (const role of ["critic", "labeller"] as const) if (heard.has(role) && byChecks[role]) heard.add("checks");
  return heard;
}

function policyVoices(recipe: Recipe): readonly Voice[] {
  const { policy, costModel } = recipe;
  if (policy === undefined) return [];
  const constraint = constraintOf(policy);
  const reward = "reward" in policy ? policy.reward : undefined;
  const term = reward && constitutionTerm(reward);
  return [
    ...(learnsLabels(policy) ? labelVoices(recipe) : []),
    ...(term && term.weight > 0 ? voices(term.by) : []),
    ...(ratingOf(policy) ? (["labeller"] as const) : []),
    ...voices(constraint?.cost === "model" ? costModel?.by : constraint?.cost),
    ...voices(avoidsOf(policy)?.by),
    ...(imitatesOf(policy) ? revisionVoices(recipe) : []),
  ];
}

function labelVoices(recipe: Recipe): readonly Voice[] {
  const { label, weigh } = recipe.feedback;
  return [
    ...(label.method === "checks" ? (["checks"] as const) : []),
    ...(asksLabeller(recipe) ? (["labeller"] as const) : []),
    ...voices(label.constitutionFirst.by),
    ...voices(weigh?.by),
  ];
}

function revisionVoices({ supervised }: Recipe): readonly Voice[] {
  // What people wrote is none of theirs.
  if (!learnsOwnReplies({ supervised })) return [];
  const { deliberate, revisions, critique, examples } = supervised;
  if (deliberate?.by === "model") return deliberate.keep ? ["critic"] : [];
  const revised = revisions > 0;
  return [
    ...(revised && critique.critiques === "model" ? (["critic"] as const) : []),
    ...((revised && heedsChecks(critique)) || examples.keep !== "all" || deliberate ? (["checks"] as const) : []),
  ];
}

/** Who is meant where a setting says who looks at replies; others than these are no voice of the run's. */
function voices(by: "checks" | "critic" | "both" | "off" | "people" | undefined): readonly Voice[] {
  if (by === "both") return ["checks", "critic"];
  return by === "checks" || by === "critic" ? [by] : [];
}
