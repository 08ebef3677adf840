import type { Message, TextCodec } from "@tenet/lm";

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
 * Encodes a reply behind its prompt: the prompt through the chat template as `generate` sees it, then the reply's text, then the
 * token that ends the assistant's turn, so that a model learns to stop. What a template writes behind that token (a newline, as a
 * rule) is no part of the reply: generation ends before it.
 *
 * A reply that a limit cut has no end: none is put behind it, so that no model learns to stop in the middle of a sentence.
 *
 * Reply and prompt are encoded apart, because a model that generates cannot merge its first token with the prompt's last.
 * Errors: ChatTemplateError where the model has no template or it refuses the conversation, TemplateError where it does not
 * end turns.
 */
export function encodeReply(
  text: TextCodec,
  prompt: readonly Message[],
  reply: string,
  { cut = false }: { readonly cut?: boolean | undefined } = {},
): EncodedReply {
  return {
    prompt: text.encodePrompt([...prompt]),
    completion: [...text.encode(reply), ...(cut ? [] : endOfTurn(text))],
  };
}

const known = new WeakMap<TextCodec, readonly number[]>();

/** What the template writes behind an assistant's reply, up to the token at which generation stops. */
function endOfTurn(text: TextCodec): readonly number[] {
  const cached = known.get(text);
  if (cached) return cached;
  const turns: Message[] = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "Hello." },
  ];
  // A conversation that ends with the assistant is left open behind its text; one that goes on has the turn closed.
  const open = text.encodePrompt(turns);
  const closed = text.encodePrompt([...turns, { role: "user", content: "Hello" }]);
  const begins = open.every((token, i) => closed[i] === token);
  const stop = closed.findIndex((token, i) => i >= open.length && text.endIds.has(token));
  if (!begins || stop < 0)
    throw new TemplateError(
      "the model's chat template writes no token behind a reply at which generation stops, so a reply's end cannot be learnt; use a model with a chat template that ends turns (ChatML, Llama 3 …)",
    );
  const end = closed.slice(open.length, stop + 1);
  known.set(text, end);
  return end;
}
