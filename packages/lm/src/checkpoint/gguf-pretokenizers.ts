/** How a byte-level tokenizer cuts text before it merges, in the terms of `tokenizer.json`. */
export interface PreTokenizer {
  pre_tokenizer: object;
  normalizer?: object;
  /** A word that is in the vocabulary is taken whole, whatever the merges say. */
  ignore_merges?: true;
  add_bos?: true;
}

const BYTE_LEVEL = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false };
const GPT2_SPLIT = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)";
const GPT2_WORDS = `${GPT2_SPLIT}|\\s+`;
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

/** Words with one leading mark, numbers of up to `digits` digits, marks with line ends, spaces: GPT-4's pattern. */
const cl100k = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`;

/** Words that begin anew at a capital after small letters, as in Mistral's Tekken and GPT-4o's pattern. */
const cased = (contractions: string, digits: string) => {
  const [upper, lower] = ["[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]", "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"];
  const word = (letters: string) => `[^\\r\\n\\p{L}\\p{N}]?${letters}${contractions}`;
  return `${word(`${upper}*${lower}+`)}|${word(`${upper}+${lower}*`)}|\\p{N}${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`;
};

/** The letters that DeepSeek LLM's pattern counts as words: those with an upper and a lower case, of an older Unicode. */
const CASED_LETTERS =
  "A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af" +
  "\u0370-\u0373\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5" +
  "\u03f7-\u0481\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba" +
  "\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45" +
  "\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe" +
  "\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102" +
  "\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139" +
  "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3" +
  "\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06" +
  "\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}" +
  "\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}\u{118a0}-\u{118df}\u{1e900}-\u{1e943}";
const EAST_ASIAN = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";

const split = (pattern: string) => ({
  type: "Split",
  pattern: { Regex: pattern },
  behavior: "Isolated",
  invert: false,
});
const splits = (...patterns: string[]) => ({
  type: "Sequence",
  pretokenizers: [...patterns.map(split), BYTE_LEVEL],
});

/** Said in patterns, which every library reads alike: of digits and of white space some know only JavaScript's. */
const DIGITS_APART: PreTokenizer = { pre_tokenizer: splits("\\p{N}", GPT2_WORDS) };
const QWEN2: PreTokenizer = { pre_tokenizer: splits(cl100k("")), normalizer: { type: "NFC" } };
const LLAMA3: PreTokenizer = { pre_tokenizer: splits(cl100k("{1,3}")), ignore_merges: true, add_bos: true };
/** Llama 3's pattern in tokenizers that merge always. */
const GPT4: PreTokenizer = { pre_tokenizer: splits(cl100k("{1,3}")) };
const GPT2: PreTokenizer = { pre_tokenizer: splits(GPT2_WORDS) };

/**
 * How text is cut before merging, by `tokenizer.ggml.pre`; a Map, as the name comes from the file.
 * Source: the published `tokenizer.json` of each model, and llama-vocab.cpp of llama.cpp, which says what each name stands
 * for. Names of models whose architecture is not built are there where other models took them over.
 */
export const PRE_TOKENIZERS: ReadonlyMap<string, PreTokenizer> = new Map<string, PreTokenizer>([
  ...["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"].map(
    (name) => [name, DIGITS_APART] as const,
  ),
  ...["qwen2", "deepseek-r1-qwen"].map((name) => [name, QWEN2] as const),
  ["megrez", { pre_tokenizer: splits(cl100k("")) }],
  ...["llama-bpe", "llama3", "llama-v3", "falcon3"].map((name) => [name, LLAMA3] as const),
  ...["smaug-bpe", "dbrx"].map((name) => [name, GPT4] as const),
  ["tekken", { pre_tokenizer: splits(cased("", "")), ignore_merges: true, add_bos: true }],
  ["gpt-4o", { pre_tokenizer: splits(cased(`${CONTRACTIONS}?`, "{1,3}")) }],
  [
    "seed-coder",
    {
      pre_tokenizer: splits(
        `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\\r\\n]+|${SPACES}`,
      ),
    },
  ],
  [
    "deepseek-llm",
    {
      pre_tokenizer: splits(
        "[\r\n]",
        `\\s?[${CASED_LETTERS}]+`,
        "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+",
        "\\s+$",
        EAST_ASIAN,
        "\\p{N}",
      ),
    },
  ],
  ["deepseek-coder", { pre_tokenizer: splits("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", EAST_ASIAN, "\\p{N}") }],
  ["viking", { pre_tokenizer: splits(" ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+", "\\p{N}") }],
  ...["gpt-2", "phi-2", "mpt", "olmo", "jais"].map((name) => [name, GPT2] as const),
  ["default", { pre_tokenizer: splits("[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2_SPLIT, "\\p{N}+", "[0-9][0-9][0-9]") }],
]);
