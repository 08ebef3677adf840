import { type Message, refusesText, type TextCodec } from "@tenet/lm";

/** A conversation and a reply as the tokens a model is trained on. */
export interface EncodedReply {
  /** Exactly the tokens that generation starts from. */
  readonly prompt: readonly number[];
  /** The reply's own tokens and, unless the reply was cut, the one that ends its turn. */
  readonly completion: readonly number[];
}

/** A model's template does not say how a reply ends. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/**
 * Encodes a reply behind its prompt: the prompt through the chat template as `generate` sees it, then the reply's text, then what
 * the template writes behind a reply up to the token that ends the turn, so that a model learns to stop. What it writes behind
 * that token (a newline, as a rule) is no part of the reply: generation ends before it.
 *
 * A reply that a limit cut has no end: none is put behind it, so that no model learns to stop in the middle of a sentence.
 *
 * Reply and prompt are never merged into one token, because a model that generates cannot merge its first token with the prompt's last.
 * Errors: ChatTemplateError where the model has no template or it refuses the conversation, TokenRowError where a token has no
 * row in the embedding (`refusesText` knows both), TemplateError where the template does not end turns.
 */
export function encodeReply(
  text: TextCodec,
  prompt: readonly Message[],
  reply: string,
  { cut = false }: { readonly cut?: boolean | undefined } = {},
): EncodedReply {
  const encoded = text.encodeBehind([...prompt], [reply]);
  return { prompt: encoded.prompt, completion: [...encoded.texts[0]!, ...(cut ? [] : endOfReply(text))] };
}

/** The tokens that end a reply. Errors: TemplateError where the template writes none, so that no reply can be learnt. */
export function endOfReply({ traits }: TextCodec): readonly number[] {
  if (traits?.end) return traits.end;
  throw new TemplateError(
    "the model's chat template writes no token behind a reply at which generation stops, so a reply's end cannot be learnt; use a model with a chat template that ends turns (ChatML, Llama 3 …), or name the token that its template does write as eos_token in tokenizer_config.json",
  );
}

/** What is made of a row's texts, or why the model cannot take them. Errors: those of `make` that are no fault of the texts. */
export function unlessRefused<T>(make: () => T): { readonly value: T } | { readonly refused: string } {
  try {
    return { value: make() };
  } catch (error) {
    if (refusesText(error)) return { refused: error.message };
    throw error;
  }
}
