import type { LanguageModel } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { ApiError } from "./refusals.ts";
import type { Echo } from "./replies.ts";

/**
 * A raw text's tokens with the log-probability of each behind those before it, and of the likeliest in its place; the first has none, and
 * none has where they are not asked for. Throws ApiError where more than the one likeliest is asked for, for a model whose tokenizer is not at hand, and for a text whose tokens are not those of its parts.
 */
export async function echoOf(
  model: LanguageModel & { readonly text?: TextCodec },
  text: string,
  logprobs: number | undefined,
  signal: AbortSignal,
): Promise<Echo> {
  if (logprobs === undefined) return { text, tokens: [] };
  const refuse = (why: string) => new ApiError(400, why, { code: "unsupported_parameter", param: "echo" });
  const { text: codec } = model;
  if (!codec) throw refuse("this model cannot echo");
  if (logprobs > 1)
    throw new ApiError(400, `an echo tells the one likeliest token: logprobs is 0 or 1 with it, not ${logprobs}`, {
      code: "unsupported_parameter",
      param: "logprobs",
    });
  const [first, ...rest] = codec.encode(text);
  if (first === undefined) throw refuse("an empty prompt cannot be echoed");
  const head = codec.tokenText(first);
  if (rest.length === 0) return { text, tokens: [{ text: head, logprob: null }] };
  if (!text.startsWith(head)) throw refuse("the prompt's first character is more than one token: it cannot be echoed");
  const request = { prompt: head, continuations: [text.slice(head.length)], likeliest: logprobs > 0 };
  for await (const { scores } of model.score([request], { signal })) {
    const { tokens, tokenLogprobs, likeliest } = scores[0]!;
    if (tokens.length !== rest.length) break;
    const told = tokens.map((token, i) => {
      const own = { text: token, logprob: tokenLogprobs[i]! };
      // The likeliest and the token itself, as OpenAI's service tells them.
      return likeliest ? { ...own, top: [likeliest[i]!, own] } : own;
    });
    return { text, tokens: [{ text: head, logprob: null }, ...told] };
  }
  throw refuse("this prompt's tokens are not those of its parts: it cannot be echoed");
}
