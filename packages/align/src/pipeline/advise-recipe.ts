import { isDeepStrictEqual } from "node:util";
import { DocumentError, readText } from "@tenet/data";
import { runId, type Store } from "@tenet/runs";
import { constitutionTerm } from "@tenet/train";
import { parseDocument } from "yaml";
import type { Constitution } from "../constitution/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { knownExamples } from "../feedback/index.ts";
import { type Advice, advise, type Criteria, type LabelName, type SwitchName, unanswered } from "./advise.ts";
import { estimateRun, type RunEstimate } from "./estimate.ts";
import { type ShapeOf, shapesHere } from "./memory.ts";
import { type OpenRecipe, openRecipe, type RecipeChanges } from "./open.ts";
import type { AuditReport } from "./parts/audit.ts";
import { avoidsOf, constraintOf, imitatesOf } from "./parts/policy-judges.ts";
import { asksLabeller, type Recipe, usesLabels } from "./recipe.ts";
import { planOf } from "./rounds.ts";
import { runSpec } from "./run.ts";
import type { ArrangementName } from "./schema/arrangement.ts";

/** A setting that is put into a recipe. */
export interface AdvisedChange {
  readonly path: readonly string[];
  /** Absent: the setting is taken away. */
  readonly value?: unknown;
}

/** A recipe under an arrangement, with the switches that are advised. */
export interface AdvisedRecipe {
  readonly arrangement: ArrangementName;
  readonly changes: readonly AdvisedChange[];
  /** What of the recipe is replaced by that, for people. */
  readonly cautions: readonly string[];
  /** What running it will take; absent where it is not valid. */
  readonly price?: RunEstimate["left"];
  /** Why this recipe cannot be arranged so; absent where it can. */
  readonly problems?: readonly string[];
  /** The whole file, comments included. */
  readonly text: string;
}

export interface RecipeAdvice {
  readonly advice: Advice;
  /** In the order of the advice, the best first. */
  readonly recipes: readonly AdvisedRecipe[];
  /** The first of them that is valid. */
  readonly best: AdvisedRecipe;
}

/** What a constitution is like to who has to act by it: whether all, some or none of its principles have checks. */
export function natureOf({ principles }: Pick<Constitution, "principles">): Criteria["constitution"] {
  const checked = principles.filter(({ checks }) => checks.length > 0).length;
  if (checked === 0) return "interpreted";
  return checked === principles.length ? "verifiable" : "mixed";
}

/** Answers for a recipe, whose constitution is read; where nothing is said of the labeller, what its run's audit found. */
export type RecipeCriteria = Omit<Criteria, "constitution" | keyof typeof unanswered> &
  Partial<Pick<Criteria, keyof typeof unanswered>>;

/**
 * Advice for a recipe: each arrangement with the switches that are advised, checked and priced as `tenet run --dry-run` does. Switches
 * that it has stay as they are; none is taken away. Who labels is changed only where a model would.
 *
 * Errors: DocumentError as `openRecipe` for the recipe, and where no arrangement of it is valid.
 */
export async function adviseRecipe(
  file: string,
  given: RecipeCriteria,
  {
    store,
    shapeOf = shapesHere({}),
    ...changes
  }: Omit<RecipeChanges, "text"> & { readonly store?: Store | undefined; readonly shapeOf?: ShapeOf } = {},
): Promise<RecipeAdvice> {
  const open = await openRecipe(file, changes);
  const known = { ...unanswered, ...(store && auditedLabeller(store, open)), ...given };
  const advice = advise({ ...known, constitution: natureOf(open.constitution) });
  const written = await readText(file);
  const recipes: AdvisedRecipe[] = [];
  let refused: DocumentError | undefined;
  for (const { name } of advice.arrangements) {
    const advised = advisedRecipe(written, open, name, advice);
    try {
      const arranged = await openRecipe(file, { ...changes, text: advised.text });
      const { left } = await estimateRun(arranged, { shapeOf, ...(store && { store }) });
      recipes.push({ ...advised, price: left });
    } catch (error) {
      if (!(error instanceof DocumentError)) throw error;
      refused ??= error;
      recipes.push({ ...advised, problems: error.problems.map(({ message }) => message) });
    }
  }
  const best = recipes.find(({ problems }) => problems === undefined);
  if (!best) throw refused;
  return { advice, recipes, best };
}

