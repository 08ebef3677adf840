import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { mergesOfScores, SPACE, sentencePieceParts } from "../../src/checkpoint/sentencepiece.ts";
import { writeTinyModel } from "../tiny-model.ts";

const letters = [SPACE, ..."etaoinshrdlucmfwypvbgkjqxzETAOINSHRDLUé.,!?[]/"];
/** The likeliest first. */
const words =
  "th in er he an re on at en nd st ▁t ▁a the ▁the ▁▁ ▁▁▁▁ ing ▁s ▁w ▁h ou ▁c lo ll ell ello ▁hello ▁H ▁HE or ver ever ▁ever ▁and é. !! INST".split(
    " ",
  );

/** The texts of a small SentencePiece vocabulary, by id: unknown, beginning, end, bytes, words, letters. */
export const pieces = [
  ...["<unk>", "<s>", "</s>"],
  ...Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`),
  ...[...words, ...letters],
];

/** Writes a small random model with a tokenizer as SentencePiece makes them, as Llama 2 and Mistral have. */
export async function writeSentencePieceModel(
  folder: string,
  changes: Readonly<Record<string, unknown>> = {},
): Promise<string> {
  const ids = { vocab_size: pieces.length, bos_token_id: 1, eos_token_id: 2 };
  const path = await writeTinyModel(folder, { config: { model_type: "mistral", sliding_window: null, ...ids } });
  const first = 3 + 256;
  const vocab = new Map(pieces.slice(first).map((token, i) => [token, { id: first + i, score: -i }]));
  const json = (name: string, value: unknown) => writeFile(join(path, name), JSON.stringify(value));
  const special = (id: number) => ({
    ...{ id, content: pieces[id], single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
  });
  await json("tokenizer.json", {
    version: "1.0",
    added_tokens: [0, 1, 2].map(special),
    ...sentencePieceParts(true),
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
    },
    model: {
      ...{ type: "BPE", dropout: null, unk_token: "<unk>", fuse_unk: true, byte_fallback: true },
      vocab: Object.fromEntries(pieces.map((token, id) => [token, id])),
      merges: mergesOfScores(vocab),
    },
    ...changes,
  });
  await json("tokenizer_config.json", {
    ...{ bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>", tokenizer_class: "PreTrainedTokenizerFast" },
    chat_template:
      "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %} {{ m.content }}{{ eos_token }}{% else %}[INST] {{ m.content }} [/INST]{% endif %}{% endfor %}",
  });
  return path;
}

/** Texts on which such tokenizers fall out. */
export const texts = [
  "hello there",
  " and  the    HELLO\n",
  "Naïve café. 日本語 🌊!!",
  "",
  "[INST] the end [/INST]",
  "<s> is text here",
  "everévér",
];
