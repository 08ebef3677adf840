import { CheckpointError, quote } from "../checkpoint/errors.ts";
import type { TokenizerFiles } from "../checkpoint/gguf-tokenizer.ts";
import { type TextCodec, templateVariables } from "../text/index.ts";
import { openTokenizer, type TextTokenizer } from "../text/tokenizer.ts";
import { preTokenizerName } from "./pre-tokenizer.ts";
import { isSentencePiece, sentencePieceMetadata } from "./sentencepiece.ts";
import type { GgufMetadata } from "./write.ts";

/** Kinds of token in `tokenizer.ggml.token_type`. Source: llama.h of llama.cpp. */
const [NORMAL, CONTROL, USER_DEFINED, UNUSED] = [1, 3, 4, 5] as const;

/** Texts of control tokens at which llama.cpp ends a reply whatever the metadata say. Source: llama-vocab.cpp of llama.cpp. */
const ENDS_BY_NAME = new Set(
  "<|eot_id|> <|im_end|> <|end|> <|return|> <|call|> <|flush|> <|calls|> <end_of_turn> <|endoftext|> </s> <|eom_id|> <EOT> _<EOT> [EOT] [EOS] <｜end▁of▁sentence｜> <end_of_utterance>".split(
    " ",
  ),
);

export interface VocabularyToWrite {
  readonly files: TokenizerFiles;
  /** The same tokenizer as the engine uses it. */
  readonly text: TextCodec;
  readonly chatTemplate: string | undefined;
  /** Rows of the embedding: the file lists a token for each. */
  readonly rows: number;
  /** For messages. */
  readonly file: string;
}

/**
 * The metadata of a tokenizer, byte-level BPE or SentencePiece's, its special tokens and its chat template.
 *
 * A beginning-of-text token is asked for where the engine begins conversations with one: llama.cpp has one switch for conversations
 * and raw text. Throws CheckpointError for another kind of tokenizer, one that cuts text as nothing that llama.cpp knows, and tokens
 * that the tokenizer puts around texts which are not its beginning and end.
 */
export function ggufVocabulary(given: VocabularyToWrite): {
  metadata: GgufMetadata;
  notices: readonly string[];
  /** Whether the file has llama.cpp put a beginning-of-text token before prompts. */
  addsBos: boolean;
} {
  const { files, text, chatTemplate, rows, file } = given;
  const refuse = (where: string, expected: string, found: string): never => {
    const fix = "Export merged safetensors instead, which other runtimes take.";
    throw new CheckpointError({ file, where: `tokenizer.json: ${where}`, expected, found, fix });
  };
  const model = files.tokenizer.model as BpeModel;
  const tokenizer = openTokenizer(files);
  const { tokens, types } = tokenList(files, model, rows);
  const pieces = isSentencePiece(files);
  const own = pieces
    ? sentencePieceMetadata(files, tokens, types, refuse)
    : { metadata: byteLevelMetadata(files, model, rows, refuse), notices: [] };
  const notices: string[] = [...own.notices];
  const around = marks(tokenizer);
  const ids = specialIds(files, tokenizer, rows);
  if (around.before.length > 1 || around.before.some((id) => id !== ids.bos))
    refuse("post_processor", "no token before a text but its beginning's", quote(around.before));
  if (around.after.length > 1 || around.after.some((id) => id !== ids.eos))
    refuse("post_processor", "no token behind a text but its end's", quote(around.after));
  const begins = around.before.length > 0;
  const conversations = text.traits !== undefined && text.traits.fault === undefined;
  const addBos = conversations ? begins && text.traits!.bos > 0 : begins;
  if (begins && !addBos)
    notices.push(
      "raw texts begin with a token here and conversations do not; in llama.cpp neither does: it has one switch for both",
    );
  if (!pieces && (files.tokenizer.normalizer ?? null) !== null)
    notices.push("llama.cpp does not normalise text (NFC): letters with accents written apart become other tokens");
  const added = (files.tokenizer.added_tokens ?? []) as AddedToken[];
  const stripping = added.filter(({ special, lstrip, rstrip }) => special && (lstrip || rstrip));
  if (stripping.length > 0)
    notices.push(
      `white space beside ${quote(stripping[0]!.content)} belongs to the token here and to the text in llama.cpp`,
    );

  const ends = endIds(text, ids.eos);
  if (ends.length > 3)
    notices.push(
      `a GGUF file names three tokens that end replies; this model has ${ends.length}: stop at the others by text`,
    );
  const [eos, eot, eom] = ends;
  const more = tokens.filter(
    (token, id) => types[id] === CONTROL && ENDS_BY_NAME.has(token) && !text.endIds.has(id) && id !== ids.bos,
  );
  if (more.length > 0)
    notices.push(
      `llama.cpp ends replies at ${more.map(quote).join(", ")} as well, which this model's files do not say`,
    );
  const u32 = (key: string, value: number | undefined): GgufMetadata =>
    value === undefined ? {} : { [`tokenizer.ggml.${key}_token_id`]: { type: "u32", value } };
  return {
    notices,
    addsBos: addBos,
    metadata: {
      ...own.metadata,
      "tokenizer.ggml.tokens": { type: "strings", value: tokens },
      "tokenizer.ggml.token_type": { type: "i32s", value: types },
      ...u32("bos", ids.bos),
      ...u32("eos", eos),
      ...u32("eot", eot),
      ...u32("eom", eom),
      ...u32("unknown", ids.unk),
      ...u32("padding", ids.pad),
      "tokenizer.ggml.add_bos_token": { type: "bool", value: addBos },
      "tokenizer.ggml.add_eos_token": { type: "bool", value: around.after.length > 0 },
      ...(chatTemplate === undefined
        ? {}
        : { "tokenizer.chat_template": { type: "string", value: chatTemplate } satisfies GgufMetadata[string] }),
    },
  };
}