/** What the audit of the recipe's own run said of the labeller, where there is one. */
function auditedLabeller(store: Store, open: OpenRecipe): { labeller?: Criteria["labeller"] } {
  const report = store.stage(runId(runSpec(open)), "audit")?.output as AuditReport | undefined;
  return report ? { labeller: report.gate.passed ? "above" : "chance" } : {};
}

function advisedRecipe(
  written: string,
  { recipe, constitution }: OpenRecipe,
  arrangement: ArrangementName,
  advice: Advice,
): Omit<AdvisedRecipe, "price" | "problems"> {
  const { criteria, switches } = advice;
  const labelled = labelsFor(recipe, constitution, advice);
  const wanted = [
    ...new Set(switches.flatMap(({ name }) => (name in labelled.instead ? (labelled.instead[name] ?? []) : name))),
  ].filter((name) => !isOn[name](recipe));
  const acting = wanted.some((name) => switchSettings(criteria)[name].path[0] === "policy");
  const { changes, cautions } = policyFor(recipe, acting);
  const { policy } = recipe;
  const reinforced = { algorithm: "rloo" } as NonNullable<Recipe["policy"]>;
  const planned = (own: Recipe["arrangement"]) => planOf({ arrangement: own, policy: policy ?? reinforced });
  const [is, wants] = [planned(recipe.arrangement), planned(arrangement)];
  if (!isDeepStrictEqual(is.steps, wants.steps) || is.rounds > 1 !== wants.rounds > 1) {
    changes.push({ path: ["arrangement"], value: arrangement });
    if (typeof recipe.arrangement === "object") cautions.push("the mapping under arrangement is replaced");
  }
  changes.push(...labelled.changes, ...wanted.map((name) => switchSettings(criteria)[name]));
  cautions.push(...labelled.cautions);
  const document = parseDocument(written);
  for (const change of changes)
    if ("value" in change) document.setIn(change.path, document.createNode(change.value));
    else document.deleteIn(change.path);
  return { arrangement, changes, cautions, text: document.toString({ lineWidth: 140 }) };
}

/** Reinforcement learning, where there is none or none that the switches can act on. */
function policyFor({ policy }: Recipe, acting: boolean): { changes: AdvisedChange[]; cautions: string[] } {
  const added = { path: ["policy"], value: { algorithm: "rloo" } };
  if (policy === undefined)
    return { changes: [added], cautions: ["the recipe has no policy: RLOO is added, with its defaults"] };
  if (!acting || "constraint" in policy || ["ppo", "grpo", "rloo"].includes(policy.algorithm))
    return { changes: [], cautions: [] };
  const caution = `policy (${policy.algorithm}) is replaced by RLOO with its defaults: the switches act on replies that are sampled while the policy learns`;
  return { changes: [added], cautions: [caution] };
}

/** Known answers below which an audit can hardly clear chance. */
const fewestExamples = 10;

interface Labelled {
  readonly changes: AdvisedChange[];
  readonly cautions: string[];
  /** Switches that do not go with who labels, each with what does the same there, where anything does. */
  readonly instead: { readonly [Name in SwitchName]?: SwitchName | undefined };
}

