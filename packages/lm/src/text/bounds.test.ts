import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { TokenizerError } from "./index.ts";
import { openTokenizer } from "./tokenizer.ts";

const path = new URL("../../test/text/tiny.golden.json", import.meta.url);
const tiny = JSON.parse(readFileSync(path, "utf8")) as Record<string, unknown>;
const open = (changes: Record<string, unknown>) => openTokenizer({ tokenizer: { ...tiny, ...changes }, config: {} });
const sequence = (normalizers: unknown[]) => ({ type: "Sequence", normalizers });
const replace = (pattern: object, content: string) => ({ type: "Replace", pattern, content });
const nested = (depth: number): object => (depth === 0 ? { type: "NFC" } : sequence([nested(depth - 1)]));

describe("a tokenizer.json that would take endless memory or time is refused when it is opened", () => {
  const doubling = replace({ String: "a" }, "aa");
  const cases: Record<string, [changes: Record<string, unknown>, says: RegExp]> = {
    "normalisers that double a text forty times": [
      { normalizer: sequence(Array.from({ length: 40 }, () => doubling)) },
      /normalizer could make a text 1e\+12 times as long/,
    ],
    "the same in sequences of sequences": [
      { normalizer: sequence(Array.from({ length: 4 }, () => sequence([doubling, doubling, doubling]))) },
      /4096 times as long/,
    ],
    "a regular expression that matches everywhere": [
      { normalizer: replace({ Regex: "" }, "x".repeat(100)) },
      /101 times as long/,
    ],
    "compatibility forms over each other": [
      { normalizer: sequence([{ type: "NFKC" }, { type: "NFKD" }]) },
      /324 times/,
    ],
    "a replacement of a million characters": [
      { normalizer: replace({ String: "a" }, "b".repeat(1e6)) },
      /1000000 char/,
    ],
    "a prefix of a million characters": [{ normalizer: { type: "Prepend", prepend: "b".repeat(1e6) } }, /1000000 char/],
    "a mark for spaces of a hundred characters": [
      { pre_tokenizer: { type: "Metaspace", replacement: "_".repeat(100), prepend_scheme: "always" } },
      /100 times as long/,
    ],
    "a regular expression of a megabyte": [
      { pre_tokenizer: { type: "Split", pattern: { Regex: "a".repeat(1e6) }, behavior: "Isolated" } },
      /at most 10000 are read/,
    ],
    "steps in steps in steps": [{ normalizer: nested(1000) }, /nested more than 16 deep/],
    "ten thousand steps": [
      { normalizer: sequence(Array.from({ length: 10_000 }, () => ({ type: "NFC" }))) },
      /256 steps/,
    ],
    "an added token of a megabyte": [
      { added_tokens: [{ id: 0, content: "<".repeat(1e6), special: true, normalized: false }] },
      /an added token is 1000000 characters/,
    ],
  };
  for (const [name, [changes, says]] of Object.entries(cases))
    it(name, () => {
      const before = performance.now();
      expect(() => open(changes)).toThrow(says);
      expect(() => open(changes)).toThrow(TokenizerError);
      expect(performance.now() - before).toBeLessThan(5000);
    });
});

describe("a regular expression that does not end is stopped, with a clear error", () => {
  const split = (pattern: string) => ({
    pre_tokenizer: { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated" },
  });
  const cases: Record<string, [changes: Record<string, unknown>, text: string]> = {
    "a repetition of repetitions": [split("(x+)+$"), `${"x".repeat(60)}!`],
    "a choice with many ways, in a normaliser": [
      { normalizer: replace({ Regex: "(ab|a|b)+$" }, " ") },
      `${"ab".repeat(60)}!`,
    ],
    "many repetitions in a row": [split("\\s*\\s*\\s*\\s*\\s*Q"), " ".repeat(3000)],
  };
  for (const [name, [changes, text]] of Object.entries(cases))
    it(name, () => {
      const tokenizer = open(changes);
      expect(() => tokenizer.encode(text)).toThrow(/regular expressions are not done .* publisher gives/);
      // The tokenizer is as good as before.
      expect(tokenizer.decode(tokenizer.encode("Hello"))).toBe("Hello");
    });

  it("while a long text is encoded", () => {
    const tokenizer = open({});
    expect(tokenizer.encode("word ".repeat(100_000)).length).toBeGreaterThan(100_000);
  });
});
