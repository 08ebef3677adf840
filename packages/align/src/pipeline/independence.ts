import { addressesOf } from "@tenet/lm";
import type { Scorecard } from "../evaluate/index.ts";
import { endpointSettings } from "./endpoint-identity.ts";
import { heardByPolicy, heardBySupervised, heardInLabels, isTaughtByChecks, teacherOf } from "./heard.ts";
import type { OpenRecipe } from "./open.ts";
import { isTrained, type Recipe, showsProxy, type TrainableRole } from "./recipe.ts";

type Independence = NonNullable<Scorecard["independence"]>;

/**
 * Whose word can be held against what a policy was trained for: the recipe's judge, where no training heard it; else checks that nothing but
 * the scorecard runs; else the others, where the policy learns nothing by them; else nobody's. Undefined where there is neither a judge nor anything that was trained against a score.
 * METHODS §7.
 */
export function independenceOf({
  recipe,
  constitution,
  unseen,
}: Pick<OpenRecipe, "recipe" | "constitution" | "unseen">): Independence | undefined {
  const { roles, policy } = recipe;
  const heard = judgeHeard(recipe);
  if (roles.judge !== undefined && heard === undefined)
    return { kind: "judge", why: "The judge is neither the labeller nor a critic of what was trained against." };
  if (unseen !== undefined) {
    const asked = unseen.principles.map(({ id }) => id);
    const partial = constitution.principles.some(({ id, checks }) => checks.length > 0 && !asked.includes(id));
    return {
      kind: "unseen",
      why: `Checks of ${asked.length} of ${constitution.principles.length} principles, which training, labels and the choice of checkpoints never saw (evaluate.unseen: ${asked.join(", ")}).`,
      ...(partial && { partial }),
    };
  }
  const nobody = heard ?? "The recipe names no judge (roles.judge)";
  if (policy === undefined) return heard === undefined ? undefined : { kind: "none", why: `${nobody}.` };
  if (!constitution.principles.some(({ checks }) => checks.length > 0))
    return { kind: "none", why: `${nobody}, and the constitution has no checks.` };
  if (heardByPolicy(recipe).has("checks") || proxyVoices(recipe).has("checks"))
    return {
      kind: "none",
      why: `${nobody}, and the checks are part of what was trained against: nobody independent was asked.`,
    };
  if (!showsProxy(recipe))
    return { kind: "none", why: `${nobody}, and there are no scores of what was trained against (evaluate.proxy).` };
  const besides = [
    ...(heardBySupervised(recipe).has("checks") ? ["fine-tuning on revisions heard them"] : []),
    ...(recipe.prompts.validation === undefined ? [] : ["they chose which checkpoint each training returned"]),
  ];
  const though = besides.length === 0 ? "" : `, though ${besides.join(" and ")}`;
  return { kind: "checks", why: `${nobody}; the checks are no part of the reward and stand for one${though}.` };
}

/** How training heard the recipe's judge, in words; undefined where it did not, or nobody judges. */
export function judgeHeard(recipe: Recipe): string | undefined {
  const { judge, ...roles } = recipe.roles;
  if (judge === undefined) return undefined;
  const heard = new Set([...heardByPolicy(recipe), ...heardBySupervised(recipe), ...proxyVoices(recipe)]);
  const same = (["labeller", "critic"] as const).filter(
    (role) => heard.has(role) && isSame(judge, roles[role] ?? recipe.model),
  );
  const who = same.join(" and ");
  if (same.length > 0 && isTrained(judge))
    return `The recipe's judge learns from the pairs of its ${who} (roles.judge.train), which training heard`;
  if (same.length > 0) return `The recipe's judge is its ${who} too, which training heard`;
  if (isTaughtByChecks(judge) && heard.has("checks"))
    return "The recipe's judge learns from the checks (roles.judge.train), which training heard too";
  return undefined;
}

/** Whose word the preference model learns that stands in the scorecard for what was trained against. */
function proxyVoices(recipe: Recipe): ReturnType<typeof heardInLabels> {
  return showsProxy(recipe) ? heardInLabels(recipe) : new Set();
}

/** Whether two are one model. Of several servers one that both name is enough: they serve the same model. */
function isSame(one: TrainableRole, other: TrainableRole): boolean {
  if (typeof one !== "object" || typeof other !== "object" || !("endpoint" in one) || !("endpoint" in other))
    return modelOf(one) === modelOf(other);
  const [here, there] = [one, other].map((role) => addressesOf(endpointSettings(role)));
  return one.model === other.model && here!.some((address) => there!.includes(address));
}

/** What tells one model from another: where it lies or who serves it, not how it is asked. */
function modelOf(reference: TrainableRole): string {
  // Two that learn from the same pairs like the same.
  if (isTrained(reference)) return JSON.stringify(["trained", teacherOf(reference)]);
  if (typeof reference === "string") return JSON.stringify([reference, null]);
  if ("endpoint" in reference) return JSON.stringify([reference.endpoint, "endpoint", reference.model ?? null]);
  return JSON.stringify([reference.model, reference.adapter ?? null]);
}
