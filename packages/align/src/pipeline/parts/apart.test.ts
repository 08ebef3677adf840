import { describe, expect, it } from "vitest";
import { learntFrom, learntFromText, wasLearntFrom } from "./apart.ts";

const row = (content: string, source = "train.jsonl:1") => ({
  id: content,
  origin: { source, parents: [] },
  prompt: [{ role: "user" as const, content }],
});
const train = [
  row("My knee has been hurting since Monday, what should I do?"),
  row("发烧三天了，应该怎么办？", "train.jsonl:2"),
];
const reasonOf = (content: string) => learntFrom([row(content)], train).get(0);

describe("a held-out prompt that is learnt from", () => {
  it.each([
    [
      "word for word",
      "My knee has been hurting since Monday, what should I do?",
      /^it is also trained on: train\.jsonl:1$/,
    ],
    [
      "in other case and spaces",
      " my knee has been  hurting since monday, what should I do",
      /but for case, punctuation/,
    ],
    [
      "with a word more",
      "My knee has been hurting badly since Monday, what should I do?",
      /nearly the same .* \(likeness 0\.\d\d\): train/,
    ],
    ["with a letter less", "My knee has been hurting since Monday, what shoud I do?", /nearly the same/],
    ["in a language without spaces", "发烧三天了,应该怎么办", /but for case, punctuation.*train\.jsonl:2/],
    [
      "in full-width letters",
      "Ｍｙ knee has been hurting since Monday, what should I do?",
      /but for case, punctuation/,
    ],
  ])("is found %s", (_, content, reason) => {
    expect(reasonOf(content)).toMatch(reason);
    expect(wasLearntFrom(reasonOf(content)!)).toBe(true);
  });

  it.each(["My throat has been sore for a week.", "What is a knee?", "我的膝盖疼。", "?"])("is not %j", (content) =>
    expect(reasonOf(content)).toBeUndefined(),
  );

  it("is found under a system turn, and each of several", () => {
    const held = [
      { ...row("x"), prompt: [{ role: "system" as const, content: "Be kind." }, ...train[0]!.prompt] },
      row("My knee hurts."),
      row("MY KNEE has been hurting since Monday; what should I do?"),
    ];
    expect([...learntFrom(held, train).keys()].sort()).toEqual([0, 2]);
  });

  it("is told with how many are left", () => {
    expect(learntFromText(3, 4)).toMatch(/^3 of 4 held-out prompts are also trained on.*left out\./);
    expect(learntFromText(4, 4)).toContain("none is left to measure on");
    expect(wasLearntFrom("prompt is empty; expected text: {}")).toBe(false);
  });
});
