import type { PairRow, PreferenceRow } from "@tenet/data";
import { UsageError } from "@tenet/lm";
import { lookers } from "../../feedback/constitution-first.ts";
import { checkedHashes } from "../../feedback/examples.ts";
import { labelByChecks, labelByContrast, labelDependsOn, labelPairs } from "../../feedback/index.ts";
import { imagesShown, unreadReason, unreadVerdict, verdictTokens } from "../../judge/index.ts";
import type { PartContext } from "../context.ts";
import type { Asked, Size } from "../expectation.ts";
import type { Recipe } from "../recipe.ts";
import { asking, mean, perMessage, size, sizes } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import { peoplesLabelsStage } from "./people.ts";

/** What is preferred, and how surely. METHODS §3. */
export function labelsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly title: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly labeller: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
    /** Labels wait for it: nothing is spent behind a gate that refuses. */
    readonly behind?: Stage | undefined;
    /** Whether the pairs are a file's, which may show images. */
    readonly given?: boolean;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { recipe, constitution, labelDemonstrations: demonstrations } = context;
  const { seed, feedback } = recipe;
  const { name, title, pairs, labeller, critic, behind, given = false } = part;
  const unseen = given ? undefined : unseenPairs(recipe);
  const options = { ...feedback.label, constitution, demonstrations, seed };
  if (feedback.label.method === "checks")
    return itemStage<PairRow, PreferenceRow>({
      name,
      title: `${title} by the checks`,
      kind: "label-by-checks",
      version: 1,
      seed,
      over: pairs,
      dependsOn: () => checkedHashes(constitution),
      run: (rows) => labelByChecks(rows, { constitution }),
    });
  if (feedback.label.method === "people") return peoplesLabelsStage(context, { name, pairs });
  if (feedback.label.method === "contrast")
    return itemStage<PairRow, PreferenceRow>({
      name,
      title: `${title} by how the pairs were made`,
      kind: "label-by-contrast",
      version: 1,
      seed,
      over: pairs,
      dependsOn: () => null,
      run: (rows) => labelByContrast(rows),
    });
  const stage = itemStage<PairRow, PreferenceRow>({
    name,
    title,
    kind: "label",
    version: 1,
    seed,
    expect: (sized) => ({ ...sized(pairs), asked: labelRequests(context, sized(pairs), { labeller, critic }) }),
    over: pairs,
    models: { labeller, ...(lookers(options.constitutionFirst).critic && { critic }) },
    ...(behind && { behind: [behind] }),
    dependsOn: (row) => labelDependsOn(row, options),
    run: (rows, models, call) =>
      labelPairs(rows, { ...options, labeller: models.labeller!, critic: models.critic }, call),
  });
  if (unseen === undefined) return stage;
  return { ...stage, check: () => Promise.reject(new UsageError(unseen)) };
}

/** Why the labeller can judge none of the pairs that a run makes; undefined where it can. */
export function unseenPairs({ feedback: { label } }: Pick<Recipe, "feedback">): string | undefined {
  if (label.judge === undefined || imagesShown(label.judge) !== "one") return undefined;
  return `feedback.label.judge: ${label.judge.format} judges replies to an image, and the pairs that a run makes are a local model's replies to texts: it can be held against known pairs (tenet audit), and a run needs another labeller`;
}

/** Tokens of a labeller's question about a pair. */
export function questionTokens({ recipe, constitution, labelDemonstrations }: PartContext, pairs: Size): number {
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  const shown = labelDemonstrations.reduce((sum, texts) => sum + sizes(texts), 0);
  return pairs.tokens + question + size(recipe.feedback.label.system) + shown + perMessage;
}

/** What a labeller and a critic are asked to read and write about pairs. */
function labelRequests(
  context: PartContext,
  pairs: Size,
  { labeller, critic }: { readonly labeller: Stage; readonly critic: Stage },
): Asked[] {
  const { recipe, constitution } = context;
  const { method, swap, principles, cot, constitutionFirst } = recipe.feedback.label;
  const prompt = questionTokens(context, pairs);
  const questions = pairs.rows * principles * (swap ? 2 : 1);
  const requests: Asked[] = [];
  if (method === "cot") {
    const { samples, sampling } = cot;
    // The letters are read behind the reasoning.
    const reasoned = asking("labeller", labeller, questions * samples, 2 * prompt, sampling.maxTokens);
    requests.push({ ...reasoned, promptTokens: reasoned.promptTokens + questions * samples * sampling.maxTokens });
  } else requests.push(asking("labeller", labeller, questions, prompt, verdictTokens(recipe.feedback.label.judge)));
  const question = mean(constitution.principles.map(({ preferenceQuestion }) => size(preferenceQuestion)));
  if (lookers(constitutionFirst).critic)
    // Both replies, in both orders of the answers.
    requests.push(asking("critic", critic, pairs.rows * principles * 4, pairs.tokens / 2 + question, 0));
  return requests;
}

/** Inputs that were set aside because somebody's answer could not be read. */
export function unreadIn(rows: StoredRows<unknown>): number {
  const unread = rows.reasons().filter(({ reason }) => reason.includes(unreadReason) || reason.includes(unreadVerdict));
  return unread.reduce((sum, { count }) => sum + count, 0);
}
