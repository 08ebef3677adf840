import { isDeepStrictEqual } from "node:util";
import { nearest, type Path } from "@tenet/data";
import type { z } from "zod";
import { lookers } from "../../feedback/constitution-first.ts";
import { avoidsOf, constraintOf, heedsConstitution, imitatesOf } from "../parts/policy-judges.ts";
import { learnsLabels, learnsOwnReplies, type Recipe, recipeSchema } from "../recipe.ts";
import { type Plan, planOf, setAt } from "../rounds.ts";
import { type StepName, stepNames } from "../schema/arrangement.ts";
import type { Rule, Rules } from "./rule.ts";

const at = (...rest: Path): Path => ["arrangement", ...rest];

/** Steps, rounds and what changes with them. */
export const arrangementRules: Rules = (facts) => {
  const { recipe } = facts;
  const { arrangement, policy, supervised } = recipe;
  const plan = planOf(recipe);
  const { steps, rounds, share } = plan;
  const reinforces = steps.includes("policy");
  const written = typeof arrangement === "object" ? arrangement : {};
  const whole = typeof arrangement === "string" ? at() : at("steps");
  const apart = (key: keyof typeof written) => written[key] !== undefined && written[key] !== "again";
  const several = "rounds of at least 2 beside it: there is no other round that it could tell from";
  return [
    {
      at: whole,
      when: new Set(steps).size < steps.length,
      expected: "each step once, in the order of a round; what is to be done again is said by rounds",
    },
    {
      at: whole,
      when: reinforces && policy === undefined,
      expected: "policy beside it, e.g. policy: { algorithm: ppo }: one of its steps is reinforcement learning",
      got: typeof arrangement === "string" ? `"${arrangement}" alone` : "the step policy alone",
    },
    {
      at: ["policy"],
      when: !reinforces && policy !== undefined,
      expected: "policy among arrangement.steps, or none here: no step would train it",
      got: "a policy that is no step",
    },
    {
      at: at(),
      when: arrangement === "joint" && policy !== undefined && !isConstitutional(recipe),
      expected:
        "something constitutional beside it, such as policy.reward.constitution above 0, policy.imitate, policy.constraint or feedback.weigh: without it this is plain RLAIF, which is written arrangement: { steps: [policy] }",
      got: '"joint" without any',
    },
    ...(["pairs", "preferenceModel"] as const).map((key) => ({
      at: at(key),
      when: rounds === 1 && apart(key) && written[key] !== "all",
      expected: several,
      got: `"${written[key]}" with one round`,
    })),
    {
      at: at("prompts"),
      when: rounds === 1 && written.prompts === "fresh",
      expected: several,
      got: '"fresh" with one round',
    },
    {
      at: ["policy", "kl", "reference"],
      when: rounds === 1 && referenceOf(recipe) === "first",
      expected: `"start", which it is with one round, or "base"; or arrangement.rounds of at least 2`,
      got: '"first" with one round',
    },
    ...stepNames.map((step) => ({
      at: at("share", step),
      when: share[step] !== undefined && !steps.includes(step),
      expected: `${step} among the steps`,
      got: "a share of a step that is not there",
    })),
    {
      at: at("share"),
      when: stepNames.reduce((sum, step) => sum + (share[step] ?? 0), 0) > 1 + 1e-9,
      expected: "shares that are together at most 1: no prompt is in two of them",
    },
    {
      at: ["supervised", "weights"],
      when: supervised.weights === "all" && policy === undefined && rounds > 1,
      expected: '"lora": what is trained further is an adapter',
      got: '"all"',
    },
    ...shapeRules(facts, plan),
    ...scheduleRules(recipe, plan),
  ];
};

/** Whether the constitution acts on reinforcement learning itself: its reward, its loss, its bound, or the labels that it learns from. */
export function isConstitutional(recipe: Recipe): boolean {
  const { policy, feedback } = recipe;
  if (policy === undefined) return false;
  const { constitutionFirst, method } = feedback.label;
  const looks = lookers(constitutionFirst);
  return (
    heedsConstitution(policy) ||
    constraintOf(policy) !== undefined ||
    (imitatesOf(policy) !== undefined && learnsOwnReplies(recipe)) ||
    avoidsOf(policy) !== undefined ||
    (learnsLabels(policy) && (feedback.weigh !== undefined || looks.checks || looks.critic || method === "checks"))
  );
}

