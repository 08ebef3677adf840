import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { failure, withFile } from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/gguf.golden.json" with { type: "json" };
import cuts from "../../test/checkpoint/pretokenizers.golden.json" with { type: "json" };
import { openTokenizer } from "../text/tokenizer.ts";
import { openGguf } from "./gguf.ts";
import type { GgufValue } from "./gguf-header.ts";
import { tokenizerFromGguf } from "./gguf-tokenizer.ts";

const tiny = await withFile(Buffer.from(golden.file, "base64"), async (path) => {
  const file = await openGguf(path);
  await file.close();
  return file.metadata;
});
const build = (more: Record<string, GgufValue | undefined> = {}) => {
  const metadata = new Map(tiny);
  for (const [key, value] of Object.entries(more)) {
    if (value === undefined) metadata.delete(`tokenizer.${key}`);
    else metadata.set(`tokenizer.${key}`, value);
  }
  return tokenizerFromGguf(metadata, "tiny.gguf");
};
const load = (more: Record<string, GgufValue | undefined> = {}) => {
  const { tokenizer, config } = build(more);
  return new Tokenizer(tokenizer, config);
};
const id = (token: string) => (tiny.get("tokenizer.ggml.tokens") as string[]).indexOf(token);

describe("a tokenizer from GGUF metadata", () => {
  it("encodes with the file's merges and special tokens", () => {
    const tokenizer = load();
    expect(tokenizer.encode("the a<|end|>").ids).toEqual([id("the"), id("Ġa"), 0]);
    expect(tokenizer.encode("x Ġ<tool>y").ids).toEqual([id("x"), id("Ġ"), id("Ġ<tool>"), id("y")]);
    expect(tokenizer.decode([id("the"), id("Ġa"), 0], { skip_special_tokens: true })).toBe("the a");
    const text = "naïve 日本 12\n\t👍🏽";
    expect(tokenizer.decode(tokenizer.encode(text).ids)).toBe(text);
  });

  it("has a token called __proto__ and none for padding entries", () => {
    expect(load().token_to_id("__proto__")).toBe(id("__proto__"));
    expect(load().token_to_id("[PAD]")).toBeUndefined();
  });

  it("tells special from user-defined tokens, and carries the config", () => {
    const { tokenizer, config } = build();
    expect(tokenizer.added_tokens).toMatchObject([
      { content: "<|end|>", special: true },
      { content: "<|start|>", special: true },
      { content: "Ġ<tool>", special: false },
    ]);
    expect(config).toMatchObject({ bos_token: "<|start|>", eos_token: "<|end|>", add_bos_token: false });
    expect((tokenizer.model as { vocab: object }).vocab).toMatchObject({ "<|end|>": 0, "Ġ<tool>": id("Ġ<tool>") });
    expect(config.chat_template).toContain("m.content");
    expect("pad_token" in config).toBe(false);
  });

  it.each<[string, string, string[]]>([
    ["smollm", "I'll 2024!", ["I", "'ll", "Ġ", "2", "0", "2", "4", "!"]],
    ["qwen2", "I'll 2024!\n\n x", ["I", "'ll", "Ġ", "2", "0", "2", "4", "!ĊĊ", "Ġx"]],
    ["llama-bpe", "I'LL 2024!\n\n x", ["I", "'LL", "Ġ", "202", "4", "!ĊĊ", "Ġx"]],
    ["gpt-2", "I'll 2024!\n\n x", ["I", "'ll", "Ġ2024", "!", "ĊĊ", "Ġx"]],
    ["default", "I'll 20241!", ["I", "'", "ll", "Ġ", "202", "41", "!"]],
  ])("cuts text as %s does", (pre, text, words) => {
    const cut = load({ "ggml.pre": pre }).pre_tokenizer!;
    expect(cut.pre_tokenize_text(text, {})).toEqual(words);
  });

  it.each(Object.entries(cuts.words))("cuts text as %s does in Hugging Face's tokenizers", (pre, words) => {
    const cut = load({ "ggml.pre": pre }).pre_tokenizer!;
    for (const [i, text] of cuts.texts.entries()) expect(cut.pre_tokenize_text(text, {}), text).toEqual(words[i]);
  });

  it("begins with bos and takes words whole where the name means it", () => {
    const flags = (pre: string) => {
      const { tokenizer, config } = build({ "ggml.pre": pre });
      return [(tokenizer.model as { ignore_merges: boolean }).ignore_merges, config.add_bos_token];
    };
    for (const pre of ["llama-bpe", "falcon3", "tekken"]) expect(flags(pre), pre).toEqual([true, true]);
    for (const pre of ["smaug-bpe", "dbrx", "deepseek-llm", "deepseek-r1-qwen"])
      expect(flags(pre), pre).toEqual([false, false]);
    expect(build({ "ggml.pre": "deepseek-r1-qwen", "ggml.add_bos_token": true }).config.add_bos_token).toBe(true);
  });

  it("takes a known word whole where the model does", () => {
    const fewer = { "ggml.merges": ["Ġ a"], "ggml.add_bos_token": false };
    expect(load({ ...fewer, "ggml.pre": "llama-bpe" }).encode("the").ids).toEqual([id("the")]);
    expect(load({ ...fewer, "ggml.pre": "gpt-2" }).encode("the").ids).toEqual(["t", "h", "e"].map(id));
  });

  describe("kinds of token", () => {
    const tokens = [...(tiny.get("tokenizer.ggml.tokens") as string[])];
    const kinds = Int32Array.from(tiny.get("tokenizer.ggml.token_type") as Int32Array);
    const open = (changes: Record<string, [id: number, kind: number]>, more: Record<string, GgufValue> = {}) => {
      const [names, types] = [[...tokens], kinds.slice()];
      for (const [content, [id, kind]] of Object.entries(changes)) {
        names[id] = content;
        types[id] = kind;
      }
      return openTokenizer(build({ "ggml.tokens": names, "ggml.token_type": types, ...more }));
    };

    it("control: never found in text that may not have it, left out of what is shown", () => {
      const tokenizer = open({ "<|turn|>": [270, 3] });
      expect(tokenizer.encode("a<|turn|>", { allowSpecial: true })).toEqual([id("a"), 270]);
      expect(tokenizer.encode("a<|turn|>")).not.toContain(270);
      expect(tokenizer.decode([id("a"), 270], { skipSpecial: true })).toBe("a");
    });

    it("user-defined: found in any text, whole, before it is cut and merged", () => {
      const tokenizer = open({ "<think>": [270, 4], "   ": [271, 4] });
      expect(tokenizer.encode("a<think>   the")).toEqual([id("a"), 270, 271, id("the")]);
      expect(tokenizer.decode([270, id("a")], { skipSpecial: true })).toBe("<think>a");
    });

    it("unknown and unused: the first is special, the second has no text of its own", () => {
      const tokenizer = open({ "<unk>": [270, 2], filler: [271, 5] });
      expect(tokenizer.special.get("<unk>")).toBe(270);
      expect(tokenizer.encode("filler")).not.toContain(271);
      expect(tokenizer.tokenText(271)).toBe("");
    });

    it("unused, but made by a merge: a word", () => {
      const tokenizer = open({ the: [id("the"), 5] });
      expect(tokenizer.encode("the")).toEqual([id("the")]);
    });

    it("byte: stands for the byte, in text and in what is shown", () => {
      const newline = id("Ċ");
      const tokenizer = open({ "<0x0A>": [newline, 6], "<0xE2>": [270, 6] });
      expect(tokenizer.encode("a\nb")).toEqual([id("a"), newline, id("b")]);
      expect(tokenizer.decode([id("a"), newline])).toBe("a\n");
      expect(tokenizer.encode("<0x0A>")).not.toContain(newline);
      // "â" is an ordinary token already: the second keeps its name, and the first its place.
      expect(tokenizer.encode("â")).toEqual([id("Ã"), id("¢")]);
    });
  });

  it("puts tokens around the text where the file says so", () => {
    const around = { "ggml.add_bos_token": true, "ggml.add_eos_token": true };
    expect(load(around).encode("a").ids).toEqual([1, id("a"), 0]);
    expect(load(around).encode("a", { add_special_tokens: false }).ids).toEqual([id("a")]);
    // Llama 3 begins with bos unless told otherwise.
    expect(load({ "ggml.pre": "llama-bpe" }).encode("a").ids).toEqual([1, id("a")]);
    expect(load({ "ggml.pre": "llama-bpe", "ggml.add_bos_token": false }).encode("a").ids).toEqual([id("a")]);
  });

  it.each<[string, Record<string, GgufValue | undefined>, RegExp]>([
    ["another kind", { "ggml.model": "t5" }, /"gpt2" \(byte-level BPE\) or .*, found "t5".*tokenizer\.json/],
    [
      "pieces without scores",
      { "ggml.model": "llama" },
      /"tokenizer\.ggml\.scores": expected \d+ numbers, one a token/,
    ],
    ["an unknown pre-tokenizer", { "ggml.pre": "constructor" }, /one of smollm, .*qwen2, .*found "constructor"/],
    ["no tokens", { "ggml.tokens": undefined }, /a list of strings, found undefined/],
    ["types that do not fit", { "ggml.token_type": Int32Array.of(1) }, /288 numbers, one a token/],
    ["no merges", { "ggml.merges": 3 }, /a list of strings, found 3/],
    ["a merge of one token", { "ggml.merges": ["th", "t h"] }, /merges\[0\]".*two tokens.*found "th"/],
    ["an end that is no token", { "ggml.eos_token_id": 9999 }, /a token from 0 to 287, found 9999/],
  ])("refuses %s", async (_, more, message) => {
    expect((await failure((async () => build(more))())).message).toMatch(message);
  });
});
