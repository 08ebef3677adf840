import { BYTE_LETTERS } from "../text/bytes.ts";
import { CheckpointError, quote } from "./errors.ts";
import type { GgufValue } from "./gguf-header.ts";
import { PRE_TOKENIZERS, type PreTokenizer } from "./gguf-pretokenizers.ts";
import { mergesOfScores, sentencePieceParts } from "./sentencepiece.ts";

/** What @huggingface/tokenizers and @huggingface/jinja need to speak for a model. */
export interface TokenizerFiles {
  /** The object of a `tokenizer.json`. */
  tokenizer: Record<string, unknown>;
  /** The object of a `tokenizer_config.json`. */
  config: Record<string, unknown>;
}

/** Kinds of token in `tokenizer.ggml.token_type`. Source: llama.h of llama.cpp. */
const [NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE] = [1, 2, 3, 4, 5, 6];

/**
 * Builds the tokenizer files that GGUF metadata stand for: byte-level BPE (`tokenizer.ggml.model` = `gpt2`) or SentencePiece's (`llama`).
 *
 * Control tokens become special added tokens, user-defined ones plain added tokens; a byte's token (`<0x0A>`) stands for
 * the byte; unused padding entries are left out, as Hugging Face's files have none. Throws CheckpointError for another kind of tokenizer, an unknown
 * pre-tokenizer (both with the known ones), and for lists that do not fit together.
 */
export function tokenizerFromGguf(metadata: ReadonlyMap<string, GgufValue>, file: string): TokenizerFiles {
  const fail = (key: string, expected: string, found: unknown, fix?: string): never => {
    const problem = { file, where: `metadata "tokenizer.${key}"`, expected, found: quote(found) };
    throw new CheckpointError(fix === undefined ? problem : { ...problem, fix });
  };
  const get = (key: string) => metadata.get(`tokenizer.${key}`);
  const elsewhere = "Use the model's Hugging Face folder (safetensors with tokenizer.json) instead.";

  const model = get("ggml.model");
  const pieces = model === "llama";
  if (model !== "gpt2" && !pieces)
    fail("ggml.model", `"gpt2" (byte-level BPE) or "llama" (SentencePiece)`, model, elsewhere);
  const pre = get("ggml.pre") ?? "default";
  const kind = pieces ? ({ add_bos: true } as Partial<PreTokenizer>) : PRE_TOKENIZERS.get(pre as string);
  if (kind === undefined) {
    return fail("ggml.pre", `one of ${[...PRE_TOKENIZERS.keys()].join(", ")}`, pre, elsewhere);
  }
  const tokens = get("ggml.tokens");
  if (!isStrings(tokens)) return fail("ggml.tokens", "a list of strings", tokens);
  const types = get("ggml.token_type") ?? new Int32Array(tokens.length).fill(1);
  if (!(types instanceof Int32Array || types instanceof Uint32Array) || types.length !== tokens.length) {
    return fail("ggml.token_type", `${tokens.length} numbers, one a token`, types);
  }
  const scores = get("ggml.scores");
  if (pieces && !(scores instanceof Float32Array && scores.length === tokens.length))
    return fail("ggml.scores", `${tokens.length} numbers, one a token`, scores);
  const merges = pieces ? [] : get("ggml.merges");
  if (!isStrings(merges)) return fail("ggml.merges", "a list of strings", merges);

  const said = merges.map((merge, i) => {
    // The first half may itself be a space in vocabularies that are not byte-level throughout.
    const space = merge.indexOf(" ", 1);
    if (space < 1 || space === merge.length - 1) fail(`ggml.merges[${i}]`, "two tokens with a space between", merge);
    return [merge.slice(0, space), merge.slice(space + 1)];
  });
  const pairs = pieces ? mergesOfScores(wordsOf(tokens, types, scores as Float32Array)) : said;

  // No prototype: a token may be called `__proto__`.
  const vocab: Record<string, number> = Object.create(null);
  const added: object[] = [];
  const merged = new Set(pairs.map(([left, right]) => `${left}${right}`));
  const bytes: [letter: string, id: number][] = [];
  for (const [id, content] of tokens.entries()) {
    const type = types[id]!;
    const letter = type === BYTE && !pieces ? letterOfByte(content) : undefined;
    if (letter !== undefined) {
      bytes.push([letter, id]);
      continue;
    }
    // A word that merging makes is a word, whatever else is said of it.
    if (type === UNUSED && !merged.has(content)) continue;
    // Added tokens too: Hugging Face's own library numbers an added token anew when the vocabulary lacks it.
    vocab[content] = id;
    if (type === CONTROL || type === USER_DEFINED || type === UNKNOWN) {
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
      added.push({ id, content, ...flags, special: type !== USER_DEFINED });
    }
  }
  // Under the letter that stands for the byte, unless an ordinary token is called that already.
  for (const [letter, id] of bytes) vocab[letter in vocab ? tokens[id]! : letter] = id;

  const token = (key: string): string | undefined => {
    const id = get(`ggml.${key}_token_id`);
    if (id === undefined) return undefined;
    if (typeof id !== "number" || tokens[id] === undefined) {
      return fail(`ggml.${key}_token_id`, `a token from 0 to ${tokens.length - 1}`, id);
    }
    return tokens[id];
  };
  const [bos, eos] = [token("bos"), token("eos")];
  const addBos = get("ggml.add_bos_token") ?? kind.add_bos ?? false;
  const addEos = get("ggml.add_eos_token") ?? false;
  const around = {
    before: addBos === true && bos !== undefined ? [bos] : [],
    after: addEos === true && eos !== undefined ? [eos] : [],
  };
  const chatTemplate = get("chat_template");
  const parts = pieces
    ? sentencePieceParts(get("ggml.add_space_prefix") !== false)
    : {
        normalizer: kind.normalizer ?? null,
        pre_tokenizer: kind.pre_tokenizer,
        decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: bos,
    eos_token: eos,
    unk_token: token("unknown"),
    pad_token: token("padding"),
    add_bos_token: addBos,
    add_eos_token: addEos,
    clean_up_tokenization_spaces: false,
    chat_template: typeof chatTemplate === "string" ? chatTemplate : undefined,
  };
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: added,
      ...parts,
      post_processor: postProcessor(around, (name) => tokens.indexOf(name)),
      model: {
        type: "BPE",
        dropout: null,
        unk_token: (pieces && token("unknown")) || null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: pieces,
        byte_fallback: pieces,
        ignore_merges: kind.ignore_merges ?? false,
        vocab,
        merges: pairs,
      },
    },
    config: Object.fromEntries(Object.entries(config).filter(([, value]) => value !== undefined)),
  };
}