/** Who labels, where a model would and another is advised; the audit that a model's labels want. */
function labelsFor(recipe: Recipe, constitution: Constitution, { labels, audit, criteria }: Advice): Labelled {
  const { policy, feedback } = recipe;
  // What acts on labels acts on nothing where nobody learns them.
  if (policy !== undefined && !usesLabels(recipe))
    return { changes: [], cautions: [], instead: { weigh: undefined, constitutionFirst: undefined } };
  const { name } = labels[0]!;
  const by = (method: string, changes: AdvisedChange[], ...cautions: string[]): Labelled => ({
    ...{ changes, cautions },
    // People's labels stand over what checks find as they are made; they are held against the constitution afterwards.
    instead: method === "people" ? { constitutionFirst: "weigh" } : {},
  });
  const { method } = feedback.label;
  if (!asksLabeller(recipe)) return by(method, []);
  if (name === "people")
    return by(name, labelSettings(recipe)[name], "the run waits until people have judged the pairs: tenet label");
  if (name !== "model") return by(name, labelSettings(recipe)[name]);
  if (!audit || feedback.audit) return by(method, []);
  if (criteria.people === "some") {
    const asked = feedback.people ? [] : [{ path: ["feedback", "people"], value: { pairs: 100 } }];
    return by(
      method,
      [...asked, { path: ["feedback", "audit"], value: { people: true } }],
      "the run waits until people have judged pairs, on which the labeller is audited: tenet label",
    );
  }
  if (knownExamples(constitution).length >= fewestExamples)
    return by(method, [{ path: ["feedback", "audit"], value: { examples: true } }]);
  return by(
    method,
    [],
    "nobody knows what the labeller's labels are worth: feedback.audit wants a file of pairs whose better reply is known, or people",
  );
}

/** How a recipe is labelled by others than a model; what does not go with that is taken away. */
function labelSettings({ feedback }: Recipe): Readonly<Record<Exclude<LabelName, "model">, AdvisedChange[]>> {
  const by = (method: string): AdvisedChange => ({ path: ["feedback", "label"], value: { method } });
  const without = (there: unknown, ...path: string[]): AdvisedChange[] => (there === undefined ? [] : [{ path }]);
  const { system } = feedback.pairs;
  return {
    checks: [by("checks"), ...without(feedback.audit, "feedback", "audit")],
    people: [by("people"), ...without(feedback.audit, "feedback", "audit")],
    contrast: [
      by("contrast"),
      { path: ["feedback", "pairs", "contrast"], value: "principle" },
      ...(feedback.pairs.samples === 2 ? [] : [{ path: ["feedback", "pairs", "samples"], value: 2 }]),
      ...(feedback.pairs.pairs === "one" ? [] : [{ path: ["feedback", "pairs", "pairs"], value: "one" }]),
      ...without(system, "feedback", "pairs", "system"),
      ...without(feedback.audit, "feedback", "audit"),
    ],
  };
}

/** Whether a recipe has a switch already. */
const isOn: Readonly<Record<SwitchName, (recipe: Recipe) => boolean>> = {
  weigh: ({ feedback }) => feedback.weigh !== undefined,
  constitutionFirst({ feedback }) {
    const looks = lookers(feedback.label.constitutionFirst);
    return looks.checks || looks.critic;
  },
  reward: ({ policy }) => policy !== undefined && "reward" in policy && constitutionTerm(policy.reward).weight > 0,
  imitate: ({ policy }) => policy !== undefined && imitatesOf(policy) !== undefined,
  constraint: ({ policy }) => constraintOf(policy) !== undefined,
  avoid: ({ policy }) => policy !== undefined && avoidsOf(policy) !== undefined,
};

/** How a switch is put on where a recipe says nothing of it: the weights of recipes/joint.yaml, hybrid.yaml and constrained.yaml. */
export function switchSettings({ goal, compute, constitution }: Criteria): Readonly<Record<SwitchName, AdvisedChange>> {
  const by = constitution === "interpreted" ? "critic" : "checks";
  const rewarded = constitution === "mixed" && compute === "high" ? "both" : by;
  return {
    weigh: { path: ["feedback", "weigh"], value: { by } },
    constitutionFirst: { path: ["feedback", "label", "constitutionFirst"], value: { by } },
    reward: {
      path: ["policy", "reward", "constitution"],
      value: { weight: goal === "strict" ? 1 : 0.2, by: rewarded },
    },
    imitate: { path: ["policy", "imitate"], value: { weight: 0.1 } },
    constraint: { path: ["policy", "constraint"], value: { cost: by, bound: 0.1 } },
    avoid: { path: ["policy", "avoid"], value: { weight: 0.02, by } },
  };
}
