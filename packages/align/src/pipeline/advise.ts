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
} as const;
export type Criterion = keyof typeof criteria;
/**
 * `goal`: a safeguard on preferences, both alike, or strict adherence; `complexity` that is tolerated; `compute` there is; `constitution`: whether all,
 * some or none of its principles have checks.
 */
export type Criteria = { readonly [Name in Criterion]: (typeof criteria)[Name][number] };

/** Where the constitution acts on preferences and on reinforcement learning. */
export const switchNames = ["weigh", "constitutionFirst", "reward", "imitate", "constraint", "avoid"] as const;
export type SwitchName = (typeof switchNames)[number];

export interface AdviceRule {
  /** The answers that it needs, one of each list; none: it always holds. */
  readonly when: { readonly [Name in Criterion]?: readonly Criteria[Name][] };
  readonly about: ArrangementName | SwitchName;
  /** Above 0 it speaks for it, below against it. */
  readonly weight: number;
  readonly because: string;
  readonly source: string;
}

const [A, B, both] = ["METHODS §8 (A)", "METHODS §8 (B)", "METHODS §8 (A, B)"] as const;

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
  /** Every other answer to one of the criteria by which another arrangement would be first. */
  readonly decisive: readonly {
    readonly criterion: Criterion;
    readonly answer: string;
    readonly arrangement: ArrangementName;
  }[];
}

/** Which arrangement and switches fit, by the rules alone: the same answers give the same advice. METHODS §8. */
export function advise(given: Criteria): Advice {
  const arrangements = ranked(given);
  const judged = switchNames.map((name) => judge(name, given));
  const others = (Object.keys(criteria) as Criterion[]).flatMap((criterion) =>
    criteria[criterion].map((answer) => {
      const { name: arrangement } = ranked({ ...given, [criterion]: answer })[0]!;
      return { criterion, answer, arrangement };
    }),
  );
  return {
    criteria: given,
    arrangements,
    switches: judged.filter(({ score }) => score > 0),
    without: judged.filter(({ score, rules }) => score <= 0 && rules.length > 0),
    decisive: others.filter(({ arrangement }) => arrangement !== arrangements[0]!.name),
  };
}

function ranked(given: Criteria): Judged<ArrangementName>[] {
  // Stable: equal ones stay in the order of the names.
  return arrangementNames.map((name) => judge(name, given)).sort((a, b) => b.score - a.score);
}

function judge<Name extends AdviceRule["about"]>(name: Name, given: Criteria): Judged<Name> {
  const rules = adviceRules.filter(({ about, when }) => about === name && holds(when, given));
  return { name, score: rules.reduce((sum, { weight }) => sum + weight, 0), rules };
}

function holds(when: AdviceRule["when"], given: Criteria): boolean {
  return (Object.entries(when) as [Criterion, readonly string[]][]).every(([name, some]) => some.includes(given[name]));
}
