import { type ArrangementName, arrangementNames } from "./schema/arrangement.ts";

/*
 * Which arrangement and which switches fit, by a table of rules. METHODS §8: A is its guide to sequential and joint pipelines, B its guide to
 * system architectures. Weights are ours: whole numbers that order the rules, and no measurement.
 */

/** What is asked, and every answer that there is. */
export const criteria = {
  goal: ["preferences", "balanced", "strict"],
  complexity: ["low", "medium", "high"],
  compute: ["low", "medium", "high"],
  constitution: ["verifiable", "mixed", "interpreted"],
  labeller: ["unknown", "chance", "above"],
  people: ["none", "some", "many"],
} as const;
export type Criterion = keyof typeof criteria;
/**
 * `goal`: a safeguard on preferences, both alike, or strict adherence; `complexity` that is tolerated; `compute` there is; `constitution`: whether all,
 * some or none of its principles have checks; `labeller`: what an audit said of the model that would label, whether its accuracy's interval
 * clears chance; `people` who can judge pairs: for an audit (some, a hundred pairs or so), or for all labels (many).
 */
export type Criteria = { readonly [Name in Criterion]: (typeof criteria)[Name][number] };

/** Answers that are taken where none is given: nobody said anything. */
export const unanswered = { labeller: "unknown", people: "none" } as const satisfies Partial<Criteria>;

/** Where the constitution acts on preferences and on reinforcement learning. */
export const switchNames = ["weigh", "constitutionFirst", "reward", "imitate", "constraint", "avoid"] as const;
export type SwitchName = (typeof switchNames)[number];

/** Who says which reply of a pair is better. */
export const labelNames = ["checks", "model", "contrast", "people"] as const;
export type LabelName = (typeof labelNames)[number];

export interface AdviceRule {
  /** The answers that it needs, one of each list; none: it always holds. */
  readonly when: { readonly [Name in Criterion]?: readonly Criteria[Name][] };
  readonly about: ArrangementName | SwitchName | LabelName;
  /** Above 0 it speaks for it, below against it. */
  readonly weight: number;
  readonly because: string;
  readonly source: string;
}

/** What labels are worth, and the two guides to joining the halves: docs/labels.md and docs/arrangements.md say what they hold. */
const feedback = "docs/labels.md";
const [A, B, both] = ["guide A", "guide B", "guides A and B"] as const;

