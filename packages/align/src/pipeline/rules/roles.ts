import { normalize } from "node:path";
import { isUncounted } from "@tenet/lm";
import { isTrained, type Recipe, rewardsPreference, showsProxy } from "../recipe.ts";
import { type Rule, type Rules, withoutPolicy } from "./rule.ts";

/** Who plays what, and what a judge that is trained learns from. */
export const roleRules: Rules = ({ recipe }) => {
  const { roles, policy, feedback } = recipe;
  const trained = isTrained(roles.labeller);
  return [
    {
      at: ["roles", "labeller", "train"],
      when: trained && policy === undefined,
      expected: withoutPolicy,
      got: "a labeller alone",
    },
    {
      at: ["roles", "labeller", "train"],
      when:
        trained &&
        policy !== undefined &&
        policy.algorithm !== "dpo" &&
        feedback.audit === undefined &&
        !rewardsPreference(policy) &&
        !showsProxy(recipe),
      expected:
        "policy.reward.preference above 0, policy: { algorithm: dpo } or evaluate.proxy: true: else nothing is labelled",
      got: "a labeller alone",
    },
    {
      at: ["feedback", "label", "method"],
      when: trained && feedback.label.method !== "choice",
      expected: '"choice" beside roles.labeller.train: what is trained is the answer at once',
      got: `"${feedback.label.method}"`,
    },
    {
      at: ["roles", "persona"],
      when: roles.persona !== undefined && recipe.prompts.dialogue === undefined,
      expected: "prompts.dialogue beside it: the persona speaks in dialogues that prompts are gone on with",
      got: "a persona alone",
    },
    ...(["labeller", "judge"] as const).flatMap((name) => trainingRules(name, roles[name])),
    ...Object.entries(roles).map(([name, role]): Rule => {
      const served = typeof role === "object" && "endpoint" in role ? role : undefined;
      return {
        at: ["roles", name, "endpoint"],
        when: Array.isArray(served?.endpoint) && served.model === undefined,
        expected: `the model's name beside a list of servers, as roles.${name}.model: servers come and go, and results are known by the model's name`,
        got: "a list alone",
      };
    }),
    ...Object.entries(roles).map(([name, role]): Rule => {
      const priced = typeof role === "object" && "endpoint" in role ? role : undefined;
      return {
        at: ["roles", name, "budget", "usd"],
        when: priced !== undefined && isUncounted(priced),
        expected: `a price above 0 beside the budget, as roles.${name}.price: { prompt: 0.5, completion: 1.5 } in dollars per million tokens; or budget.tokens, which needs none`,
        got: `$${priced?.budget?.usd} ${priced?.price ? "at a price of 0" : "without a price"}, which would stop nothing`,
      };
    }),
    {
      at: ["roles", "judge"],
      when: recipe.prompts.heldOut === undefined && roles.judge !== undefined,
      expected: "prompts.heldOut beside it: the judge compares replies to held-out prompts",
      got: "a judge alone",
    },
  ];
};

/** What a judge that is trained for a role learns from, and what it is audited on. */
function trainingRules(name: "labeller" | "judge", role: Recipe["roles"]["judge"]): Rule[] {
  if (!isTrained(role)) return [];
  const { pairs, audit } = role.train;
  const { path, ...file } = audit;
  const at = ["roles", name, "train", "audit"];
  const learnt = typeof pairs === "string" ? pairs : "path" in pairs ? pairs.path : undefined;
  return [
    {
      at: [...at, "path"],
      when: path !== undefined && learnt !== undefined && normalize(learnt) === normalize(path),
      expected: "another file than the pairs it learns from, or no path: a share of them is held out then",
      got: `${path} again`,
    },
    ...(["format", "limit"] as const).map((key) => ({
      at: [...at, key],
      when: path === undefined && file[key] !== undefined,
      expected: "path beside it, the file that it is of",
      got: `${key} alone`,
    })),
  ];
}
