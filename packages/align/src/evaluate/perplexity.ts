import { bootstrap, type Estimate, type Outcome, originSchema, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import { type StageCall, scoreEach } from "../ask.ts";

/** A text that has nothing to do with the constitution: what a model thinks of it shows what alignment cost. */
export const neutralTextSchema = z.strictObject({ id: z.string().min(1), text: z.string().min(1) });
export type NeutralText = z.output<typeof neutralTextSchema>;

export const textScoreSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** Id of the neutral text. */
  text: z.string(),
  /** −ln P of all but the text's first word, in nats. */
  nll: z.number(),
  /** Tokens that `nll` is the sum over. */
  tokens: z.int().min(1),
});
export type TextScore = z.output<typeof textScoreSchema>;

/**
 * The negative log-likelihood of each text under a model, raw and behind its first word, which a model without a begin token
 * could not predict.
 *
 * Set aside: texts of fewer than two words, or that the model does not take. Errors: CapabilityError where the model cannot score raw text.
 */
export async function* scoreTexts(
  texts: readonly NeutralText[],
  { model }: { model: LanguageModel },
  call: StageCall = {},
): AsyncGenerator<Outcome<TextScore>> {
  const usable: { id: string; prompt: string; continuation: string }[] = [];
  for (const { id, text } of texts) {
    const trimmed = text.trim();
    const border = trimmed.search(/\s/);
    if (border > 0) usable.push({ id, prompt: trimmed.slice(0, border), continuation: trimmed.slice(border) });
    else yield { input: id, rows: [], aside: "fewer than two words: nothing to predict" };
  }
  const requests = usable.map(({ prompt, continuation }) => ({ prompt, continuations: [continuation] }));
  for await (const answer of scoreEach(model, requests, call)) {
    const { id } = usable[answer.request]!;
    if ("refused" in answer) {
      yield { input: id, rows: [], aside: answer.refused };
      continue;
    }
    const { logprob, tokenLogprobs } = answer.value[0]!;
    const content = { text: id, nll: -logprob, tokens: tokenLogprobs.length };
    const origin = { models: { scored: model.id }, parents: [id] };
    yield { input: id, rows: [{ id: rowId("text score", model.id, content), origin, ...content }] };
  }
}

/**
 * Perplexity of the texts together, exp(Σ nll / Σ tokens), with an interval over texts.
 *
 * @example
 * const score = (text, nll) => ({ id: text, origin: { parents: [] }, text, nll, tokens: 10 });
 * perplexity([score("a", 0), score("b", 0)], { seed: 1 }).value; // 1
 */
export function perplexity(scores: readonly TextScore[], options: { seed: number }): Estimate {
  return bootstrap(scores, (sample) => Math.exp(nllPerToken(sample)), options);
}

/**
 * How much perplexity rose, as a share: 0.03 is 3 % more than before. The interval pairs texts, so that a hard one counts the
 * same on both sides.
 *
 * Errors: RangeError where the two share no text, or count its tokens differently (then their perplexities cannot be compared).
 */
export function perplexityRise(
  before: readonly TextScore[],
  after: readonly TextScore[],
  options: { seed: number },
): Estimate {
  const earlier = new Map(before.map((score) => [score.text, score]));
  const pairs = after.flatMap((score) => {
    const old = earlier.get(score.text);
    if (old && old.tokens !== score.tokens)
      throw new RangeError(
        `text '${score.text}' has ${old.tokens} tokens for one model and ${score.tokens} for the other: perplexities of different tokenizers cannot be compared`,
      );
    return old ? [{ before: old, after: score }] : [];
  });
  if (pairs.length === 0) throw new RangeError("the two models scored no text in common");
  const nll = (sample: readonly (typeof pairs)[number][], side: "before" | "after") =>
    nllPerToken(sample.map((pair) => pair[side]));
  return bootstrap(pairs, (sample) => Math.exp(nll(sample, "after") - nll(sample, "before")) - 1, options);
}

function nllPerToken(scores: readonly TextScore[]): number {
  let nll = 0;
  let tokens = 0;
  for (const score of scores) {
    nll += score.nll;
    tokens += score.tokens;
  }
  return nll / tokens;
}
