import { showsRubric } from "../../judge/index.ts";
import { imitatesOf } from "../parts/policy-judges.ts";
import { learnsOwnReplies } from "../recipe.ts";
import { planOf } from "../rounds.ts";
import type { Rules } from "./rule.ts";

export const supervisedRules: Rules = ({ recipe }) => {
  const { supervised, policy } = recipe;
  const { revisions, examples, critique, deliberate, written } = supervised;
  const own = learnsOwnReplies(recipe);
  const asking = deliberate?.keep?.asking;
  return [
    {
      at: ["supervised", "revisions"],
      when: !own && written === undefined,
      expected:
        'at least 1, or supervised.written, or supervised.examples.unchanged: "keep": without revisions there is nothing else to learn',
    },
    {
      at: ["supervised", "written"],
      when:
        written !== undefined &&
        !planOf(recipe).steps.includes("supervised") &&
        (policy === undefined || imitatesOf(policy) === undefined),
      expected: "supervised among arrangement.steps, or policy.imitate: nothing else learns what people wrote",
      got: "examples that no step learns",
    },
    {
      at: ["supervised", "examples", "from"],
      when: revisions === 0 && examples.from !== "final",
      expected: '"final", or supervised.revisions of at least 1: without revisions there is none to learn',
    },
    {
      at: ["supervised", "examples", "from"],
      when: critique.critiques === "none" && examples.from === "critique-and-revision",
      expected:
        '"final" or "every-revision", or supervised.critique.critiques other than "none": there are no critiques to learn',
    },
    {
      at: ["supervised", "examples", "from"],
      when: deliberate !== undefined && examples.from !== "final",
      expected: '"final" beside supervised.deliberate: reasoning stands before one reply, and before no critique',
    },
    {
      at: ["supervised", "deliberate", "by"],
      when: deliberate?.by === "model" && revisions > 0,
      expected: '"checks", or supervised.revisions: 0: what the model reasons is learnt instead of revisions',
    },
    {
      at: ["supervised", "deliberate", "keep", "asking", "format"],
      when: asking !== undefined && !showsRubric({ ...asking, mode: "absolute" }),
      expected: `a judge with a place for principles: ${asking?.format} judges in general, and what is kept is to keep to those that were drawn`,
    },
    {
      at: ["supervised", "deliberate"],
      when: deliberate !== undefined && written !== undefined && !own,
      expected: 'supervised.revisions of at least 1 beside it, or by: "model": what people wrote is learnt as it is',
      got: "reasoning for nobody's reply",
    },
    {
      at: ["training", "weights"],
      when: recipe.training?.weights === "int8" && supervised.weights === "all",
      expected: '"float32" beside supervised.weights: all: the base must be frozen to be held in 8 bits',
    },
    {
      at: ["supervised", "weights"],
      when: policy !== undefined && supervised.weights === "all",
      expected:
        '"lora" beside a policy: policy, reference, preference model and value network are adapters of one base',
      got: '"all"',
    },
  ];
};