/** Of the goal only rules that do not fall as it gets stricter may speak of switches: advise.test.ts says so. */
export const adviceRules: readonly AdviceRule[] = [
  {
    ...{ when: { complexity: ["low"] }, about: "sequential", weight: 3, source: both },
    because: "each half is made, tested and mended alone",
  },
  {
    ...{ when: { complexity: ["medium"] }, about: "sequential", weight: 1, source: both },
    because: "each half is made, tested and mended alone",
  },
  {
    ...{ when: { goal: ["balanced"] }, about: "sequential", weight: 1, source: `${both}; arXiv 2212.08073` },
    because: "the supervised model is a steady, cheap start for reinforcement learning",
  },
  {
    ...{ when: { goal: ["preferences"] }, about: "reverse", weight: 2, source: both },
    because: "preferences come first, and the constitution is the last layer",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "reverse", weight: -1, source: both },
    because: "a last layer may fail to undo what reinforcement learning has fixed",
  },
  {
    ...{ when: { goal: ["preferences", "balanced"] }, about: "iterative", weight: 1, source: B },
    because: "both aims stay in sight through training, and a schedule moves the weight between them",
  },
  {
    ...{ when: { complexity: ["high"] }, about: "iterative", weight: 1, source: B },
    because: "the state and the data of several rounds can be looked after",
  },
  {
    ...{ when: { complexity: ["low"] }, about: "iterative", weight: -3, source: B },
    because: "more state and data to manage, and harder to debug",
  },
  {
    ...{ when: { compute: ["high"] }, about: "iterative", weight: 2, source: B },
    because: "every round can sample, label and train anew, from the current policy",
  },
  {
    ...{ when: { compute: ["low"] }, about: "iterative", weight: -3, source: B },
    because: "every round samples, labels and trains anew",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "joint", weight: 4, source: both },
    because: "the strongest enforcement: principles act on what is explored",
  },
  {
    ...{ when: { complexity: ["medium"] }, about: "joint", weight: -1, source: both },
    because: "signals can conflict, and their weights have to be found",
  },
  {
    ...{ when: { complexity: ["low"] }, about: "joint", weight: -3, source: both },
    because: "complex and hard to tune: conflicting signals can destabilise training",
  },
  {
    ...{ when: { constitution: ["verifiable"] }, about: "joint", weight: 1, source: B },
    because: "a simple, verifiable constitution gives a reliable R_const",
  },
  {
    ...{ when: { constitution: ["interpreted"], compute: ["low"] }, about: "joint", weight: -3, source: both },
    because: "evaluating the constitution in every rollout costs compute",
  },
  {
    ...{ when: {}, about: "weigh", weight: 1, source: A },
    because: "constitutional checks of the labels are the lightest hybrid",
  },
  {
    ...{ when: { constitution: ["interpreted"], compute: ["low"] }, about: "weigh", weight: -2, source: B },
    because: "the critic is asked of each pair once, and that is before the label",
  },
  {
    ...{
      when: { constitution: ["interpreted"], compute: ["low"] },
      about: "constitutionFirst",
      weight: 1,
      source: both,
    },
    because: "a constitution that needs interpretation is looked at as labels are made, not in every rollout",
  },
  {
    ...{ when: { goal: ["balanced"] }, about: "reward", weight: 1, source: A },
    because: "a light penalty in the reward keeps principles in sight of reinforcement learning",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "reward", weight: 2, source: both },
    because: "R_const in the reward: principles act on what is explored",
  },
  {
    ...{ when: { constitution: ["interpreted"], compute: ["low"] }, about: "reward", weight: -3, source: both },
    because: "a critic would be asked of every reply while the policy learns",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "imitate", weight: 1, source: both },
    because: "a combined loss teaches the revisions in the same updates",
  },
  {
    ...{ when: { complexity: ["low"] }, about: "imitate", weight: -1, source: B },
    because: "gradients of two losses have to be balanced",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "constraint", weight: 2, source: `${both}; arXiv 2310.12773` },
    because: "a bound on violations in the optimiser is held by a multiplier, not by a weight that has to be found",
  },
  {
    ...{ when: { complexity: ["medium"] }, about: "constraint", weight: -1, source: both },
    because: "a multiplier is one more thing to tune",
  },
  {
    ...{ when: { complexity: ["low"] }, about: "constraint", weight: -2, source: both },
    because: "a multiplier is one more thing to tune, and can destabilise training",
  },
  {
    ...{ when: { compute: ["low"] }, about: "constraint", weight: -1, source: B },
    because: "the cost of every reply is evaluated, and PPO learns a second value network",
  },
  {
    ...{ when: { constitution: ["interpreted"], compute: ["low"] }, about: "constraint", weight: -3, source: both },
    because: "a critic would be asked of every reply while the policy learns",
  },
  {
    ...{ when: { goal: ["strict"] }, about: "avoid", weight: 1, source: both },
    because: "violating replies are unlearnt in the same updates",
  },
  {
    ...{ when: { complexity: ["low", "medium"] }, about: "avoid", weight: -1, source: B },
    because: "one more loss whose gradient has to be balanced",
  },
  {
    ...{ when: { constitution: ["verifiable"] }, about: "checks", weight: 2, source: feedback },
    because: "checks see every principle, and what they tell apart is told rightly and at no price",
  },
  {
    ...{ when: { constitution: ["mixed"] }, about: "checks", weight: 1, source: feedback },
    because: "checks label what they can tell apart; the other principles get no say",
  },
  {
    ...{ when: { constitution: ["interpreted"] }, about: "checks", weight: -9, source: feedback },
    because: "no principle has checks that could label",
  },
  {
    ...{ when: { labeller: ["above"] }, about: "model", weight: 3, source: `${feedback}; arXiv 2309.00267` },
    because: "the audit found it right more often than chance, and it reads every principle",
  },
  {
    ...{ when: { labeller: ["unknown"] }, about: "model", weight: 1, source: feedback },
    because: "it reads every principle; an audit has to show first that it is right more often than chance",
  },
  {
    ...{ when: { labeller: ["chance"] }, about: "model", weight: -9, source: feedback },
    because: "the audit could not tell it from chance: its labels would teach noise",
  },
  {
    ...{ when: { labeller: ["chance"] }, about: "contrast", weight: 1, source: `${feedback}; arXiv 2307.12950` },
    because: "a reply under a principle beside one under its opposite needs nobody who judges",
  },
  {
    ...{ when: { people: ["many"] }, about: "people", weight: 4, source: feedback },
    because: "a person's label stands over any machine's",
  },
  {
    ...{ when: { people: ["some"], labeller: ["chance"] }, about: "people", weight: 2, source: feedback },
    because: "few labels that are right teach more than many that are not",
  },
  {
    ...{ when: { people: ["none"] }, about: "people", weight: -9, source: feedback },
    because: "nobody is there to judge",
  },
];

