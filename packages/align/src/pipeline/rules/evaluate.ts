import { normalize } from "node:path";
import { type DatasetReference, isTrained } from "../recipe.ts";
import type { Rules } from "./rule.ts";

/** Held-out prompts, and what is made on them. */
export const evaluateRules: Rules = ({ recipe: { evaluate, policy, prompts, roles, supervised } }) => {
  const { heldOut, train } = prompts;
  const { baselines } = evaluate;
  return [
    {
      at: ["evaluate", "proxy"],
      when: evaluate.proxy === true && (policy === undefined || heldOut === undefined),
      expected:
        "policy and prompts.heldOut beside it: the preference model, which is made for a policy, scores the replies to held-out prompts",
      got: "a proxy alone",
    },
    {
      at: ["evaluate", "judge"],
      when: evaluate.judge !== undefined && (roles.judge === undefined || isTrained(roles.judge)),
      expected: "roles.judge beside it, a model that was trained for this format elsewhere",
      got:
        roles.judge === undefined
          ? "a format alone"
          : "a judge that the recipe trains, which is asked what it is taught",
    },
    ...(
      [
        ["unseen", "checks alone"],
        ["neutral", "neutral texts alone"],
        ["choices", "questions alone"],
        ["sycophancy", "questions alone"],
      ] as const
    ).map(([key, got]) => ({
      at: ["evaluate", key],
      when: heldOut === undefined && evaluate[key] !== undefined,
      expected: "prompts.heldOut beside it: the scorecard, which it is for, is made on held-out prompts",
      got,
    })),
    {
      at: ["evaluate", "baselines"],
      when: heldOut === undefined && baselines !== undefined && baselines !== false,
      expected: "prompts.heldOut beside it: the baselines answer held-out prompts",
      got: "baselines alone",
    },
    {
      at: ["evaluate", "baselines"],
      when:
        baselines !== false &&
        baselines?.includes("demonstrations") === true &&
        supervised.demonstrations === undefined,
      expected: "supervised.demonstrations beside it: the untrained model is shown them",
      got: 'the baseline "demonstrations" without any',
    },
    {
      at: ["prompts", "heldOut"],
      when: heldOut !== undefined && pathOf(heldOut) === pathOf(train),
      expected: "another file than prompts.train: what was trained on says nothing about what is new",
      got: `${pathOf(train)} again`,
    },
  ];
};

function pathOf(reference: DatasetReference): string {
  return normalize(typeof reference === "string" ? reference : reference.path);
}
