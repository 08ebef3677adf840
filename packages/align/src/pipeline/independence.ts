import { addressesOf } from "@tenet/lm";
import type { Scorecard } from "../evaluate/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { endpointSettings } from "./endpoint-identity.ts";
import type { OpenRecipe } from "./open.ts";
import { heedsChecks, judgesAsked } from "./parts/policy-judges.ts";
import { asksLabeller, learnsLabels, showsProxy, type TrainableRole } from "./recipe.ts";

type Independence = NonNullable<Scorecard["independence"]>;

/**
 * Whose word can be held against what a policy was trained for: the recipe's judge where it is neither labeller nor critic of
 * the reward; else the checks, where they are no part of the reward; else nobody's. Undefined where there is neither a judge nor
 * anything that was trained against a score. METHODS §7.
 */
export function independenceOf({
  recipe,
  constitution,
}: Pick<OpenRecipe, "recipe" | "constitution">): Independence | undefined {
  const { roles, policy } = recipe;
  const learns = learnsLabels(policy);
  const { weigh } = recipe.feedback;
  const looks = lookers(recipe.feedback.label.constitutionFirst);
  const heard = learns && asksLabeller(recipe);
  const rollout = policy === undefined ? [] : judgesAsked(policy);
  const critics = (heard && looks.critic) || (learns && (weigh?.by === "critic" || weigh?.by === "both"));
  const asked = new Set([
    ...(heard ? (["labeller"] as const) : []),
    ...(critics ? (["critic"] as const) : []),
    ...rollout,
  ]);
  const same = [...asked].filter(
    (role) => roles.judge !== undefined && isSame(roles.judge, roles[role] ?? recipe.model),
  );
  if (roles.judge !== undefined && same.length === 0)
    return { kind: "judge", why: "The judge is neither the labeller nor a critic of what was trained against." };
  if (policy === undefined) return undefined;
  const nobody =
    roles.judge === undefined
      ? "The recipe names no judge (roles.judge)"
      : `The recipe's judge is its ${same.join(" and ")} too, which training heard`;
  const rewarded = checksAreHeard(recipe) ? "the checks are part of what was trained against" : undefined;
  if (!constitution.principles.some(({ checks }) => checks.length > 0))
    return { kind: "none", why: `${nobody}, and the constitution has no checks.` };
  if (rewarded !== undefined) return { kind: "none", why: `${nobody}, and ${rewarded}: nobody independent was asked.` };
  if (!showsProxy(recipe))
    return { kind: "none", why: `${nobody}, and there are no scores of what was trained against (evaluate.proxy).` };
  return { kind: "checks", why: `${nobody}; the checks are no part of the reward and stand for one.` };
}

/** Whether a policy's training hears of the checks: in its reward, its constraint, or the labels that it is rewarded by. */
export function checksAreHeard({ policy, feedback }: OpenRecipe["recipe"]): boolean {
  if (policy === undefined) return false;
  const { label, weigh } = feedback;
  const learns = learnsLabels(policy);
  const looks = lookers(label.constitutionFirst).checks || label.method === "checks";
  return heedsChecks(policy) || (learns && (looks || (weigh !== undefined && weigh.by !== "critic")));
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
  if (typeof reference === "object" && "train" in reference) return JSON.stringify(["trained", reference]);
  if (typeof reference === "string") return JSON.stringify([reference, null]);
  if ("endpoint" in reference) return JSON.stringify([reference.endpoint, "endpoint", reference.model ?? null]);
  return JSON.stringify([reference.model, reference.adapter ?? null]);
}
