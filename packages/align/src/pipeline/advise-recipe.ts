import { isDeepStrictEqual } from "node:util";
import { DocumentError, readText } from "@tenet/data";
import type { Store } from "@tenet/runs";
import { constitutionTerm } from "@tenet/train";
import { parseDocument } from "yaml";
import type { Constitution } from "../constitution/index.ts";
import { lookers } from "../feedback/constitution-first.ts";
import { type Advice, advise, type Criteria, type SwitchName } from "./advise.ts";
import { estimateRun, type RunEstimate } from "./estimate.ts";
import { type OpenRecipe, openRecipe, type RecipeChanges } from "./open.ts";
import { avoidsOf, constraintOf, imitatesOf } from "./parts/policy-judges.ts";
import type { Recipe } from "./recipe.ts";
import { planOf } from "./rounds.ts";
import type { ArrangementName } from "./schema/arrangement.ts";

/** A setting that is put into a recipe. */
export interface AdvisedChange {
  readonly path: readonly string[];
  readonly value: unknown;
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

/**
 * Advice for a recipe: each arrangement with the switches that are advised, checked and priced as `tenet run --dry-run` does. Switches
 * that it has stay as they are; none is taken away.
 *
 * Errors: DocumentError as `openRecipe` for the recipe, and where no arrangement of it is valid.
 */
export async function adviseRecipe(
  file: string,
  given: Omit<Criteria, "constitution">,
  { store, ...changes }: Omit<RecipeChanges, "text"> & { readonly store?: Store | undefined } = {},
): Promise<RecipeAdvice> {
  const open = await openRecipe(file, changes);
  const advice = advise({ ...given, constitution: natureOf(open.constitution) });
  const written = await readText(file);
  const recipes: AdvisedRecipe[] = [];
  let refused: DocumentError | undefined;
  for (const { name } of advice.arrangements) {
    const advised = advisedRecipe(written, open, name, advice);
    try {
      const { left } = await estimateRun(
        await openRecipe(file, { ...changes, text: advised.text }),
        store && { store },
      );
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

function advisedRecipe(
  written: string,
  { recipe }: OpenRecipe,
  arrangement: ArrangementName,
  { criteria, switches }: Advice,
): Omit<AdvisedRecipe, "price" | "problems"> {
  const wanted = switches.map(({ name }) => name).filter((name) => !isOn[name](recipe));
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
  changes.push(...wanted.map((name) => switchSettings(criteria)[name]));
  const document = parseDocument(written);
  for (const { path, value } of changes) document.setIn(path, document.createNode(value));
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
