import { isTokens, type LanguageModel, type Score, type Tokens } from "../language-model/index.ts";
import { ApiError } from "./refusals.ts";
import type { Echo } from "./replies.ts";
import { takesTokens } from "./tokens.ts";

/**
 * How a model echoes a raw text: its tokens with the log-probability of each behind those before it, and of the likeliest in its place; the
 * first has none, and no tokens are told where log-probabilities are not asked for. Throws ApiError where more than the one likeliest is
 * asked for, for an empty text of `prompts`, the ones that will be echoed, and for a model whose tokens are not at hand.
 */
export function echoing(
  model: LanguageModel,
  logprobs: number | undefined,
  prompts: readonly unknown[],
): (prompt: string | Tokens, signal: AbortSignal) => Promise<Echo> {
  const refuse = (why: string, param = "echo") => new ApiError(400, why, { code: "unsupported_parameter", param });
  if (!takesTokens(model)) {
    if (logprobs !== undefined) throw refuse("this model cannot echo");
    return async (prompt) => ({ text: prompt as string, tokens: [] });
  }
  if (logprobs !== undefined && logprobs > 1)
    throw refuse(`an echo tells the one likeliest token: logprobs is 0 or 1 with it, not ${logprobs}`, "logprobs");
  if (logprobs !== undefined && prompts.includes("")) throw refuse("an empty prompt cannot be echoed");
  const { text: codec } = model;
  return async (prompt, signal) => {
    const text = isTokens(prompt) ? codec.decode(prompt.tokens) : prompt;
    if (logprobs === undefined) return { text, tokens: [] };
    // A beginning-of-text token is the tokenizer's, not the text's.
    const lead = isTokens(prompt) ? [] : codec.encode("", { addSpecial: true });
    const [first, ...rest] = isTokens(prompt) ? prompt.tokens : codec.encode(prompt);
    if (first === undefined) throw refuse("an empty prompt cannot be echoed");
    const head = { id: first, text: codec.tokenText(first), logprob: null };
    if (rest.length === 0) return { text, tokens: [head] };
    const request = {
      ...{ prompt: { tokens: [...lead, first] }, continuations: [{ tokens: rest }] },
      likeliest: logprobs > 0,
    };
    let score: Score | undefined;
    for await (const { scores } of model.score([request], { signal })) score = scores[0];
    const { tokens, tokenLogprobs, likeliest } = score!;
    const told = tokens.map((token, i) => {
      const own = { id: rest[i]!, text: token, logprob: tokenLogprobs[i]! };
      // The likeliest and the token itself, as OpenAI's service tells them.
      return likeliest ? { ...own, top: [likeliest[i]!, own] } : own;
    });
    return { text, tokens: [head, ...told] };
  };
}
