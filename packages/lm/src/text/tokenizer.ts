import { Tokenizer } from "@huggingface/tokenizers";
import type { TokenizerFiles } from "../checkpoint/gguf-tokenizer.ts";
import { checkSteps, withinTime } from "./bounds.ts";
import { BYTE_LETTERS, byteRule } from "./bytes.ts";
import { TokenizerError } from "./errors.ts";

interface AddedToken {
  id: number;
  content: string;
  special?: boolean;
  normalized?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
}

export interface EncodeOptions {
  /** Put the tokenizer's own tokens (BOS …) around the text. */
  addSpecial?: boolean;
  /** Take the text of a special token for the token. */
  allowSpecial?: boolean;
}

interface RevealOptions extends EncodeOptions {
  /**
   * Special tokens are then those of the text as it stands, letter by letter, and nothing else: between them lies text, which
   * becomes what it gives. Whatever a normaliser makes of that text is no special token.
   */
  reveal?: (text: string) => string;
}

export interface TextDecoding {
  push(id: number): string;
  end(): string;
}

/** Token ids of text and back, as Hugging Face's `tokenizers` gives them. */
export interface TextTokenizer {
  encode(text: string, options?: RevealOptions): number[];
  decode(ids: readonly number[], options?: { skipSpecial?: boolean }): string;
  decoder(options?: { skipSpecial?: boolean }): TextDecoding;
  tokenText(id: number): string;
  /** Added tokens that text is never taken for unless it is allowed, by their text. */
  readonly special: ReadonlyMap<string, number>;
  idOf(token: string): number | undefined;
  /** The highest id and one; the model's embedding may have more rows. */
  readonly vocabSize: number;
}

type Stage = "raw" | "normalized" | "exact";

/**
 * A tokenizer from the contents of `tokenizer.json`.
 *
 * Normaliser, pre-tokenizer and model are @huggingface/tokenizers'; finding added tokens is done here, since that library
 * cannot leave special tokens unrecognised, and so is decoding, since it cannot stream. Special tokens' text is not
 * recognised unless allowed; other added tokens (`<think>`) are text with an id of its own and always are, as with
 * `split_special_tokens` in Hugging Face. Lone surrogates are encoded as U+FFFD. Decoding never tidies spaces up.
 *
 * Errors: TokenizerError.
 */
