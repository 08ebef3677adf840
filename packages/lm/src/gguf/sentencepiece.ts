import type { TokenizerFiles } from "../checkpoint/gguf-tokenizer.ts";
import { mergesOfScores, SPACE } from "../checkpoint/sentencepiece.ts";
import type { GgufMetadata } from "./write.ts";

const [UNKNOWN, BYTE] = [2, 6] as const;

interface BpeModel {
  readonly type?: unknown;
  readonly byte_fallback?: boolean;
  readonly unk_token?: string | null;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
}

/** Whether a tokenizer is one that SentencePiece made: merges of letters, and bytes for letters that it lacks. */
export function isSentencePiece({ tokenizer }: TokenizerFiles): boolean {
  const model = tokenizer.model as Partial<BpeModel>;
  return model.type === "BPE" && model.byte_fallback === true && "<0x00>" in (model.vocab ?? {});
}

/**
 * What of the metadata is SentencePiece's own. `types` are those of `tokens` and are refined here. llama.cpp merges whichever two tokens
 * make the one of the highest score: `refuse` is called for merges that are not of that kind, and for texts that are prepared otherwise.
 */
export function sentencePieceMetadata(
  { tokenizer }: TokenizerFiles,
  tokens: readonly string[],
  types: Int32Array,
  refuse: (where: string, expected: string, found: string) => never,
): { metadata: GgufMetadata; notices: readonly string[] } {
  const { vocab, merges, unk_token } = tokenizer.model as BpeModel;
  for (const [id, token] of tokens.entries()) if (/^<0x[0-9A-F]{2}>$/.test(token) && types[id] === 1) types[id] = BYTE;
  if (unk_token != null && vocab[unk_token] !== undefined) types[vocab[unk_token]!] = UNKNOWN;

  const scores = new Float32Array(tokens.length);
  const ranked = new Map<string, number>();
  const own = merges
    .map((merge) => (typeof merge === "string" ? splitMerge(merge) : merge))
    .filter(([left, right]) => {
      const id = vocab[left + right];
      return id !== undefined && id < tokens.length;
    });
  for (const [left, right] of own) {
    const token = left + right;
    if (!ranked.has(token)) ranked.set(token, ranked.size);
  }
  // Tokens that nothing makes are never merged into: they stand behind the others, in their order.
  for (const [id, token] of tokens.entries()) scores[id] = -(ranked.get(token) ?? ranked.size + id);
  const words = new Map(tokens.flatMap((token, id) => (types[id] === 1 ? [[token, { id, score: scores[id]! }]] : [])));
  const implied = mergesOfScores(words);
  const key = ([left, right]: readonly [string, string]) => `${left} ${right}`;
  const groups = (pairs: readonly (readonly [string, string])[]) =>
    pairs.map(([left, right]) => left + right).join(" ");
  const listed = new Set(own.map(key));
  const missing = implied.find((pair) => !listed.has(key(pair)));
  if (missing)
    refuse(
      "model.merges",
      "every two tokens that make a token, as SentencePiece merges",
      `none of ${JSON.stringify(missing)}`,
    );
  if (groups(own) !== groups(implied))
    refuse(
      "model.merges",
      "merges in the order of the tokens that they make",
      "another order, which scores do not say",
    );

  const { prefix, notices } = spacing(tokenizer, refuse);
  return {
    notices,
    metadata: {
      "tokenizer.ggml.model": { type: "string", value: "llama" },
      "tokenizer.ggml.pre": { type: "string", value: "default" },
      "tokenizer.ggml.scores": { type: "f32s", value: scores },
      "tokenizer.ggml.add_space_prefix": { type: "bool", value: prefix },
    },
  };
}

function splitMerge(merge: string): [string, string] {
  const space = merge.indexOf(" ", 1);
  return [merge.slice(0, space), merge.slice(space + 1)];
}

interface Step {
  readonly type?: string;
  readonly normalizers?: readonly Step[];
  readonly prepend?: string;
  readonly pattern?: { readonly String?: string };
  readonly content?: string;
  readonly replacement?: string;
  readonly prepend_scheme?: string;
  readonly split?: boolean;
}

/** Whether a space is put before a text. */
function spacing(
  tokenizer: TokenizerFiles["tokenizer"],
  refuse: (where: string, expected: string, found: string) => never,
): { prefix: boolean; notices: readonly string[] } {
  const normalizer = tokenizer.normalizer as Step | null | undefined;
  const before = tokenizer.pre_tokenizer as Step | null | undefined;
  const steps = normalizer?.type === "Sequence" ? (normalizer.normalizers ?? []) : normalizer ? [normalizer] : [];
  const isReplace = (step: Step) => step.type === "Replace" && step.pattern?.String === " " && step.content === SPACE;
  const isPrepend = (step: Step) => step.type === "Prepend" && step.prepend === SPACE;
  if (!before && steps.length === 1 && isReplace(steps[0]!)) return { prefix: false, notices: [] };
  if (!before && steps.length === 2 && isPrepend(steps[0]!) && isReplace(steps[1]!))
    return { prefix: true, notices: [] };
  if (before?.type !== "Metaspace" || steps.length > 0 || before.replacement !== SPACE || before.split !== false)
    return refuse("normalizer", "spaces written as ▁, and nothing else changed", JSON.stringify(normalizer ?? before));
  if (before.prepend_scheme === "never") return { prefix: false, notices: [] };
  if (before.prepend_scheme === "first")
    return {
      prefix: false,
      notices: ["raw texts begin with a space here and in llama.cpp do not; conversations begin alike in both"],
    };
  return { prefix: true, notices: ["a text that begins with a space gets another one in llama.cpp"] };
}
