import { type JudgeTerm, weightedTerms } from "@tenet/train";
import { showsRubric } from "../../judge/index.ts";
import { constraintOf, imitatesOf, ratingOf } from "../parts/policy-judges.ts";
import { isTrained } from "../recipe.ts";
import { roundsOf } from "../rounds.ts";
import type { Facts, Rule, Rules } from "./rule.ts";

/** The algorithm, its reward, and what it learns from besides. */
export const policyRules: Rules = (facts) => {
  const { recipe, given } = facts;
  const { policy, supervised, roles, costModel, preferenceModel } = recipe;
  const constraint = constraintOf(policy);
  const reward = policy !== undefined && "reward" in policy ? policy.reward : undefined;
  const sharesTrunk = policy?.algorithm === "ppo" && policy.value.trunk === "shared";
  const ofValue = (given as { policy?: { value?: Readonly<Record<string, unknown>> } }).policy?.value ?? {};
  return [
    {
      at: ["policy", "value", "warmup"],
      when: sharesTrunk && "warmup" in ofValue,
      expected: "value.trunk: own, or no warmup: on a shared trunk it would move the policy that it is to wait for",
    },
    {
      at: ["policy", "value", "learningRate"],
      when: sharesTrunk && "learningRate" in ofValue,
      expected:
        "value.trunk: own, or policy.learningRate alone: a shared trunk has one optimiser, and value.coefficient weighs the value loss",
    },
    {
      at: ["policy", "reward"],
      when: reward !== undefined && weightedTerms(reward).length === 0,
      expected: "a weight above 0 for preference or constitution: else every response is worth the same",
      got: "0 for both",
    },
    {
      at: ["preferenceModel", "gate", "refused"],
      when:
        preferenceModel.gate.refused === "go-without" &&
        (reward === undefined || weightedTerms({ ...reward, preference: 0 }).length === 0),
      expected:
        "policy.reward with a weight beside that of preference, e.g. constitution: 1: without the preference model nothing else rewards",
    },
    {
      at: ["policy", "reward", "shape"],
      when: reward?.shape === "sigmoid" && reward.preference === 0,
      expected: '"linear", or a weight for preference: it is the preference score that is shaped',
    },
    {
      at: ["policy", "reward", "given"],
      when: reward?.given?.count === 0 && reward.given.always === undefined,
      expected: "a count of at least 1, or always beside it: a reply is judged by at least one principle",
    },
    {
      at: ["policy", "reward", "judge"],
      when: policy !== undefined && ratingOf(policy) !== undefined && isTrained(roles.labeller),
      expected:
        "a labeller that can rate (roles.labeller: a model): one that is trained here knows pairs and letters only",
      got: "roles.labeller.train",
    },
    ...ratingRules(facts, reward?.judge),
    {
      at: ["policy", "constraint", "bound"],
      when:
        constraint !== undefined && constraint.cost !== "model" && !(constraint.bound >= 0 && constraint.bound <= 1),
      expected: "a share from 0 to 1: of responses that violate",
    },
    {
      at: ["policy", "constraint", "cost"],
      when: constraint?.cost === "model" && costModel === undefined,
      expected: "costModel beside it, e.g. costModel: { by: checks }: it is that model's score that is bounded",
      got: '"model" without one',
    },
    {
      at: ["costModel", "by"],
      when: costModel?.by === "people" && costModel.human === undefined,
      expected: "costModel.human beside it: a file of replies whose harm people judged",
      got: '"people" alone',
    },
    {
      at: ["costModel"],
      when: costModel !== undefined && constraint?.cost !== "model",
      expected: "policy.constraint: { cost: model, bound: 0 } beside it: else nothing needs a cost model",
      got: "a cost model alone",
    },
    {
      at: ["policy", "imitate"],
      when:
        policy !== undefined &&
        imitatesOf(policy) !== undefined &&
        supervised.revisions === 0 &&
        supervised.written === undefined,
      expected: "supervised.revisions of at least 1, or supervised.written: without either there is nothing to imitate",
      got: "revisions: 0",
    },
  ];
};

/** Ratings in a judge's format and by principles. */
function ratingRules({ recipe, given }: Facts, judge: JudgeTerm | undefined): Rule[] {
  const at = ["policy", "reward", "judge"];
  const { asking, principles } = judge ?? {};
  const named = Array.isArray(principles) ? principles : [];
  const twice = named.findIndex((id, i) => named.indexOf(id) < i);
  const asks = (given as { policy?: { reward?: { judge?: { asking?: object } } } }).policy?.reward?.judge?.asking ?? {};
  const rated = roundsOf(recipe).some(({ policy }) => policy !== undefined && ratingOf(policy) !== undefined);
  return [
    ...(["asking", "principles"] as const).map((key) => ({
      at: [...at, key],
      when: judge?.[key] !== undefined && !rated,
      expected: "a weight above 0 beside it: with weight 0 nobody is asked",
      got: `${key} with weight 0`,
    })),
    {
      at: [...at, "principles"],
      when: asking !== undefined && principles !== undefined && !showsRubric({ ...asking, mode: "absolute" }),
      expected: `no principles beside asking.format: ${asking?.format}, which has no place for one and judges in general`,
    },
    {
      at: [...at, "principles", twice],
      when: twice >= 0,
      expected: "each id once: a reply is rated by the mean over them",
    },
    ...(["samples", "retries", "maxTokens"] as const).map((key) => ({
      at: [...at, "asking", key],
      when: asking?.format === "d-rlaif" && key in asks,
      expected: `no ${key} beside format: d-rlaif, which is read off log-probabilities: nothing is written`,
    })),
  ];
}
