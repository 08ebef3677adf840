import type { PairRow, PreferenceRow, PromptRow } from "@tenet/data";
import { looksAtCategories } from "../../constitution/index.ts";
import { contrastDependsOn, contrastPairs, makePairs, pairsDependsOn } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { asking, perMessage, principleSize, size } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** Pairs of replies to compare. METHODS §3. */
export function pairsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly second?: Stage<ModelValue> | undefined;
  },
): Stage<StoredRows<PairRow>> {
  const { name, prompts, model, second } = part;
  const { seed, feedback } = context.recipe;
  const options = { ...feedback.pairs, seed, keepCategory: looksAtCategories(context.constitution) };
  if (feedback.pairs.contrast !== undefined)
    return contrastPairsStage(context, { name, prompts, model, sampling: feedback.pairs.sampling });
  return itemStage<PromptRow, PairRow>({
    name,
    title: "pairs of replies",
    kind: "pairs",
    version: 2,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const { samples, pairs: which, sampling } = options;
      return {
        rows: rows * (which === "all" ? (samples * (samples - 1)) / 2 : 1),
        tokens: tokens + 2 * sampling.maxTokens,
        prompt: tokens,
        asked: [asking("generator", model, rows * samples, tokens + size(options.system), sampling.maxTokens)],
      };
    },
    over: prompts,
    models: { generator: model, ...(second && { second }) },
    dependsOn: (row) => pairsDependsOn(row, options),
    run: (rows, { generator, second: other }, call) =>
      makePairs(rows, { ...options, generator: generator!, second: other }, call),
  });
}

/** Pairs whose answer is known by how they were made (RLCD). METHODS §3. */
export function contrastPairsStage(
  { recipe: { seed }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    readonly sampling: PartContext["recipe"]["feedback"]["pairs"]["sampling"];
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, prompts, model, sampling } = part;
  const options = { sampling, constitution, seed };
  return itemStage<PromptRow, PreferenceRow>({
    name,
    title: "replies under principles and under their opposites",
    kind: "contrast-pairs",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const rule = principleSize(constitution.principles) + perMessage;
      const asked = [asking("generator", model, rows * 2, tokens + rule, sampling.maxTokens)];
      return { rows, tokens: tokens + 2 * sampling.maxTokens, prompt: tokens, asked };
    },
    over: prompts,
    models: { generator: model },
    dependsOn: (row) => contrastDependsOn(row, options),
    run: (rows, { generator }, call) => contrastPairs(rows, { ...options, generator: generator! }, call),
  });
}