function referenceOf({ policy }: Recipe): string | undefined {
  return policy && "kl" in policy ? policy.kl.reference : undefined;
}

/** An adapter that is gone on with keeps its shape: a second one that is asked for is refused before anything is trained. */
function shapeRules({ given }: Parameters<Rules>[0], { steps, rounds }: Plan): Rule[] {
  const shapeOf = (step: StepName) => (given as Partial<Record<StepName, { lora?: unknown }>>)[step]?.lora;
  const [first, second] = steps;
  const [one, other] = [first && shapeOf(first), second && shapeOf(second)];
  return [
    {
      at: [second ?? "policy", "lora"],
      when: one !== undefined && other !== undefined && !isDeepStrictEqual(one, other),
      expected: `the shape of ${first}.lora, or none: ${rounds > 1 ? "each step goes" : "this step goes"} on with the adapter of the one before`,
    },
  ];
}

/** Settings that a schedule may change: those of steps, of labels and of the preference model. */
const scheduled = ["supervised", "feedback", "preferenceModel", "costModel", "policy"];

/** Of those, what all rounds share, and why. */
const fixed: readonly (readonly [RegExp, string])[] = [
  [
    /\.(path|format|limit|replies)$|\.demonstrations$|\.audit$|\.audit\.|\.pretrain$|\.human$|\.helpful$|\.written$/,
    "files are the same in every round",
  ],
  [/\.lora(\.|$)|\.weights$/, "an adapter that is gone on with keeps its shape"],
  [/\.gate\.refused$/, "the scorecard tells of one way"],
  [/^policy\.algorithm$/, "write an arrangement for each algorithm"],
];

function scheduleRules(recipe: Recipe, { steps, rounds, schedule }: Plan): Rule[] {
  return Object.entries(schedule).flatMap(([path, values]): Rule[] => {
    const place = at("schedule", path);
    const keys = path.split(".");
    const [root] = keys;
    const paths = leavesOf(recipe).filter(
      (leaf) => scheduled.includes(leaf.split(".")[0]!) && !fixed.some(([which]) => which.test(leaf)),
    );
    const why = fixed.find(([which]) => which.test(path))?.[1];
    if (!scheduled.includes(root!) || why !== undefined)
      return [
        {
          at: place,
          when: true,
          expected: `the path of a setting that may change with the rounds, under ${scheduled.join(", ")}${why === undefined ? "" : `: ${why}`}`,
          got: `"${path}"`,
          suggestion: nearest(path, paths),
        },
      ];
    if ((root === "supervised" || root === "policy") && !steps.includes(root))
      return [
        {
          at: place,
          when: true,
          expected: `a setting of a step that is there: ${steps.join(", ")}`,
          got: `"${path}"`,
        },
      ];
    const read = values.map((value) => tried(recipe, keys, value));
    return [
      {
        at: place,
        when: values.length > rounds,
        expected: `at most ${rounds === 1 ? "one value, as there is one round" : `${rounds} values, one for each round`}`,
        got: `${values.length} values`,
      },
      {
        at: place,
        when: read.includes(undefined),
        expected: "the path of a setting",
        got: `"${path}"`,
        suggestion: nearest(path, paths),
      },
      ...read.map((issue, i) => ({
        at: [...place, i],
        when: issue !== undefined && issue !== null,
        expected: `a value of ${path}${issue ? ` (${issue.message})` : ""}`,
      })),
    ];
  });
}

/** What the schema says of a value at a path: nothing; an issue; or undefined, where there is no such setting. */
function tried(recipe: Recipe, keys: readonly string[], value: unknown): z.core.$ZodIssue | null | undefined {
  const changed = structuredClone(recipe);
  if (!setAt(changed, keys, value)) return undefined;
  const { error } = recipeSchema.safeParse(changed);
  if (!error) return null;
  const unknown = (issue: z.core.$ZodIssue): boolean =>
    issue.code === "unrecognized_keys" ||
    (issue.code === "invalid_union" && issue.errors.every((one) => one.some(unknown)));
  return error.issues.some(unknown) && value !== null ? undefined : error.issues[0]!;
}

/** The paths of everything that a value holds, mappings without a list among them. */
function leavesOf(value: unknown, path: readonly string[] = []): string[] {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    return path.length > 0 ? [path.join(".")] : [];
  return Object.entries(value).flatMap(([key, inner]) => leavesOf(inner, [...path, key]));
}
