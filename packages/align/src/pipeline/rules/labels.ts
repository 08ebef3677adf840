import { lookers } from "../../feedback/constitution-first.ts";
import { showsRubric } from "../../judge/index.ts";
import { rewardsPreference, showsProxy, usesLabels } from "../recipe.ts";
import { roundsOf } from "../rounds.ts";
import { type Rules, withoutPolicy } from "./rule.ts";

/** Pairs, their labels, and the preference model that learns them. */
export const labelRules: Rules = ({ recipe }) => {
  const { policy, feedback, preferenceModel, prompts } = recipe;
  const needed = policy !== undefined && !rewardsPreference(policy) && !showsProxy(recipe);
  const user = `${prompts.heldOut === undefined ? "prompts.heldOut and " : ""}evaluate.proxy: true, which has the preference model score the replies to held-out prompts`;
  const nobody = `policy.reward.preference above 0, or ${user}: else nothing needs a preference model, and none is trained`;
  const { method, judge, principles } = feedback.label;
  const { contrast, samples, pairs, system } = feedback.pairs;
  const { audit } = feedback;
  const sources = (["path", "examples", "people"] as const).filter((key) => audit?.[key] !== undefined);
  const { checks: byChecks, critic: byCritic } = lookers(feedback.label.constitutionFirst);
  return [
    {
      at: ["feedback", "label", "constitutionFirst"],
      when: method === "people" && (byChecks || byCritic),
      expected:
        "no constitutionFirst beside feedback.label.method: people: what people say stands over what the checks find; feedback.weigh holds their labels against the constitution",
    },
    {
      at: ["feedback", "audit"],
      when: method === "people" && audit !== undefined,
      expected:
        "no audit beside feedback.label.method: people: how far they agree is told by feedback.people.each of at least 2",
      got: "an audit",
    },
    {
      at: ["feedback", "people"],
      when: feedback.people !== undefined && method !== "people" && audit?.people === undefined,
      expected:
        "feedback.label.method: people, or feedback.audit: { people: true }, beside it: else nobody is waited for",
      got: "people alone",
    },
    {
      at: ["feedback", "label", "method"],
      when: method === "contrast" && contrast === undefined,
      expected: "feedback.pairs.contrast: principle beside it, which makes such pairs, or another method",
    },
    {
      at: ["feedback", "audit"],
      when: method === "contrast" && feedback.audit !== undefined,
      expected: "no audit beside feedback.label.method: contrast, by which no other pairs can be labelled",
      got: "an audit",
    },
    {
      at: ["feedback", "pairs", "contrast"],
      when: contrast !== undefined && (samples !== 2 || pairs !== "one" || system !== undefined),
      expected:
        "neither samples nor pairs nor system beside it: it makes one pair of two replies, each under a system prompt of its own",
    },
    {
      at: ["feedback", "label", "principles"],
      when: method === "judge" && judge !== undefined && principles > 1 && !showsRubric(judge),
      expected: `1 beside the judge ${judge?.format}: it has no place for a principle and judges in general`,
      got: `${principles}`,
    },
    {
      at: ["preferenceModel", "given"],
      when: preferenceModel.given !== undefined && method === "people",
      expected:
        "another feedback.label.method than people, who do not say by which principle a reply is better: a model's readings, the checks or contrast do",
    },
    {
      at: ["preferenceModel", "given"],
      when: preferenceModel.given !== undefined && method === "judge" && judge !== undefined && !showsRubric(judge),
      expected: `a judge with a place for a principle in feedback.label.judge: ${judge?.format} judges in general`,
    },
    {
      at: ["policy", "reward", "given"],
      when: policy !== undefined && "reward" in policy && policy.reward.given !== undefined && !preferenceModel.given,
      expected:
        "preferenceModel.given beside it, e.g. preferenceModel: { given: {} }: else its model reads no principles",
    },
    {
      at: ["feedback", "audit"],
      when: policy === undefined && feedback.audit !== undefined,
      expected: withoutPolicy,
      got: "an audit alone",
    },
    {
      at: ["feedback", "audit"],
      when: feedback.audit !== undefined && sources.length !== 1,
      expected:
        "one of path, a file of pairs whose better reply is known, examples: true, the constitution's own, and people: true, whom the run waits for",
      got: sources.length === 0 ? "none" : sources.join(" and "),
    },
    {
      at: ["feedback", "demonstrations"],
      when: policy === undefined && feedback.demonstrations !== undefined,
      expected: withoutPolicy,
      got: "demonstrations for a labeller alone",
    },
    {
      at: ["feedback", "weigh"],
      when: policy === undefined && feedback.weigh !== undefined,
      expected: withoutPolicy,
      got: "weighing alone",
    },
    {
      at: ["feedback", "weigh"],
      when: policy !== undefined && feedback.weigh !== undefined && !roundsOf(recipe).some(usesLabels),
      expected: `policy.reward.preference above 0, policy: { algorithm: dpo }, or ${user}: else no label is learnt, and none is weighed`,
      got: "weighing alone",
    },
    ...(["pretrain", "human", "given"] as const).flatMap((key) => [
      {
        at: ["preferenceModel", key],
        when: policy === undefined && preferenceModel[key] !== undefined,
        expected: withoutPolicy,
        got: alone(key),
      },
      {
        at: ["preferenceModel", key],
        // DPO learns from people's pairs itself.
        when: needed && preferenceModel[key] !== undefined && !(key === "human" && policy.algorithm === "dpo"),
        expected: nobody,
        got: alone(key),
      },
    ]),
  ];
};

/** What stands there that nobody needs. */
function alone(key: "pretrain" | "human" | "given"): string {
  return key === "given" ? "principles for a preference model alone" : "data for a preference model alone";
}
