import type { PreferenceRow } from "@tenet/data";
import { type GivenRewardSettings, givenRewardSchema } from "@tenet/train";
import { askedHash } from "../../constitution/index.ts";
import { underPrinciples } from "../../feedback/index.ts";
import { type Answered, principlesFor } from "../../reward/index.ts";
import type { PartContext } from "../context.ts";
import type { Recipe } from "../recipe.ts";
import { principleSize } from "../sizes.ts";
import { rowsStage, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";

/*
 * A preference model that is shown the principles it judges by: its pairs, and what it is shown afterwards. METHODS §4 (SALMON).
 */

/** Pairs under drawn principles, where the recipe's preference model is shown some; else the pairs as they are. */
export function givenStage(
  { recipe, constitution }: PartContext,
  { name, labels }: { readonly name: string; readonly labels: Stage<StoredRows<PreferenceRow>> },
): Stage<StoredRows<PreferenceRow>> {
  const { seed, preferenceModel, feedback } = recipe;
  const { given: settings } = preferenceModel;
  if (settings === undefined) return labels;
  const { method, cot } = feedback.label;
  const clamp = method === "cot" ? cot.clamp : undefined;
  return rowsStage<PreferenceRow>({
    name,
    title: "pairs under drawn principles",
    kind: "given",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens, prompt } = sized(labels);
      const shown = settings.most * principleSize(constitution.principles);
      return { rows: rows * settings.draws, tokens: tokens + shown, prompt: prompt + shown };
    },
    inputs: [labels],
    settings: () => [settings, clamp ?? null, askedHash(constitution)],
    *make(context) {
      const rows = [...context.value(labels).rows()];
      const { outcomes, counts } = underPrinciples(rows, { constitution, settings, clamp, seed });
      const { given, unread, aside } = counts;
      context.emit({
        ...{ type: "message", stage: name, level: given === 0 ? "warning" : "info" },
        message: `${given} pairs are learnt under drawn principles, ${unread} without any, as nobody read them by principle, and ${aside} are set aside, as no drawn principle prefers either reply`,
      });
      yield* outcomes;
    },
  });
}

/** What tells which principles the preference model is shown beside a reply; undefined where it is shown none. */
export function shownSettings({ policy, preferenceModel }: Recipe): GivenRewardSettings | undefined {
  if (preferenceModel.given === undefined) return undefined;
  const reward = policy !== undefined && "reward" in policy ? policy.reward : undefined;
  return reward?.given ?? givenRewardSchema.parse({});
}

/** Which principles those are; undefined where there are none. */
export function shownBeside({ recipe, constitution }: PartContext) {
  const settings = shownSettings(recipe);
  if (settings === undefined) return undefined;
  return (answered: Answered) => principlesFor(answered, { constitution, settings, seed: recipe.seed });
}
