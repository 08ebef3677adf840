import { nearest } from "@tenet/data";
import { constitutionTerm } from "@tenet/train";
import type { Check, Constitution, Principle } from "../../constitution/index.ts";
import { rulesIn } from "../../constitution/schema.ts";
import { lookers } from "../../feedback/constitution-first.ts";
import { knownExamples } from "../../feedback/index.ts";
import { avoidsOf, constraintOf } from "../parts/policy-judges.ts";
import { isTrained, type Recipe } from "../recipe.ts";
import type { ConstitutionRules, Rule } from "./rule.ts";

/** What a recipe asks of a constitution that this one does not have. */
export const constitutionRules: ConstitutionRules = ({ recipe, constitution, unseen }) => {
  const { supervised, policy, feedback, roles, evaluate } = recipe;
  const { principles } = constitution;
  const named = `the constitution "${constitution.name}"`;
  const got = `${named}, which has none`;
  const drawn = (use: Principle["use"]) =>
    principles.filter(({ weight, use: own }) => weight > 0 && (own === "both" || own === use));
  const checked = (some: readonly Principle[]) => some.some(({ checks }) => checks.length > 0);
  const ids = principles.map(({ id }) => id);
  const { critique, examples, revisions } = supervised;
  const unchecked = !checked(principles);
  const revising = drawn("revision");
  const rewarded = policy !== undefined && "reward" in policy ? constitutionTerm(policy.reward) : undefined;
  const byChecks = (panel: { readonly by: string } | undefined) => panel !== undefined && panel.by !== "critic";
  const labels = policy !== undefined || isTrained(roles.judge);
  /** Of what only checks can do. */
  const needsChecks = (at: Rule["at"], when: boolean, expected = "checks in the constitution"): Rule => ({
    at,
    when,
    expected,
    got,
  });
  return [
    ...(evaluate.mustHold ?? []).map((id, i) => ({
      at: ["evaluate", "mustHold", i],
      when: !ids.includes(id),
      expected: `the id of a principle of ${named}: ${ids.join(", ")}`,
      got: JSON.stringify(id),
      suggestion: nearest(id, ids),
    })),
    ...unseenRules(constitution, unseen),
    ...principlesNamed(recipe).map(({ id, at }) => ({
      at: ["policy", "reward", ...at],
      when: !ids.includes(id),
      expected: `the id of a principle of ${named}: ${ids.join(", ")}`,
      got: JSON.stringify(id),
      suggestion: nearest(id, ids),
    })),
    {
      at: ["constitution"],
      when: revisions > 0 && revising.length === 0,
      expected: 'a principle with a weight above 0 and use: "revision" or "both"',
      got,
    },
    needsChecks(
      ["supervised", "critique", "critiques"],
      revisions > 0 && revising.length > 0 && critique.critiques === "checks" && !checked(revising),
      "checks in principles for revision",
    ),
    needsChecks(["supervised", "deliberate", "by"], unchecked && supervised.deliberate?.by === "checks"),
    {
      at: ["feedback", "audit", "examples"],
      when: policy !== undefined && feedback.audit?.examples === true && knownExamples(constitution).length === 0,
      expected: "a principle for preference with an example that has a good reply and a bad one",
      got,
    },
    needsChecks(["supervised", "critique", "accept"], unchecked && critique.accept === "no-worse-by-checks"),
    needsChecks(["supervised", "critique", "endWhen"], unchecked && critique.endWhen === "checks-pass"),
    needsChecks(["supervised", "examples", "keep"], unchecked && examples.keep !== "all"),
    ...(["labeller", "judge", "critic"] as const).map((name) => {
      const role = roles[name];
      const pairs = isTrained(role) ? role.train.pairs : undefined;
      const byChecks = typeof pairs === "object" && "from" in pairs && pairs.from === "checks";
      return needsChecks(["roles", name, "train", "pairs", "from"], unchecked && byChecks);
    }),
    {
      at: ["constitution"],
      when: labels && drawn("preference").length === 0,
      expected: 'a principle with a weight above 0 and use: "preference" or "both", which labels are asked under',
      got,
    },
    needsChecks(
      ["feedback", "label", "constitutionFirst", "by"],
      policy !== undefined && unchecked && lookers(feedback.label.constitutionFirst).checks,
    ),
    needsChecks(
      ["policy", "reward", "constitution"],
      unchecked && rewarded !== undefined && rewarded.weight > 0 && rewarded.by !== "critic",
      "0, or checks in the constitution, which it rewards",
    ),
    needsChecks(["policy", "constraint", "cost"], unchecked && constraintOf(policy)?.cost === "checks"),
    needsChecks(["policy", "avoid"], unchecked && policy !== undefined && byChecks(avoidsOf(policy))),
    needsChecks(["feedback", "weigh"], unchecked && byChecks(feedback.weigh)),
    needsChecks(["costModel"], unchecked && byChecks(recipe.costModel)),
  ];
};

/** Principles that a recipe's reward names, and where. */
function principlesNamed({ policy }: Recipe): { readonly id: string; readonly at: (string | number)[] }[] {
  const { given, judge } = policy !== undefined && "reward" in policy ? policy.reward : {};
  const { always = [], negate = [], categories = {} } = given ?? {};
  const rated = Array.isArray(judge?.principles) ? judge.principles : [];
  const listed = (ids: readonly string[], ...at: string[]) => ids.map((id, i) => ({ id, at: [...at, i] }));
  return [
    ...listed(always, "given", "always"),
    ...listed(negate, "given", "negate"),
    ...Object.entries(categories).flatMap(([category, ids]) => listed(ids, "given", "categories", category)),
    ...listed(rated, "judge", "principles"),
  ];
}

/** What checks that training is never to see have to be: of the same principles, and others than it sees. */
function unseenRules(constitution: Constitution, unseen: Constitution | undefined): Rule[] {
  if (unseen === undefined) return [];
  const at = ["evaluate", "unseen"];
  const ids = constitution.principles.map(({ id }) => id);
  const seen = new Map(constitution.principles.flatMap(({ id, checks }) => checks.map((one) => [contentOf(one), id])));
  return unseen.principles.flatMap(({ id, checks }): Rule[] => [
    {
      at,
      when: !ids.includes(id),
      expected: `checks of principles of the constitution "${constitution.name}": ${ids.join(", ")}`,
      got: `some of ${JSON.stringify(id)}`,
      suggestion: nearest(id, ids),
    },
    {
      at,
      when: checks.length === 0,
      expected: "a check of every principle that it names: of the others it need say nothing",
      got: `none of ${JSON.stringify(id)}`,
    },
    ...checks.map((check, i) => {
      const same = seen.get(contentOf(check));
      return {
        at,
        when: same !== undefined,
        expected: "checks that training does not see",
        got: `check ${i + 1} of ${JSON.stringify(id)}, which the constitution has too, under ${JSON.stringify(same)}`,
      };
    }),
  ]);
}

/** What a check looks for, whatever it is called, however much it counts and wherever it applies. */
function contentOf(check: Check): string {
  return JSON.stringify(rulesIn(check).map((rule) => [rule, check[rule]]));
}