/** An arrangement or a switch, with every rule that spoke of it. */
export interface Judged<Name> {
  readonly name: Name;
  /** Sum of the weights of its rules. */
  readonly score: number;
  readonly rules: readonly AdviceRule[];
}

export interface Advice {
  readonly criteria: Criteria;
  /** All four, the best first; of equal ones that which has less to look after. */
  readonly arrangements: readonly Judged<ArrangementName>[];
  /** Those that are advised. */
  readonly switches: readonly Judged<SwitchName>[];
  /** Those that are not, where a rule spoke of them. */
  readonly without: readonly Judged<SwitchName>[];
  /** Who labels, the best first; of equal ones in the order of the names. */
  readonly labels: readonly Judged<LabelName>[];
  /** Whether labels have to be audited before they are used: a model's of which nobody knows what they are worth. METHODS §3. */
  readonly audit: boolean;
  /** Every other answer to one of the criteria by which another arrangement, or another's labels, would be first. */
  readonly decisive: readonly {
    readonly criterion: Criterion;
    readonly answer: string;
    readonly arrangement: ArrangementName;
    readonly labels: LabelName;
  }[];
}

/** Which arrangement, switches and labels fit, by the rules alone: the same answers give the same advice. METHODS §8, §3. */
export function advise(given: Criteria): Advice {
  const arrangements = ranked(arrangementNames, given);
  const labels = ranked(labelNames, given);
  const judged = switchNames.map((name) => judge(name, given));
  const names = Object.keys(criteria) as Criterion[];
  const others = names.flatMap((criterion) =>
    criteria[criterion].map((answer) => {
      const other = { ...given, [criterion]: answer };
      return {
        ...{ criterion, answer },
        ...{ arrangement: ranked(arrangementNames, other)[0]!.name, labels: ranked(labelNames, other)[0]!.name },
      };
    }),
  );
  return {
    // In the order in which they are asked.
    criteria: Object.fromEntries(names.map((name) => [name, given[name]])) as Criteria,
    arrangements,
    switches: judged.filter(({ score }) => score > 0),
    without: judged.filter(({ score, rules }) => score <= 0 && rules.length > 0),
    labels,
    audit: labels[0]!.name === "model" && given.labeller === "unknown",
    decisive: others.filter((one) => one.arrangement !== arrangements[0]!.name || one.labels !== labels[0]!.name),
  };
}

function ranked<Name extends AdviceRule["about"]>(names: readonly Name[], given: Criteria): Judged<Name>[] {
  // Stable: equal ones stay in the order of the names.
  return names.map((name) => judge(name, given)).sort((a, b) => b.score - a.score);
}

function judge<Name extends AdviceRule["about"]>(name: Name, given: Criteria): Judged<Name> {
  const rules = adviceRules.filter(({ about, when }) => about === name && holds(when, given));
  return { name, score: rules.reduce((sum, { weight }) => sum + weight, 0), rules };
}

function holds(when: AdviceRule["when"], given: Criteria): boolean {
  return (Object.entries(when) as [Criterion, readonly string[]][]).every(([name, some]) => some.includes(given[name]));
}