/** What of the metadata is byte-level BPE's own. */
function byteLevelMetadata(
  files: TokenizerFiles,
  model: BpeModel,
  rows: number,
  refuse: (where: string, expected: string, found: string) => never,
): GgufMetadata {
  if (model.type !== "BPE" || !isByteLevel(files.tokenizer.decoder))
    refuse("model", "byte-level BPE or SentencePiece's", `${quote(model.type)} with another decoder`);
  const pre = preTokenizerName(files);
  if (pre === undefined)
    return refuse("pre_tokenizer", "a way to cut text that llama.cpp knows", quote(files.tokenizer.pre_tokenizer));
  return {
    "tokenizer.ggml.model": { type: "string", value: "gpt2" },
    "tokenizer.ggml.pre": { type: "string", value: pre },
    "tokenizer.ggml.merges": { type: "strings", value: mergeList(model, rows) },
    "tokenizer.ggml.add_space_prefix": { type: "bool", value: false },
  };
}

interface BpeModel {
  type: unknown;
  vocab: Record<string, number>;
  merges: readonly (string | readonly [string, string])[];
}

interface AddedToken {
  id: number;
  content: string;
  special?: boolean;
  lstrip?: boolean;
  rstrip?: boolean;
}

function isByteLevel(decoder: unknown): boolean {
  const { type, decoders } = (decoder ?? {}) as { type?: string; decoders?: { type?: string }[] };
  return type === "ByteLevel" || (decoders ?? []).some((one) => one.type === "ByteLevel");
}

/** A token for each row of the embedding; rows without one are called so and never drawn from text. */
function tokenList(files: TokenizerFiles, { vocab }: BpeModel, rows: number) {
  const tokens = Array.from({ length: rows }, (_, id) => `[PAD${id}]`);
  const types = new Int32Array(rows).fill(UNUSED);
  for (const [content, id] of Object.entries(vocab)) {
    if (id >= rows) continue;
    tokens[id] = content;
    types[id] = NORMAL;
  }
  for (const { id, content, special } of (files.tokenizer.added_tokens ?? []) as AddedToken[]) {
    if (id >= rows) continue;
    tokens[id] = content;
    types[id] = special ? CONTROL : USER_DEFINED;
  }
  return { tokens, types };
}

/** Merges as "left right", without those that make a token for which there is no row. */
function mergeList({ merges, vocab }: BpeModel, rows: number): string[] {
  const list: string[] = [];
  for (const merge of merges) {
    const [left, right] = typeof merge === "string" ? splitMerge(merge) : merge;
    if ((vocab[left + right] ?? 0) >= rows) continue;
    // What parts the two must not stand in them.
    list.push(`${left.replaceAll(" ", "Ġ")} ${right.replaceAll(" ", "Ġ")}`);
  }
  return list;
}

function splitMerge(merge: string): [string, string] {
  const space = merge.indexOf(" ", 1);
  return [merge.slice(0, space), merge.slice(space + 1)];
}

/** What the tokenizer puts before and behind a text of its own. */
function marks(tokenizer: TextTokenizer): { before: number[]; after: number[] } {
  const plain = tokenizer.encode("a");
  const whole = tokenizer.encode("a", { addSpecial: true });
  for (let at = 0; at + plain.length <= whole.length; at++)
    if (plain.every((id, i) => whole[at + i] === id))
      return { before: whole.slice(0, at), after: whole.slice(at + plain.length) };
  return { before: whole, after: [] };
}

function specialIds({ config }: TokenizerFiles, tokenizer: TextTokenizer, rows: number) {
  const texts = templateVariables(config);
  const idOf = (name: string): number | undefined => {
    const text = texts[`${name}_token`];
    const id = text === undefined ? undefined : tokenizer.idOf(text);
    return id === undefined || id >= rows ? undefined : id;
  };
  return { bos: idOf("bos"), eos: idOf("eos"), unk: idOf("unk"), pad: idOf("pad") };
}

/** Tokens that end replies: the end of a turn first, as runtimes take the first for the end of what they generate. */
function endIds({ endIds, traits }: TextCodec, eos: number | undefined): number[] {
  const turn = traits?.end?.at(-1);
  const first = [turn, eos].filter((id): id is number => id !== undefined && endIds.has(id));
  return [...new Set([...first, ...endIds])];
}
