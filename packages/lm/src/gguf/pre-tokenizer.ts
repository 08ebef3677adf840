import { Tokenizer } from "@huggingface/tokenizers";
import { randomStream } from "@tenet/data";
import { PRE_TOKENIZERS, type PreTokenizer } from "../checkpoint/gguf-pretokenizers.ts";
import type { TokenizerFiles } from "../checkpoint/gguf-tokenizer.ts";
import { exactPreTokenizer } from "../text/tokenizer.ts";

/** What texts are made of when two ways of cutting them are held against each other. */
const PIECES = [
  ..."a b e A B É ß ǅ ʰ あ 語 한 ي ไ म".split(" "),
  ..."'s 'S 'll 'VE 't ’s".split(" "),
  ..."0 12 345 6789 ٣ ½ Ⅷ".split(" "),
  ..."! . , / \\ - _ … 。 « $ + ~ | ( 🌊 👩‍👩‍👧 ﬁ e\u0301 \u00e9".split(" "),
  ...[" ", "  ", "   ", "\n", "\n\n", "\r\n", "\t", "\u00a0", "\u3000", "\u0085", "\ufeff", "\u0007"],
  ..."the Word CamelCase HTTPServer don't naïve résumé".split(" "),
];
const TEXTS = 600;

/**
 * The name by which llama.cpp knows how a tokenizer cuts text (`tokenizer.ggml.pre`), found by cutting texts both ways; undefined
 * where it knows none that cuts alike. `files` has a byte-level tokenizer.
 */
export function preTokenizerName({ tokenizer }: TokenizerFiles): string | undefined {
  const own = cutter(tokenizer as unknown as PreTokenizer);
  const model = tokenizer.model as { ignore_merges?: boolean };
  const texts = probes();
  const cuts = texts.map(own);
  for (const [name, kind] of PRE_TOKENIZERS) {
    if ((kind.ignore_merges ?? false) !== (model.ignore_merges ?? false)) continue;
    const other = cutter(kind);
    if (texts.every((text, i) => other(text) === cuts[i])) return name;
  }
  return undefined;
}

function probes(): string[] {
  const texts = [...PIECES];
  for (let text = 0; text < TEXTS; text++) {
    const stream = randomStream({ seed: 1, stage: "pre-tokenizer", item: `${text}` });
    texts.push(Array.from({ length: 2 + (text % 9) }, (_, i) => PIECES[stream.integer(i, PIECES.length)]!).join(""));
  }
  return texts;
}

/** The pieces of a text, joined by what no piece holds. */
function cutter({ pre_tokenizer, normalizer }: PreTokenizer): (text: string) => string {
  const file = {
    added_tokens: [],
    normalizer: normalizer ?? null,
    pre_tokenizer,
    post_processor: null,
    model: { type: "BPE", vocab: { a: 0 }, merges: [] },
    decoder: { type: "ByteLevel" },
  };
  const library = new Tokenizer(exactPreTokenizer(file), {});
  return (text) => {
    const normal = library.normalizer ? library.normalizer(text) : text;
    const pieces: string[] = library.pre_tokenizer ? library.pre_tokenizer(normal, { section_index: 0 }) : [normal];
    return pieces.join(" ");
  };
}
