import { type Outcome, originSchema, type ResponseRow, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import type { StageCall } from "../ask.ts";
import { expectedRatings } from "../judge/index.ts";

export const expectedScoreSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** Id of the reply. */
  response: z.string(),
  /** In [−1, 1], higher is better. */
  score: z.number().min(-1).max(1),
  /** P of each rating, from 1 on. */
  distribution: z.array(z.number()),
});
export type ExpectedScore = z.output<typeof expectedScoreSchema>;

/** What a judge is asked of a reply. The default is written here and nowhere else. */
export const ratingQuestion =
  "How good is this reply: does it answer what was asked, and is it helpful to the user, honest and free of harm?";

/**
 * The expected rating of each reply by a judge (`expectedRatings`).
 *
 * Set aside: replies that the judge does not take, or whose ratings it does not name. Errors: CapabilityError where it can score nothing.
 */
export async function* expectedScores(
  rows: readonly ResponseRow[],
  { judge, question = ratingQuestion }: { judge: LanguageModel; question?: string },
  call: StageCall = {},
): AsyncGenerator<Outcome<ExpectedScore>> {
  const rated = rows.map(({ prompt, response }) => ({ prompt, response, question }));
  for await (const answer of expectedRatings(judge, rated, call)) {
    const { id } = rows[answer.request]!;
    if (!("score" in answer)) {
      yield { input: id, rows: [], aside: "refused" in answer ? answer.refused : answer.unread };
      continue;
    }
    const content = { response: id, score: answer.score, distribution: answer.distribution };
    const origin = { models: { judge: judge.id }, parents: [id] };
    yield { input: id, rows: [{ id: rowId("expected score", judge.id, content), origin, ...content }] };
  }
}
