import { logSumExp } from "@tenet/data";
import { CapabilityError } from "../language-model/errors.ts";
import { letterOf } from "../language-model/letters.ts";
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
 * A continuation that is an option's letter has the probability of all tokens that are this letter, whatever the tokenizer or the
 * model writes around it (" A", "(A", "Ａ"), unless another continuation is the same letter. One that is not among the tokens
 * gets the least of their log-probabilities, marked as an upper bound; so do all where there are no tokens.
 * Errors: CapabilityError when a continuation is seen to be several tokens.
 */
export function scoreFromTop(
  top: readonly { text: string; logprob: number }[],
  continuations: readonly string[],
): Score[] {
  // No probability is above 1.
  const least = Math.min(0, ...top.map((token) => token.logprob));
  const letters = continuations.map(letterOf);
  return continuations.map((continuation, i): Score => {
    const letter = letters[i];
    const alone = letter !== undefined && letters.indexOf(letter) === letters.lastIndexOf(letter);
    // A server may name the token that it drew beside the likeliest ones and among them.
    const found = top.filter(
      ({ text }, place) =>
        (text === continuation || (alone && letterOf(text) === letter)) &&
        top.findIndex((other) => other.text === text) === place,
    );
    if (found.length > 0) {
      const logprob = found.length === 1 ? found[0]!.logprob : logSumExp(found.map((token) => token.logprob));
      return { logprob, tokenLogprobs: [logprob], tokens: [continuation] };
    }
    const beginning = top.find(({ text }) => text.trim() !== "" && continuation.startsWith(text));
    if (beginning)
      throw new CapabilityError(
        "score",
        `'${continuation}' is more than one token ('${beginning.text}' is its first): this endpoint can only score single tokens, such as ' A'`,
      );
    return { logprob: least, tokenLogprobs: [least], tokens: [continuation], upperBound: true };
  });
}
