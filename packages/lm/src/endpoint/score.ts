import { CapabilityError } from "../language-model/errors.ts";
import type { Score } from "../language-model/types.ts";
import type { Choice } from "./wire.ts";

/**
 * The score of a continuation in the echo of prompt + continuation.
 *
 * `choice.tokens` are those of the echoed text, then `generated` new ones. A token that lies across the border counts as
 * the continuation's. Null when the echo cannot be read: no tokens, no log-probabilities, or texts that do not add up.
 */
export function scoreFromEcho(
  choice: Choice,
  { prompt, continuation, generated }: { prompt: string; continuation: string; generated: number },
): Score | null {
  if (continuation === "") return { logprob: 0, tokenLogprobs: [], tokens: [] };
  const tokens = choice.tokens ?? [];
  const echoed = tokens.slice(0, tokens.length - generated);
  const own = byText(echoed, prompt, continuation) ?? byOffset(echoed, prompt);
  if (!own || own.length === 0 || own.some((token) => token.logprob === null)) return null;
  const tokenLogprobs = own.map((token) => token.logprob!);
  return { logprob: tokenLogprobs.reduce((a, b) => a + b, 0), tokenLogprobs, tokens: own.map((token) => token.text) };
}

type Tokens = NonNullable<Choice["tokens"]>;

/** The tokens behind the prompt, by the texts of the tokens; special tokens before the text may show or not. */
function byText(echoed: Tokens, prompt: string, continuation: string): Tokens | null {
  const joined = echoed.map((token) => token.text).join("");
  if (!joined.endsWith(prompt + continuation)) return null;
  const border = joined.length - continuation.length;
  let end = 0;
  return echoed.filter((token) => {
    end += token.text.length;
    return end > border;
  });
}

/** The same by the server's offsets, for texts whose characters are split across tokens and so cannot be joined. */
function byOffset(echoed: Tokens, prompt: string): Tokens | null {
  if (echoed.some((token) => token.offset === undefined)) return null;
  const border = [...prompt].length;
  return echoed.filter((_, i) => (echoed[i + 1]?.offset ?? Number.POSITIVE_INFINITY) > border);
}

/**
 * Scores of continuations that are single tokens, from the likeliest next tokens [k].
 *
 * One that is not among them gets the least of their log-probabilities, marked as an upper bound.
 * Errors: CapabilityError when a continuation is seen to be several tokens.
 */
export function scoreFromTop(top: { text: string; logprob: number }[], continuations: string[]): Score[] {
  if (top.length === 0)
    throw new CapabilityError("score", "the endpoint gave no likeliest tokens to read options from");
  const least = Math.min(...top.map((token) => token.logprob));
  return continuations.map((continuation): Score => {
    const found = top.find((token) => token.text === continuation);
    if (found) return { logprob: found.logprob, tokenLogprobs: [found.logprob], tokens: [continuation] };
    const beginning = top.find(({ text }) => text.trim() !== "" && continuation.startsWith(text));
    if (beginning)
      throw new CapabilityError(
        "score",
        `'${continuation}' is more than one token ('${beginning.text}' is its first): this endpoint can only score single tokens, such as ' A'`,
      );
    return { logprob: least, tokenLogprobs: [least], tokens: [continuation], upperBound: true };
  });
}
