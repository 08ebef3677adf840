import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Unusable } from "./errors.ts";
import type { Message } from "./message.ts";
import { partAtReply, promptOf, replyOf } from "./messages.ts";
import { isTranscript, parseTranscript } from "./transcripts.ts";

const user = (content: string): Message => ({ role: "user", content });
const assistant = (content: string): Message => ({ role: "assistant", content });

describe("transcripts", () => {
  const turn = fc
    .array(fc.constantFrom("a", " ", "\n", "\n\n", "Human", ":", "Human: x", "\nAssistant: y", "é", "😀"))
    .map((parts) => `t${parts.join("")}t`)
    .filter((text) => !/\n\n(Human|Assistant):/.test(text));

  it("are read back as the turns they were written from", () => {
    fc.assert(
      fc.property(fc.array(turn, { minLength: 1, maxLength: 6 }), (turns) => {
        const text = turns.map((turn, i) => `\n\n${i % 2 ? "Assistant" : "Human"}: ${turn}`).join("");
        expect(parseTranscript(text)).toEqual(turns.map((turn, i) => (i % 2 ? assistant(turn) : user(turn))));
      }),
    );
  });

  it("of any text are turns that alternate and hold all of its words, or are refused", () => {
    const piece = fc.constantFrom("\n\nHuman:", "\n\nAssistant:", "\n", " ", "word", "Human:", "\u0000");
    const texts = fc.array(piece, { maxLength: 20 }).map((parts) => parts.join(""));
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const messages = parseTranscript(text);
          expect(messages.map(({ role }) => role)).toEqual(messages.map((_, i) => (i % 2 ? "assistant" : "user")));
          const words = (text: string) => text.match(/word/g)?.length ?? 0;
          expect(messages.reduce((all, { content }) => all + words(content), 0)).toBe(words(text));
        } catch (error) {
          expect(error).toBeInstanceOf(Unusable);
        }
      }),
    );
  });

  it("join neighbouring turns of one speaker", () => {
    expect(parseTranscript("\n\nHuman: a\n\nHuman: b\n\nAssistant: c\n\nAssistant:")).toEqual([
      user("a\n\nb"),
      assistant("c"),
    ]);
  });

  it("must begin with a Human turn and have no empty one before the last", () => {
    expect(() => parseTranscript("Hello")).toThrow("does not begin");
    expect(() => parseTranscript("\n\nAssistant: Hello")).toThrow("does not begin");
    expect(() => parseTranscript("\n\nHuman: \n\nAssistant: Hello")).toThrow("turn 1 of the transcript is empty");
    expect(parseTranscript("\n\nHuman: Hello\n\nAssistant:").at(-1)).toEqual(assistant(""));
    expect([isTranscript("\n\nHuman: a"), isTranscript("a Human: b")]).toEqual([true, false]);
  });
});

describe("prompts", () => {
  it("are a text, messages, or a transcript that waits", () => {
    expect(promptOf("Hello", "prompt")).toEqual([user("Hello")]);
    expect(promptOf([{ role: "system", content: "s" }, user("u")], "prompt")).toHaveLength(2);
    expect(promptOf("\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:", "prompt")).toEqual([
      user("a"),
      assistant("b"),
      user("c"),
    ]);
  });

  it.each([
    [undefined, "prompt is missing; expected a list of messages"],
    [5, "prompt is a number"],
    ["  ", "prompt is empty"],
    [[], "prompt is an empty list"],
    [["x"], "prompt[0] is a text; expected a message"],
    [[{ role: "tool", content: "x" }], 'prompt[0].role is "tool"; expected system, user or assistant'],
    [[{ role: "user", content: [{ type: "text" }] }], "prompt[0].content is a list; expected text"],
    [[user("a"), assistant("b")], "ends with a message of role assistant; expected the user's"],
    ["half \ud83d", "half a surrogate pair"],
  ])("%j is refused", (value, message) => {
    expect(() => promptOf(value, "prompt")).toThrow(message);
  });
});

describe("replies", () => {
  it("are a text or one message of the assistant", () => {
    expect(replyOf("b", "chosen")).toBe("b");
    expect(replyOf([assistant("b")], "chosen")).toBe("b");
    expect(() => replyOf([user("x"), assistant("b")], "chosen")).toThrow("chosen holds user, assistant");
    expect(() => replyOf("", "chosen")).toThrow("chosen is empty");
  });

  it("part behind the shared conversation, or the pair is refused", () => {
    const shared = [user("a"), assistant("b"), user("c")];
    expect(partAtReply([...shared, assistant("d")], [...shared, assistant("e")])).toEqual({
      prompt: shared,
      a: "d",
      b: "e",
    });
    const refused: [Message[], Message[], string][] = [
      [[user("a"), assistant("b")], [user("x"), assistant("b")], "no proper prefix: they part at turn 1"],
      [[...shared, assistant("d")], [user("a"), assistant("x"), user("c"), assistant("d")], "they part at turn 2"],
      [[...shared, assistant("d")], shared, "they part at turn 4"],
      [[...shared, assistant("d"), user("x"), assistant("y")], [...shared, assistant("e")], "they part at turn 4"],
      [[...shared, assistant("d")], [...shared, assistant("e"), user("x")], "they part at turn 4"],
      [shared, shared, "the same conversation"],
      [[user("a"), assistant("b")], [user("a"), assistant(" ")], "rejected is empty"],
    ];
    for (const [one, other, message] of refused) expect(() => partAtReply(one, other)).toThrow(message);
  });
});