export function openTokenizer({ tokenizer: file, config }: TokenizerFiles): TextTokenizer {
  checkSteps(file);
  const added = (Array.isArray(file.added_tokens) ? file.added_tokens : []) as AddedToken[];
  const rule = byteRule(file.decoder);
  let library: Tokenizer;
  try {
    library = new Tokenizer(exactPreTokenizer(file), config);
  } catch (error) {
    throw new TokenizerError(`tokenizer.json: ${(error as Error).message}`, { cause: error });
  }
  const { normalizer, pre_tokenizer: preTokenizer, model, post_processor: postProcessor } = library;
  if (!model) throw new TokenizerError("tokenizer.json: no model");
  const normalize = (text: string) => (normalizer ? normalizer(text) : text);

  const special = new Map(added.filter((token) => token.special).map(({ content, id }) => [content, id]));
  const addedById = new Map(added.map((token) => [token.id, token]));
  const find = withinTime(0, () => ({
    raw: { all: finder("raw", () => true), plain: finder("raw", (token) => !token.special) },
    normalized: { all: finder("normalized", () => true), plain: finder("normalized", (token) => !token.special) },
    exact: finder("exact", (token) => token.special === true),
  }));
  function finder(stage: Stage, wanted: (token: AddedToken) => boolean) {
    const table = new Map<string, AddedToken>();
    for (const token of added) {
      const normalized = token.normalized ?? !token.special;
      if (token.content === "" || !wanted(token)) continue;
      if (stage !== "exact" && normalized !== (stage === "normalized")) continue;
      table.set(stage === "normalized" ? normalize(token.content) : token.content, token);
    }
    // The first place in the text, there the longest token.
    const longestFirst = [...table.keys()].sort((a, b) => b.length - a.length);
    const pattern = table.size > 0 ? new RegExp(longestFirst.map(escapePattern).join("|"), "g") : undefined;
    return { table, pattern };
  }

  /** Calls `onText` for what lies between the added tokens, `onToken` for these, in order. */
  function cut(
    text: string,
    { table, pattern }: ReturnType<typeof finder>,
    onText: (text: string) => void,
    onToken: (id: number) => void,
  ): void {
    let from = 0;
    let stripNext = false;
    const between = (to: number, stripEnd: boolean) => {
      let piece = text.slice(from, to);
      if (stripNext) piece = piece.trimStart();
      if (stripEnd) piece = piece.trimEnd();
      if (piece) onText(piece);
    };
    if (pattern)
      for (const match of text.matchAll(pattern)) {
        const token = table.get(match[0])!;
        between(match.index, token.lstrip === true);
        onToken(token.id);
        from = match.index + match[0].length;
        stripNext = token.rstrip === true;
      }
    between(text.length, false);
  }

  // SmolLM2's vocabulary lacks some control characters. Hugging Face drops these before it merges what then adjoins.
  const lacking = rule.byteLevel && !model.unk_token ? BYTE_LETTERS.filter((c) => !model.tokens_to_ids.has(c)) : [];
  const drop = lacking.length > 0 ? new RegExp(`[${lacking.map(escapePattern).join("")}]`, "g") : undefined;

  function encodeText(text: string, allow: "all" | "plain", reveal?: (text: string) => string): number[] {
    const ids: number[] = [];
    let section = 0;
    const onToken = (id: number) => {
      ids.push(id);
      section++;
    };
    const onPiece = (piece: string, plain: boolean) => {
      const words: string[] = preTokenizer ? preTokenizer(piece, { section_index: section++ }) : [piece];
      const tokens = drop ? words.map((word) => word.replace(drop, "")) : words;
      for (const token of model!(tokens)) {
        // A vocabulary could lead from plain text to a control token by merges; its characters are then taken singly.
        const parts = plain && special.has(token) ? model!([...token]) : [token];
        for (const part of parts) {
          const id = model!.tokens_to_ids.get(part) ?? model!.unk_token_id;
          if (id === undefined)
            throw new TokenizerError(`no token for ${JSON.stringify(part)}, and none for the unknown`);
          ids.push(id);
        }
      }
    };
    const walk = (text: string, allow: "all" | "plain") => {
      const onText = (piece: string) =>
        cut(normalize(piece), find.normalized[allow], (part) => onPiece(part, allow === "plain"), onToken);
      cut(text, find.raw[allow], onText, onToken);
    };
    const whole = (text: string) => text.replace(/\p{Surrogate}/gu, "\uFFFD");
    if (reveal) cut(whole(text), find.exact, (piece) => walk(whole(reveal(piece)), "plain"), onToken);
    else walk(whole(text), allow);
    return ids;
  }

  const idOf = (token: string) => special.get(token) ?? model.tokens_to_ids.get(token);
  const around = aroundText();
  function aroundText(): { before: number[]; after: number[] } {
    const body = "\0";
    const tokens = postProcessor ? postProcessor([body], null, true).tokens : [body];
    const at = tokens.indexOf(body);
    const ids = (names: string[]) =>
      names.map((name) => {
        const id = idOf(name);
        if (id === undefined)
          throw new TokenizerError(`tokenizer.json: the post-processor adds ${name}, which has no id`);
        return id;
      });
    return { before: ids(tokens.slice(0, at)), after: ids(tokens.slice(at + 1)) };
  }

  const utf8 = new TextEncoder();
  const cache: (Uint8Array | undefined)[] = [];
  const nothing = new Uint8Array();
  function bytesOf(id: number): Uint8Array {
    const known = cache[id];
    if (known) return known;
    const token = addedById.get(id);
    const text = model!.vocab[id];
    // Models have more rows than their tokenizer has tokens; the rest has no text.
    const bytes = token ? utf8.encode(token.content) : text === undefined ? nothing : rule.bytes(text);
    if (text !== undefined || token) cache[id] = bytes;
    return bytes;
  }

  function decoder({ skipSpecial = false }: { skipSpecial?: boolean } = {}): TextDecoding {
    const stream = new TextDecoder("utf-8", { ignoreBOM: true });
    let strip = rule.leadingSpaces;
    const tidy = (text: string) => {
      if (strip === 0 || text === "") return text;
      let from = 0;
      while (from < strip && text[from] === " ") from++;
      strip = 0;
      return text.slice(from);
    };
    return {
      push(id) {
        const token = addedById.get(id);
        if (token?.special && skipSpecial) return "";
        return tidy(stream.decode(bytesOf(id), { stream: true }));
      },
      end: () => tidy(stream.decode()),
    };
  }

  return {
    encode(text, { addSpecial = false, allowSpecial = false, reveal } = {}) {
      const ids = withinTime(text.length, () => encodeText(text, allowSpecial ? "all" : "plain", reveal));
      return addSpecial ? [...around.before, ...ids, ...around.after] : ids;
    },
    decode(ids, options) {
      const stream = decoder(options);
      let text = "";
      for (const id of ids) text += stream.push(id);
      return text + stream.end();
    },
    decoder,
    tokenText: (id) => new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytesOf(id)),
    special,
    idOf,
    vocabSize: added.reduce((size, { id }) => Math.max(size, id + 1), model.vocab.length),
  };
}

const GPT2_WORDS = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

/**
 * The same `tokenizer.json`, said in pre-tokenizers that @huggingface/tokenizers 0.2.0 follows to the letter.
 *
 * Its `Digits` knows only ASCII's digits where Hugging Face takes every number (٣, ½, Ⅷ); its `ByteLevel` cuts words by
 * JavaScript's white space, which has U+FEFF and lacks U+0085. Its `Split` on a regular expression is right in both.
 */
export function exactPreTokenizer(file: Record<string, unknown>): Record<string, unknown> {
  type Pre = Record<string, unknown> & { type?: string };
  const split = (pattern: string): Pre => ({
    type: "Split",
    pattern: { Regex: pattern },
    behavior: "Isolated",
    invert: false,
  });
  const rewrite = (pre: Pre): Pre[] => {
    if (pre.type === "Sequence") return ((pre.pretokenizers ?? []) as Pre[]).flatMap(rewrite);
    if (pre.type === "Digits") return [split(pre.individual_digits ? "\\p{N}" : "\\p{N}+")];
    if (pre.type === "ByteLevel" && pre.use_regex !== false && !pre.add_prefix_space)
      return [split(GPT2_WORDS), { ...pre, use_regex: false }];
    return [pre];
  };
  if (!file.pre_tokenizer) return file;
  return { ...file, pre_tokenizer: { type: "Sequence", pretokenizers: rewrite(file.pre_tokenizer as Pre) } };
}

export function escapePattern(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
}
