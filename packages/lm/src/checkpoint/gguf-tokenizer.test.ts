import { Tokenizer } from "@huggingface/tokenizers";
import { describe, expect, it } from "vitest";
import { failure, withFile } from "../../test/checkpoint/build.ts";
import golden from "../../test/checkpoint/gguf.golden.json" with { type: "json" };
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

  it("takes a known word whole where the model does", () => {
    const fewer = { "ggml.merges": ["Ġ a"], "ggml.add_bos_token": false };
    expect(load({ ...fewer, "ggml.pre": "llama-bpe" }).encode("the").ids).toEqual([id("the")]);
    expect(load({ ...fewer, "ggml.pre": "gpt-2" }).encode("the").ids).toEqual(["t", "h", "e"].map(id));
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
    ["another kind", { "ggml.model": "llama" }, /"gpt2" \(byte-level BPE\), found "llama".*tokenizer\.json/],
    ["an unknown pre-tokenizer", { "ggml.pre": "constructor" }, /one of smollm, qwen2, .*found "constructor"/],
    ["no tokens", { "ggml.tokens": undefined }, /a list of strings, found undefined/],
    ["types that do not fit", { "ggml.token_type": Int32Array.of(1) }, /288 numbers, one a token/],
    ["no merges", { "ggml.merges": 3 }, /a list of strings, found 3/],
    ["a merge of one token", { "ggml.merges": ["th", "t h"] }, /merges\[0\]".*two tokens.*found "th"/],
    ["an end that is no token", { "ggml.eos_token_id": 9999 }, /a token from 0 to 287, found 9999/],
  ])("refuses %s", async (_, more, message) => {
    expect((await failure((async () => build(more))())).message).toMatch(message);
  });
});
