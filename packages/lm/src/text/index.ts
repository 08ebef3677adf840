import type { ModelShell } from "../checkpoint/index.ts";
import type { Prompt } from "../language-model/types.ts";
import { chatRenderer, unguessable } from "./chat.ts";
import { ChatTemplateError, TokenRowError } from "./errors.ts";
import { withTurnMarkers } from "./markers.ts";
import { type EncodeOptions, openTokenizer, type TextDecoding } from "./tokenizer.ts";
import { type ChatTraits, chatTraits } from "./traits.ts";

export { ChatTemplateError, refusesText, TokenizerError, TokenRowError } from "./errors.ts";
export { requireConversations, textFindings } from "./findings.ts";
export { type RenderOptions, renderChat } from "./template.ts";
export type { ChatTraits } from "./traits.ts";

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
   * such strings the ids are exactly Hugging Face's, but for templates that write nothing where a reply is asked for: what
   * stands before replies is then added. Errors: ChatTemplateError, TokenRowError.
   */
  encodePrompt(prompt: Prompt): number[];
  /**
   * A prompt, and texts behind it token by token, as a model that is given the prompt writes them: with the white space that the
   * template puts before a reply, and without the space that some tokenizers put before a text of its own. Special-token
   * strings are text. Errors: those of `encodePrompt`.
   */
  encodeBehind(prompt: Prompt, texts: readonly string[]): { readonly prompt: number[]; readonly texts: number[][] };
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
  /** What the chat template was found to do; undefined without one. */
  readonly traits: ChatTraits | undefined;
  /** Tokens that the model's embedding has no row for. A text that holds one cannot be encoded. */
  readonly rowless: readonly { readonly id: number; readonly text: string }[];
}

/**
 * Opens the tokenizer and the chat template of a checkpoint.
 *
 * Errors: CheckpointError where the files are missing or damaged, TokenizerError for a kind that is not known. A faulty
 * chat template is only an error when a conversation is encoded: raw text does not need it.
 */
export async function openText(checkpoint: ModelShell): Promise<TextCodec> {
  const files = await checkpoint.tokenizer();
  const variables = templateVariables(files.config);
  const template = checkpoint.chatTemplate;
  const tokenizer = openTokenizer(withTurnMarkers(files, template, variables));
  const rows = checkpoint.config.vocab_size;
  const hasRow = (id: number) => !(id >= rows);
  const { tokenText, vocabSize, idOf } = tokenizer;
  const endIds = new Set(checkpoint.config.eos_token_ids);
  const eos = variables.eos_token === undefined ? undefined : idOf(variables.eos_token);
  if (eos !== undefined) endIds.add(eos);
  const found =
    template === undefined
      ? undefined
      : chatTraits({
          ...{ template, variables, special: tokenizer.special, ends: endIds, hasRow, tokenText },
          bos:
            checkpoint.config.bos_token_id ??
            (variables.bos_token === undefined ? undefined : idOf(variables.bos_token)),
          encode: (text) => tokenizer.encode(text, { reveal: (piece) => piece }),
        });
  const traits = found?.traits;
  if (found?.endOfTurn !== undefined) endIds.add(found.endOfTurn);
  // What has no row is never drawn.
  for (const id of endIds) if (!hasRow(id)) endIds.delete(id);
  const opening = traits?.opening === "completed" ? traits.prompt : "";
  const chat =
    template === undefined ? undefined : chatRenderer(template, tokenizer.special.keys(), { variables, opening });

  /** What is encoded for a prompt, whatever stands behind it. */
  const source = (prompt: Prompt) => {
    if (typeof prompt === "string") return { text: prompt, lead: "", options: { addSpecial: true } };
    if (!chat || !traits)
      throw new ChatTemplateError(
        "the model has no chat template: give it raw text, or use an instruction-tuned variant of it",
      );
    if (traits.fault !== undefined)
      throw new ChatTemplateError(
        `the chat template of ${checkpoint.path} cannot be used: ${traits.fault}. Use the one that the model's publisher gives, as chat_template.jinja or in tokenizer_config.json.`,
      );
    if (traits.system === "left out" && prompt.some(({ role }) => role === "system"))
      throw new ChatTemplateError(
        "the chat template leaves out what a system turn says; put it into the person's first turn",
      );
    const { text, reveal, continued } = chat(prompt);
    return { text, lead: continued ? "" : traits.lead, options: { reveal } };
  };
  const withRows = (ids: number[]): number[] => {
    const lost = ids.find((id) => !hasRow(id));
    if (lost === undefined) return ids;
    throw new TokenRowError(
      `the text holds ${JSON.stringify(tokenText(lost))}, token ${lost} of tokenizer.json, for which the model's embedding has no row: config.json counts ${rows}. Leave it out, or use the tokenizer that belongs to these weights.`,
    );
  };
  /** Whether a text of its own gets a space before it. */
  const spaced = !endsWith(tokenizer.encode("\na"), tokenizer.encode("a"));
  const apart = (text: string): number[] => {
    const line = spaced ? tokenizer.encode("\n") : [];
    const behind = spaced ? tokenizer.encode(`\n${text}`) : [];
    return spaced && startsWith(behind, line) ? behind.slice(line.length) : tokenizer.encode(text);
  };
  return {
    encode: (text, options) => withRows(tokenizer.encode(text, options)),
    encodePrompt(prompt) {
      const { text, options } = source(prompt);
      return withRows(tokenizer.encode(text, options));
    },
    encodeBehind(prompt, texts) {
      const { text: before, lead, options } = source(prompt);
      const ids = withRows(tokenizer.encode(before, options));
      const marker = unguessable();
      const encode = (text: string): number[] => {
        if (text === "") return [];
        const shown = text.startsWith(lead) ? text : lead + text;
        const reveal = (piece: string) => {
          const own = "reveal" in options ? options.reveal(piece) : piece;
          return own.replace(marker, () => shown);
        };
        const whole =
          typeof prompt === "string"
            ? tokenizer.encode(before + shown, options)
            : tokenizer.encode(before + marker, { reveal });
        // A model that generates cannot merge its first token with the prompt's last.
        return startsWith(whole, ids) ? whole.slice(ids.length) : apart(shown);
      };
      return { prompt: ids, texts: texts.map((text) => withRows(encode(text))) };
    },
    decode: tokenizer.decode,
    decoder: tokenizer.decoder,
    tokenText,
    endIds,
    vocabSize,
    hasChat: template !== undefined,
    traits,
    rowless: Array.from({ length: Math.max(0, vocabSize - rows) || 0 }, (_, i) => rows + i)
      .map((id) => ({ id, text: tokenText(id) }))
      .filter(({ text }) => text !== ""),
  };
}

/** The tokens that a chat template may name, by what it calls them, of a `tokenizer_config.json`. */
export function templateVariables(config: Readonly<Record<string, unknown>>): Record<string, string> {
  const variables: Record<string, string> = {};
  for (const name of ["bos_token", "eos_token", "unk_token", "pad_token"]) {
    const value = config[name] as string | { content?: unknown } | null | undefined;
    const text = typeof value === "object" ? value?.content : value;
    if (typeof text === "string") variables[name] = text;
  }
  return variables;
}

function startsWith(ids: readonly number[], start: readonly number[]): boolean {
  return start.every((id, i) => ids[i] === id);
}

function endsWith(ids: readonly number[], end: readonly number[]): boolean {
  return startsWith(ids.slice(ids.length - end.length), end);
}
