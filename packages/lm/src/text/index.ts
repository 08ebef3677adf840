import type { Checkpoint } from "../checkpoint/index.ts";
import type { Message, Prompt } from "../language-model/types.ts";
import { chatRenderer } from "./chat.ts";
import { ChatTemplateError } from "./errors.ts";
import { renderChat } from "./template.ts";
import { type EncodeOptions, openTokenizer, type TextDecoding } from "./tokenizer.ts";

export { ChatTemplateError, TokenizerError } from "./errors.ts";
export { type RenderOptions, renderChat } from "./template.ts";

/** Between a model's tokens and the text that people write. */
export interface TextCodec {
  /**
   * Token ids of raw text. Special-token strings inside `text` are not recognised unless allowSpecial; the tokenizer's own
   * tokens (BOS …) are put around it only with addSpecial.
   */
  encode(text: string, options?: EncodeOptions): number[];
  /**
   * A prompt as the model is to see it: raw text behind the tokenizer's own BOS, if it has one, or a conversation
   * rendered by the chat template. A conversation that ends with the assistant's turn is continued inside it. Control tokens
   * come from tokenizer and template only: "<|im_end|>" in a message or a raw text is plain text. For contents without
   * such strings the ids are exactly Hugging Face's. Errors: ChatTemplateError.
   */
  encodePrompt(prompt: Prompt): number[];
  /** Ids without text (rows that pad the model's embedding) are skipped; incomplete UTF-8 becomes U+FFFD. */
  decode(ids: readonly number[], options?: { skipSpecial?: boolean }): string;
  /** Decoding token by token: characters split over tokens are held back until whole. The pieces concatenate to `decode`. */
  decoder(options?: { skipSpecial?: boolean }): TextDecoding;
  /** Text of one token for reports; bytes that are no character show as U+FFFD. */
  tokenText(id: number): string;
  /** Tokens that end a reply: the model's ends of text and its template's end of turn. */
  readonly endIds: ReadonlySet<number>;
  /** Token ids lie below; the model's logits may have more columns. */
  readonly vocabSize: number;
  readonly hasChat: boolean;
}

/**
 * Opens the tokenizer and the chat template of a checkpoint.
 *
 * Errors: CheckpointError where the files are missing or damaged, TokenizerError for a kind that is not known. A faulty
 * chat template is only an error when a conversation is encoded: raw text does not need it.
 */
export async function openText(checkpoint: Checkpoint): Promise<TextCodec> {
  const files = await checkpoint.tokenizer();
  const tokenizer = openTokenizer(files);
  const variables: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
    const value = files.config[name] as string | { content?: unknown } | null | undefined;
    const text = typeof value === "object" ? value?.content : value;
    if (typeof text === "string") variables[name] = text;
  }
  const template = checkpoint.chatTemplate;
  const chat = template === undefined ? undefined : chatRenderer(template, tokenizer.special.keys(), { variables });

  const endIds = new Set(checkpoint.config.eos_token_ids);
  const eos = variables.eos_token === undefined ? undefined : tokenizer.idOf(variables.eos_token);
  if (eos !== undefined) endIds.add(eos);
  const endOfTurn = template === undefined ? undefined : findEndOfTurn(template, tokenizer.special, variables);
  if (endOfTurn !== undefined) endIds.add(endOfTurn);

  return {
    encode: tokenizer.encode,
    encodePrompt(prompt) {
      if (typeof prompt === "string") return tokenizer.encode(prompt, { addSpecial: true });
      if (!chat)
        throw new ChatTemplateError(
          "the model has no chat template: give it raw text, or use an instruction-tuned variant of it",
        );
      const { text, reveal } = chat(prompt);
      return tokenizer.encode(text, { allowSpecial: true, reveal });
    },
    decode: tokenizer.decode,
    decoder: tokenizer.decoder,
    tokenText: tokenizer.tokenText,
    endIds,
    vocabSize: tokenizer.vocabSize,
    hasChat: template !== undefined,
  };
}

/** The special token that the template writes first behind an assistant's reply. */
function findEndOfTurn(
  template: string,
  special: ReadonlyMap<string, number>,
  variables: Record<string, string>,
): number | undefined {
  const reply = "\ue000reply\ue000";
  const messages: Message[] = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: reply },
  ];
  let text: string;
  try {
    text = renderChat(template, messages, { variables });
  } catch {
    return undefined;
  }
  const at = text.lastIndexOf(reply);
  if (at < 0) return undefined;
  const behind = text.slice(at + reply.length).trimStart();
  let found: string | undefined;
  for (const name of special.keys())
    if (name !== "" && behind.startsWith(name) && name.length > (found?.length ?? 0)) found = name;
  return found === undefined ? undefined : special.get(found);
}
