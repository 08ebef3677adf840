import { shownWith } from "@tenet/data";
import { CapabilityError, type LanguageModel, type Message } from "@tenet/lm";
import { type StageCall, scoreEach } from "../ask.ts";

/** A reply to be rated. */
export interface Rated {
  readonly prompt: readonly Message[];
  readonly response: string;
  /** How good it is, and in which respect. */
  readonly question: string;
}

export type ExpectedRating = { readonly request: number } & (
  | {
      /** In [−1, 1], higher is better. */
      readonly score: number;
      /** P of each rating, from 1 on. */
      readonly distribution: number[];
    }
  | { readonly unread: string }
  | { readonly refused: string }
);

/** Of the ratings' probability, what a server may leave unnamed: the score is then known to a fiftieth. */
const unnamed = 0.01;

/** How the reason begins of what is set aside because a judge's verdict could not be read. */
export const unreadVerdict = "the judge's verdict could not be read";

/**
 * The expected rating of each reply by a judge: Σᵢ i·P(i) over the ratings 1 … k, P normalised over them, moved to [−1, 1].
 *
 * k is 10, written "7/10" so that 1 is not the beginning of 10; a server that tells the log-probabilities of single tokens
 * only is asked for one digit, 1 to 9. Source: d-RLAIF, "RLAIF vs. RLHF" (2309.00267), §2.2.2.
 *
 * Unread: replies whose ratings the judge does not name. Errors: CapabilityError where it can score nothing.
 */
export async function* expectedRatings(
  judge: LanguageModel,
  rated: readonly Rated[],
  call: StageCall = {},
): AsyncGenerator<ExpectedRating> {
  if (rated.length === 0) return;
  const { prefill, score } = await judge.capabilities(call.signal ? { signal: call.signal } : {});
  if (score.chat === "none")
    throw new CapabilityError(
      "score",
      `${judge.id} gives no log-probabilities of replies, which ratings are read from: choose another judge, or a format whose verdicts are written, such as "rating"`,
    );
  const [best, written] = score.chat === "continuations" ? [10, (i: number) => `${i}/10`] : [9, String];
  const ratings = Array.from({ length: best }, (_, i) => written(i + 1));
  const requests = rated.map((one) => ({ prompt: ratingPrompt(one, best, prefill), continuations: ratings }));
  for await (const answer of scoreEach(judge, requests, call)) {
    const { request } = answer;
    if ("refused" in answer) {
      yield { request, refused: answer.refused };
      continue;
    }
    const most = Math.max(...answer.value.map(({ logprob }) => logprob));
    const weights = answer.value.map(({ logprob, upperBound }) => ({ weight: Math.exp(logprob - most), upperBound }));
    const sum = (of: typeof weights) => of.reduce((total, { weight }) => total + weight, 0);
    const named = sum(weights.filter(({ upperBound }) => !upperBound));
    if (!(named > 0) || sum(weights) - named > unnamed * named) {
      const reason = `its server names too few of the ratings 1 to ${best} among its likeliest tokens`;
      yield { request, unread: `${unreadVerdict}: ${reason}` };
      continue;
    }
    const distribution = weights.map(({ weight, upperBound }) => (upperBound ? 0 : weight / named));
    const expected = distribution.reduce((total, p, i) => total + p * (i + 1), 0);
    yield { request, score: Math.min(1, Math.max(-1, (2 * (expected - 1)) / (best - 1) - 1)), distribution };
  }
}

function ratingPrompt({ prompt, response, question }: Rated, best: number, prefill: boolean): Message[] {
  const turns = prompt.map(({ role, content }) => `${role}: ${content}`).join("\n\n");
  const asked = `${question} Rate it from 1, the worst, to ${best}, the best.`;
  const content = `The conversation:\n\n${turns}\n\nThe reply:\n\n${response}\n\n${asked} Answer with the rating only${best === 10 ? ", such as 4/10" : ""}.`;
  const ask: Message = { role: "user", content, ...shownWith(prompt) };
  return prefill ? [ask, { role: "assistant", content: "My rating is (" }] : [ask];
}
