import { type Outcome, originSchema, type ResponseRow, rowId } from "@tenet/data";
import { CapabilityError, type LanguageModel, type Message } from "@tenet/lm";
import { z } from "zod";
import { type StageCall, scoreEach } from "../ask.ts";

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

/** Of the ratings' probability, what a server may leave unnamed: the score is then known to a fiftieth. */
const unnamed = 0.01;

/**
 * The expected rating of each reply by a judge: Σᵢ i·P(i) over the ratings 1 … k, P normalised over them, moved to [−1, 1].
 *
 * k is 10, written "7/10" so that 1 is not the beginning of 10; a server that tells the log-probabilities of single tokens
 * only is asked for one digit, 1 to 9. Source: d-RLAIF, "RLAIF vs. RLHF" (2309.00267), §2.2.2.
 *
 * Set aside: replies that the judge does not take, or whose ratings it does not name. Errors: CapabilityError where it can score nothing.
 */
export async function* expectedScores(
  rows: readonly ResponseRow[],
  { judge, question = ratingQuestion }: { judge: LanguageModel; question?: string },
  call: StageCall = {},
): AsyncGenerator<Outcome<ExpectedScore>> {
  const { prefill, score } = await judge.capabilities(call.signal ? { signal: call.signal } : {});
  if (score.chat === "none")
    throw new CapabilityError(
      "score",
      `${judge.id} gives no log-probabilities of replies, which ratings are read from: choose another judge`,
    );
  const [best, written] = score.chat === "continuations" ? [10, (i: number) => `${i}/10`] : [9, String];
  const ratings = Array.from({ length: best }, (_, i) => written(i + 1));
  const requests = rows.map((row) => ({ prompt: ratingPrompt(row, question, best, prefill), continuations: ratings }));
  for await (const answer of scoreEach(judge, requests, call)) {
    const { id } = rows[answer.request]!;
    if ("refused" in answer) {
      yield { input: id, rows: [], aside: answer.refused };
      continue;
    }
    const most = Math.max(...answer.value.map(({ logprob }) => logprob));
    const weights = answer.value.map(({ logprob, upperBound }) => ({ weight: Math.exp(logprob - most), upperBound }));
    const sum = (of: typeof weights) => of.reduce((total, { weight }) => total + weight, 0);
    const named = sum(weights.filter(({ upperBound }) => !upperBound));
    if (!(named > 0) || sum(weights) - named > unnamed * named) {
      const aside = `the judge's server names too few of the ratings 1 to ${best} among its likeliest tokens`;
      yield { input: id, rows: [], aside };
      continue;
    }
    const distribution = weights.map(({ weight, upperBound }) => (upperBound ? 0 : weight / named));
    const expected = distribution.reduce((total, p, i) => total + p * (i + 1), 0);
    const value = Math.min(1, Math.max(-1, (2 * (expected - 1)) / (best - 1) - 1));
    const content = { response: id, score: value, distribution };
    const origin = { models: { judge: judge.id }, parents: [id] };
    yield { input: id, rows: [{ id: rowId("expected score", judge.id, content), origin, ...content }] };
  }
}

function ratingPrompt(
  { prompt, response }: Pick<ResponseRow, "prompt" | "response">,
  question: string,
  best: number,
  prefill: boolean,
): Message[] {
  const turns = prompt.map(({ role, content }) => `${role}: ${content}`).join("\n\n");
  const asked = `${question} Rate it from 1, the worst, to ${best}, the best.`;
  const content = `The conversation:\n\n${turns}\n\nThe reply:\n\n${response}\n\n${asked} Answer with the rating only${best === 10 ? ", such as 4/10" : ""}.`;
  const ask: Message = { role: "user", content };
  return prefill ? [ask, { role: "assistant", content: "My rating is (" }] : [ask];
}
