import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { letterOf } from "./letters.ts";
import { asReplies, readReply, whyEmpty } from "./reply.ts";
import { scriptedModel } from "./scripted.ts";

const said = "Rest, and see a doctor.";

describe("readReply", () => {
  it.each([
    [said, said, []],
    [`  ${said}\n`, `  ${said}\n`, []],
    [`<think>A cold?</think>\n\n${said}`, said, ["thoughts"]],
    [`<think>\n\n</think>\n\n${said}`, said, ["thoughts"]],
    [`<thinking>A cold?</thinking>${said}`, said, ["thoughts"]],
    [`[THINK]A cold?[/THINK]${said}`, said, ["thoughts"]],
    [`◁think▷A cold?◁/think▷${said}`, said, ["thoughts"]],
    [`A cold?\n</think>\n${said}`, said, ["thoughts"]],
    ["<think>A cold, and then", "", ["thoughts"]],
    [
      `<|channel|>analysis<|message|>A cold?<|end|><|start|>assistant<|channel|>final<|message|>${said}<|return|>`,
      said,
      ["thoughts", "header", "mark"],
    ],
    [`analysisA cold?assistantfinal${said}`, said, ["thoughts"]],
    [`<|im_start|>assistant\n<think>A cold?</think>\n${said}<|im_end|>`, said, ["header", "thoughts", "mark"]],
    [`<|start_header_id|>assistant<|end_header_id|>\n\n${said}<|eot_id|>`, said, ["header", "mark"]],
    [`<start_of_turn>model\n${said}<end_of_turn>\n<start_of_turn>user\nThanks!`, said, ["header", "mark"]],
    [`${said}</s>`, said, ["mark"]],
    [`${said}\n<|im_end|>\n<|im_start|>user\nThanks!`, said, ["mark"]],
    [`${said}assistant\n\nAnd rest.`, said, ["mark"]],
    [`${said}\nuser\nThanks!`, said, ["mark"]],
    ["<|eot_id|>", "", ["mark"]],
    [
      "Close it with `</think>`, and end with `<|im_end|>`.",
      "Close it with `</think>`, and end with `<|im_end|>`.",
      [],
    ],
    ["The assistant\nrests.", "The assistant\nrests.", []],
    ["I think, <think> is a tag.", "I think, <think> is a tag.", []],
  ])("%j", (sent, text, edits) => {
    const read = readReply(sent);
    expect(read.text).toBe(text);
    expect(read.edits).toEqual(edits);
    expect(sent.slice(read.start, read.end)).toBe(text);
  });

  it("takes nothing off what it has read already", () => {
    const piece = fc.constantFrom(
      "<think>",
      "</think>",
      "Rest.",
      "\n",
      "<|im_end|>",
      "<|im_start|>",
      "assistant",
      "user\n",
      "`",
      "</s>",
      " ",
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 8 }), (pieces) => {
        const sent = pieces.join("");
        const { text, start, end } = readReply(sent);
        expect(sent.slice(start, end)).toBe(text);
        expect(readReply(text).text.length).toBeLessThanOrEqual(text.length);
      }),
    );
  });
});

describe("asReplies", () => {
  it("cuts tokens as the text, and counts what it took off", async () => {
    const model = asReplies(scriptedModel({ fallback: `<think>Hm</think>${said}<|im_end|> more` }));
    const texts: string[] = [];
    for await (const { completion } of model.generate([{ prompt: "x", sampling: { logprobs: 1 } }])) {
      texts.push(completion.text, completion.tokens!.map(({ text }) => text).join(""));
      expect(completion.thoughts).toBe("Hm");
    }
    expect(texts).toEqual([said, said]);
    expect(Object.values(model.usage().notices!)).toEqual([1, 1]);
  });

  it("says when thinking took all there was", async () => {
    const model = asReplies(scriptedModel({ fallback: "<think>It may be a cold and it may be none" }));
    for await (const { completion } of model.generate([{ prompt: "x", sampling: { maxTokens: 8 } }])) {
      expect(completion).toMatchObject({ text: "", finishReason: "length" });
      expect(whyEmpty(completion)).toMatch(/all of its 8 tokens went into thinking.*maxTokens/);
    }
    expect(Object.keys(model.usage().notices!).join()).toContain("went into thinking");
  });

  it("leaves a model that says nothing but replies as it is", async () => {
    const script = { fallback: said };
    const [plain, wrapped] = [scriptedModel(script), asReplies(scriptedModel(script))];
    for (const model of [plain, wrapped])
      for await (const { completion } of model.generate([{ prompt: "x" }])) expect(completion.text).toBe(said);
    expect(wrapped.usage()).toEqual(plain.usage());
  });
});

it.each([
  ["A", "A"],
  [" A", "A"],
  ["(A", "A"],
  ["(A)", "A"],
  ["A)", "A"],
  ["A.", "A"],
  ["A:", "A"],
  ["**A**", "A"],
  ["[B]", "B"],
  ["“B”", "B"],
  ["Ａ", "A"],
  ["（Ｂ）", "B"],
  ["Ġ A", "A"],
  ["▁B", "B"],
  ["В", "B"],
  ["Ⓐ", "A"],
  ["As", undefined],
  ["a", undefined],
  ["A B", undefined],
  ["", undefined],
  ["(", undefined],
  ["It", undefined],
])("the letter of %j is %s", (text, letter) => {
  expect(letterOf(text)).toBe(letter);
});
