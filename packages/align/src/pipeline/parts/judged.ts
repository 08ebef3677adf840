import type { PairRow, ResponseRow } from "@tenet/data";
import {
  type Comparison,
  choiceJudge,
  comparePairs,
  expectedScores,
  formatJudge,
  type JudgedScore,
  judgedDependsOn,
  judgedScores,
  judgeQuestion,
  pairResponses,
  ratingQuestion,
} from "../../evaluate/index.ts";
import { labelDependsOn, principleJudge } from "../../feedback/index.ts";
import { verdictTokens } from "../../judge/index.ts";
import type { PartContext } from "../context.ts";
import { isTrained } from "../recipe.ts";
import { asking, size } from "../sizes.ts";
import { itemStage, rowsStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** What a judge thinks of a reply, however it was asked. */
export type Score = Pick<JudgedScore, "id" | "origin" | "response" | "score">;

/** Scores by the reply that they are of. */
export function scoresOf(rows: Iterable<Score>): ReadonlyMap<string, number> {
  return new Map([...rows].map(({ response, score }) => [response, score]));
}

/** Who answered better, prompt by prompt. METHODS §7. */
export function comparisonStage(
  { recipe, constitution, labelDemonstrations: demonstrations }: PartContext,
  a: Answers,
  b: Answers,
  judge: Stage<ModelValue>,
): Stage<StoredRows<Comparison>> {
  const sides = [a.responses, b.responses];
  const pairs = rowsStage<PairRow>({
    name: `answers of ${a.id} and ${b.id}`,
    title: "replies side by side",
    kind: "pair-responses",
    version: 1,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens, prompt } = sized(a.responses);
      return { rows, prompt, tokens: 2 * tokens - prompt };
    },
    inputs: sides,
    settings: () => null,
    *make(stage) {
      const [ours, theirs] = sides.map((side) => [...stage.value(side).rows()]);
      for (const row of pairResponses(ours!, theirs!)) yield { row };
    },
  });
  // A judge of one's own is asked what it was taught.
  const trained = isTrained(recipe.roles.judge);
  const { system, principles } = recipe.feedback.label;
  const question = {
    ...(system !== undefined && { system }),
    principles,
    constitution,
    demonstrations,
    seed: recipe.seed,
  };
  const format = formatOf(recipe);
  return itemStage<PairRow, Comparison>({
    name: `${a.id} against ${b.id}`,
    title: "which reply is better",
    kind: "compare",
    version: 2,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens } = sized(pairs);
      return {
        ...sized(pairs),
        asked: [asking("judge", judge, 2 * rows, tokens + size(judgeQuestion), verdictTokens(recipe.evaluate.judge))],
      };
    },
    over: pairs,
    models: { judge },
    dependsOn: (row) => ({
      question: trained
        ? labelDependsOn(row, { ...question, method: "choice", swap: true })
        : format
          ? judgedDependsOn(format)
          : judgeQuestion,
      ...{ a: a.id, b: b.id },
    }),
    run: (rows, models, call) => {
      const labeller = models.judge!;
      const who = trained
        ? principleJudge({ ...question, labeller })
        : format
          ? formatJudge({ ...format, judge: labeller })
          : choiceJudge(labeller, { seed: recipe.seed });
      return comparePairs(rows, { judge: who, a: a.id, b: b.id }, call);
    },
  });
}

/** The judge's own way of being asked, where the recipe names one. */
function formatOf({ evaluate, seed }: PartContext["recipe"]) {
  return evaluate.judge && { asking: evaluate.judge, seed };
}

/** How good each reply is to a judge that training never heard. METHODS §3, §7. */
export function ratingStage(
  { recipe }: PartContext,
  { id, responses }: Answers,
  judge: Stage<ModelValue>,
): Stage<StoredRows<Score>> {
  const format = formatOf(recipe);
  return itemStage<ResponseRow, Score>({
    name: `rating of ${id}`,
    title: `the judge's rating of replies of ${id}`,
    kind: "rate",
    version: 1,
    seed: recipe.seed,
    expect(sized) {
      const { rows, tokens } = sized(responses);
      return {
        ...sized(responses),
        asked: [asking("judge", judge, rows, tokens + size(ratingQuestion), verdictTokens(recipe.evaluate.judge))],
      };
    },
    over: responses,
    models: { judge },
    dependsOn: () => ({ question: format ? judgedDependsOn(format) : ratingQuestion }),
    run: (rows, models, call) =>
      format
        ? judgedScores(rows, { ...format, judge: models.judge! }, call)
        : expectedScores(rows, { judge: models.judge! }, call),
  });
}

export interface Answers {
  /** Of the checkpoint. */
  readonly id: string;
  readonly responses: Stage<StoredRows<ResponseRow>>;
}
