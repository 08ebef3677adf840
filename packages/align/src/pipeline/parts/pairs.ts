import { groupBy, type PairRow, type PreferenceRow, type PromptRow, rate } from "@tenet/data";
import { looksAtCategories } from "../../constitution/index.ts";
import { promptKey } from "../../evaluate/refusal.ts";
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
    /** Replies to each prompt, of which every two are compared, otherwise than the recipe says. */
    readonly samples?: number;
  },
): Stage<StoredRows<PairRow>> {
  const { name, prompts, model, second, samples: own } = part;
  const { seed, feedback } = context.recipe;
  const options = {
    ...{ ...feedback.pairs, seed, keepCategory: looksAtCategories(context.constitution) },
    ...(own !== undefined && { samples: own, pairs: "all" as const }),
  };
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
      const { samples, sampling } = options;
      return {
        rows: rows * pairsEach(options),
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

/** Replies to one prompt that are compared at most, where the recipe does not say more: of more, each says less that the others have not said. */
export const mostSamples = 16;

/**
 * Pairs that the preference model is tested on: made as those that it learns from or, where these are fewer than the recipe says that its gate
 * is to judge by (`preferenceModel.gate.pairs`), of as many replies to each prompt as that takes. What share of two replies makes no pair, or one without a
 * preferred reply, is told by those that are learnt from.
 */
export function testPairsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly model: Stage<ModelValue>;
    /** What is learnt from: the prompts, and the labels of their pairs. */
    readonly learnt: {
      readonly prompts: Stage<StoredRows<PromptRow>>;
      readonly labels: Stage<StoredRows<PreferenceRow>>;
    };
  },
): Stage<StoredRows<PairRow>> {
  const { prompts, learnt } = part;
  const { feedback, preferenceModel } = context.recipe;
  const wanted = preferenceModel.gate.pairs;
  if (wanted === undefined || feedback.pairs.contrast !== undefined) return pairsStage(context, part);
  const usual = pairsStage(context, part);
  const giving = (rows: number, share: number) => {
    const samples = samplesFor({ wanted, share, prompts: rows }, feedback.pairs);
    return samples === undefined ? usual : pairsStage(context, { ...part, samples });
  };
  return {
    ...usual,
    inputs: [...usual.inputs, learnt.labels],
    // The share is not known yet.
    expect: (sized) => giving(sized(prompts).rows, 1).expect!(sized),
    execute(run) {
      const labels = [...run.value(learnt.labels).rows()];
      const share = tellingShare(labels, run.value(learnt.prompts).count, pairsEach(feedback.pairs));
      return giving(run.value(prompts).count, share).execute(run);
    },
  };
}

/** The share of what could be compared that a label tells apart: the lower end of its interval, since others may have less of it. */
function tellingShare(labels: readonly PreferenceRow[], prompts: number, each: number): number {
  const telling = [...groupBy(labels, promptKey).values()].map((of) => of.filter(({ p }) => p !== 0.5).length);
  const observed = Array.from({ length: prompts }, (_, prompt) =>
    Array.from({ length: each }, (_, pair) => ({ cluster: String(prompt), yes: pair < (telling[prompt] ?? 0) })),
  );
  return rate(observed.flat()).interval[0];
}

/**
 * Replies to each prompt of which every two are compared, so that so many pairs are told apart: never fewer than are made anyway. Undefined where
 * those suffice, and where labels tell nothing apart, since more replies would not be told apart either.
 * @param share of what is compared, that a label tells apart
 */
export function samplesFor(
  { wanted, share, prompts }: { readonly wanted: number; readonly share: number; readonly prompts: number },
  usual: { readonly samples: number; readonly pairs: "one" | "all" },
): number | undefined {
  const pairs = wanted / share;
  if (share === 0 || prompts * pairsEach(usual) >= pairs) return undefined;
  let samples = Math.max(2, usual.samples);
  while (samples < mostSamples && prompts * pairsEach({ samples, pairs: "all" }) < pairs) samples++;
  return samples;
}

/** Pairs of a prompt, where all can be compared. */
function pairsEach({ samples, pairs }: { readonly samples: number; readonly pairs: "one" | "all" }): number {
  return pairs === "all" ? (samples * (samples - 1)) / 2 : 1;
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
