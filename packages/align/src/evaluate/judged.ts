import { type Outcome, originSchema, type ResponseRow, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import type { StageCall } from "../ask.ts";
import {
  compareByJudge,
  generalRubric,
  type JudgeAsking,
  type Rubric,
  scoreByJudge,
  sideBySide,
} from "../judge/index.ts";
import type { PairJudge } from "./winrate.ts";

/** How a judge of the literature is asked for the scorecard. */
export interface JudgedOptions {
  readonly judge: LanguageModel;
  readonly asking: JudgeAsking;
  /** What it looks for; default: quality in general. */
  readonly rubric?: Rubric | undefined;
  readonly seed: number;
}

export const judgedScoreSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** Id of the reply. */
  response: z.string(),
  /** In [−1, 1], higher is better. */
  score: z.number().min(-1).max(1),
  /** Every text of the judge, and what was read of it. */
  said: z.array(z.json()),
});
export type JudgedScore = z.output<typeof judgedScoreSchema>;

/** What the judge's word of anything depends on besides what it is shown, the model and the seed. */
export function judgedDependsOn({ asking, rubric = generalRubric }: Pick<JudgedOptions, "asking" | "rubric">) {
  return { asking: { ...asking }, rubric: { criterion: rubric.criterion, scores: [...rubric.scores] } };
}

/**
 * How good each reply is by a judge in its own format (`scoreByJudge`).
 *
 * Set aside: replies that it does not take, or of which no verdict could be read. Errors: those of `scoreByJudge`.
 */
export async function* judgedScores(
  rows: readonly ResponseRow[],
  { judge, asking, rubric = generalRubric, seed }: JudgedOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<JudgedScore>> {
  const cases = rows.map(({ id, prompt, response }) => {
    return { shown: { prompt, responses: [response] as const, rubric }, key: id };
  });
  for await (const answer of scoreByJudge(judge, cases, { ...asking, seed }, call)) {
    const { id } = rows[answer.request]!;
    if (!("score" in answer)) {
      yield { input: id, rows: [], aside: "refused" in answer ? answer.refused : answer.unread };
      continue;
    }
    const content = { response: id, score: answer.score, said: answer.said };
    const origin = { models: { judge: judge.id }, parents: [id] };
    yield { input: id, rows: [{ id: rowId("judged score", judge.id, content), origin, ...content }] };
  }
}

/**
 * A judge in its own format as who compares pairs: asked in both orders where it sees both replies, scoring each where it does not.
 *
 * Errors: those of `compareByJudge`.
 */
export function formatJudge({ judge, asking, rubric = generalRubric, seed }: JudgedOptions): PairJudge {
  return {
    id: judge.id,
    async *compare(pairs, call = {}) {
      const both = sideBySide(asking);
      const cases = pairs.flatMap(({ id, prompt, a, b }) => {
        const responses = both
          ? ([
              [a, b],
              [b, a],
            ] as const)
          : ([[a, b]] as const);
        return responses.map((two, order) => ({ shown: { prompt, responses: two, rubric }, key: `${id}:${order}` }));
      });
      const heard = pairs.map((): (number | { refused: string } | undefined)[] => [undefined, undefined]);
      for await (const answer of compareByJudge(judge, cases, { ...asking, seed }, call)) {
        const pair = both ? answer.request >> 1 : answer.request;
        const order = both ? answer.request & 1 : 0;
        const p =
          "p" in answer ? answer.p : { refused: "refused" in answer ? answer.refused : `judge: ${answer.unread}` };
        const orders = heard[pair]!;
        orders[order] = typeof p === "number" && order === 1 ? 1 - p : p;
        if (!both) orders[1] = p;
        const [first, second] = orders;
        if (first === undefined || second === undefined) continue;
        if (typeof first === "object") yield { pair, ...first };
        else if (typeof second === "object") yield { pair, ...second };
        else yield { pair, orders: [first, second] };
      }
    },
  };
}
