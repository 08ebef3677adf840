import { normalize } from "node:path";
import { isUncounted } from "@tenet/lm";
import { lookers } from "../../feedback/constitution-first.ts";
import { imagesShown, type JudgeAsking } from "../../judge/index.ts";
import { avoidsOf, constraintOf, judgesAsked } from "../parts/policy-judges.ts";
import { isServed, isTrained, type Recipe, usesLabels } from "../recipe.ts";
import { planOf, roundsOf } from "../rounds.ts";
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
      when: trained && policy !== undefined && feedback.audit === undefined && !usesLabels(recipe),
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
    ...(["labeller", "judge", "critic"] as const).flatMap((name) => trainingRules(name, roles[name])),
    ...criticRules(recipe),
    ...visionRules(recipe),
    ...Object.entries(roles).map(([name, role]): Rule => {
      const served = isServed(role) ? role : undefined;
      return {
        at: ["roles", name, "endpoint"],
        when: Array.isArray(served?.endpoint) && served.model === undefined,
        expected: `the model's name beside a list of servers, as roles.${name}.model: servers come and go, and results are known by the model's name`,
        got: "a list alone",
      };
    }),
    ...Object.entries(roles).map(([name, role]): Rule => {
      const priced = isServed(role) ? role : undefined;
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

/** A judge of replies to images is behind an endpoint, and is asked where there are any. */
function visionRules({ roles, feedback, evaluate, supervised, policy }: Recipe): Rule[] {
  const wantsImage = (asking: Pick<JudgeAsking, "format"> | undefined) =>
    asking !== undefined && imagesShown(asking) === "one";
  const { label, audit } = feedback;
  const got = (asking: Pick<JudgeAsking, "format"> | undefined) => `"${asking?.format}"`;
  const ofTexts = [
    { at: ["evaluate", "judge"], asking: evaluate.judge },
    { at: ["supervised", "deliberate", "keep", "asking"], asking: supervised.deliberate?.keep?.asking },
    {
      at: ["policy", "reward", "judge", "asking"],
      asking: policy !== undefined && "reward" in policy ? policy.reward.judge?.asking : undefined,
    },
  ];
  return [
    {
      at: ["roles", "labeller"],
      when: wantsImage(label.judge) && !isServed(roles.labeller),
      expected: `an endpoint whose model sees images, such as roles.labeller: { endpoint: "http://localhost:8000/v1", model: … }, beside feedback.label.judge: { format: ${label.judge?.format} }: a local model is one of texts`,
      got: roles.labeller === undefined ? "the recipe's model" : "a local model",
    },
    {
      at: ["feedback", "label", "judge", "format"],
      when: wantsImage(label.judge) && audit?.path === undefined,
      expected: "feedback.audit.path beside it, a file of pairs that show images: no other pairs of a recipe do",
      got: got(label.judge),
    },
    ...ofTexts.map(({ at, asking }) => ({
      at: [...at, "format"],
      when: wantsImage(asking),
      expected: "another format: it rates replies of a local model, which sees no images, to prompts without any",
      got: got(asking),
    })),
  ];
}

/** What a judge that is trained for a role learns from, and what it is audited on. */
function trainingRules(name: "labeller" | "judge" | "critic", role: Recipe["roles"]["judge"]): Rule[] {
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

/** A critic that is trained answers yes or no: where is it asked, and is nothing else wanted of it? */
function criticRules(recipe: Recipe): Rule[] {
  const { roles, supervised, policy, feedback, costModel } = recipe;
  if (!isTrained(roles.critic)) return [];
  const { steps } = planOf(recipe);
  const chains = steps.includes("supervised");
  const at = ["roles", "critic", "train"];
  const labels = roundsOf(recipe).some(usesLabels) || feedback.audit !== undefined;
  const looks =
    (labels && lookers(feedback.label.constitutionFirst).critic) ||
    (feedback.weigh !== undefined && feedback.weigh.by !== "checks") ||
    (policy !== undefined &&
      (judgesAsked(policy).includes("critic") || (avoidsOf(policy)?.by ?? "checks") !== "checks")) ||
    (constraintOf(policy)?.cost === "model" && ["critic", "both"].includes(costModel?.by ?? "checks"));
  return [
    {
      at,
      when: chains && supervised.deliberate === undefined && supervised.critique.critiques === "model",
      expected:
        "supervised.critique.critiques: checks beside it, or arrangement: { steps: [policy] }: one that is trained answers yes or no, and writes no critiques",
      got: "critiques by the model",
    },
    {
      at,
      when: chains && supervised.deliberate !== undefined && supervised.deliberate.keep !== undefined,
      expected:
        "no supervised.deliberate.keep beside it: one that is trained answers yes or no, and rates no reasoning",
    },
    {
      at,
      when: !looks,
      expected:
        "something that asks it: policy.reward.constitution: { weight: 1, by: critic }, policy.constraint: { cost: critic }, feedback.weigh: { by: critic } or feedback.label.constitutionFirst: { by: critic }",
      got: "a critic that is never asked",
    },
    {
      at: [...at, "warmup"],
      when: roles.critic.train.warmup > 0,
      expected: "none: easy pairs teach to compare two replies, and a critic looks at one",
      got: `${roles.critic.train.warmup}`,
    },
  ];
}
