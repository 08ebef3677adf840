import type { Recipe } from "./recipe.ts";

/** What whoever opens a recipe says otherwise than its file. */
export interface Otherwise {
  readonly seed?: number;
  /**
   * Rows at most of every file that is learnt from, validated on or held out, and prompts of an iteration: as many as a first try is to have.
   * What models are tested on before anything is spent, an audit's pairs, stays whole: a few of them would refuse everybody.
   */
  readonly limit?: number;
}

/** A copy of a recipe with what is said otherwise. */
export function changed(original: Recipe, { seed, limit }: Otherwise): Recipe {
  const recipe = structuredClone(original);
  if (seed !== undefined) recipe.seed = seed;
  if (limit === undefined) return recipe;
  const { prompts, supervised, preferenceModel, costModel, policy } = recipe;
  limitRows(limit, prompts, ["train", "validation", "heldOut"]);
  limitRows(limit, supervised, ["helpful", "written"]);
  limitRows(limit, preferenceModel, ["pretrain", "human"]);
  if (costModel) limitRows(limit, costModel, ["human"]);
  // An iteration that has more prompts than there are goes through them several times, which is no shorter try.
  if (policy !== undefined && "promptsPerIteration" in policy)
    policy.promptsPerIteration = Math.min(limit, policy.promptsPerIteration);
  return recipe;
}

type Dataset = string | { readonly path: string; readonly limit?: number | undefined };

/** Of the files that stand under these keys; a share of another file is limited with that one. */
function limitRows<Key extends string>(limit: number, holder: { [K in Key]?: unknown }, keys: readonly Key[]): void {
  for (const key of keys) {
    const value = holder[key] as Dataset | { readonly share: number } | undefined;
    if (value === undefined || (typeof value === "object" && "share" in value)) continue;
    const whole = typeof value === "string" ? { path: value } : value;
    Object.assign(holder, { [key]: { ...whole, limit: Math.min(limit, whole.limit ?? limit) } });
  }
}