/** The words among the tokens, with their scores. */
function wordsOf(tokens: readonly string[], types: Int32Array | Uint32Array, scores: Float32Array) {
  const words = new Map<string, { id: number; score: number }>();
  for (const [id, token] of tokens.entries()) if (types[id] === NORMAL) words.set(token, { id, score: scores[id]! });
  return words;
}

/** A template that puts the given tokens around the text, or null where there are none. */
function postProcessor({ before, after }: { before: string[]; after: string[] }, idOf: (name: string) => number) {
  if (before.length + after.length === 0) return null;
  const special = (id: string) => ({ SpecialToken: { id, type_id: 0 } });
  const around = (id: string) => [...before.map(special), { Sequence: { id, type_id: 0 } }, ...after.map(special)];
  const names = [...new Set([...before, ...after])];
  return {
    type: "TemplateProcessing",
    single: around("A"),
    pair: [...around("A"), ...around("B")],
    special_tokens: Object.fromEntries(names.map((id) => [id, { id, ids: [idOf(id)], tokens: [id] }])),
  };
}

/** The letter by which byte-level vocabularies write the byte that `<0x0A>` names; undefined for another text. */
function letterOfByte(token: string): string | undefined {
  const match = /^<0x([0-9A-Fa-f]{2})>$/.exec(token);
  return match ? BYTE_LETTERS[Number.parseInt(match[1]!, 16)] : undefined;
}

function isStrings(value: unknown): value is string[] {
  return Array.isArray(value);
}
