import { expect, it } from "vitest";
import { chatRequest, textRequest } from "./requests.ts";

it("reads a list no further than its first item that is wrong", () => {
  let read = 0;
  const wrong = {
    get role() {
      read++;
      return "robot";
    },
  };
  expect(() => chatRequest({ messages: Array(1000).fill(wrong) })).toThrow(/^messages\.0\.role: /);
  const parts = { role: "user", content: Array(1000).fill({ type: "text", ...{ text: 1 } }) };
  expect(() => chatRequest({ messages: [parts] })).toThrow(
    /^messages\.0\.content: expected a text, or a list of parts/,
  );
  expect(read).toBeLessThan(5);
});

it("says where in a list the wrong item is", () => {
  const said = { role: "user", content: "x" };
  expect(() => chatRequest({ messages: [said, said, { role: "user" }] })).toThrow(/^messages\.2\.content: /);
  expect(() => chatRequest({ messages: [] })).toThrow(/^messages: expected at least one/);
  const parts = [{ type: "text", text: "a" }];
  expect(chatRequest({ messages: [{ role: "developer", content: [...parts, ...parts] }] }).prompts).toEqual([
    [{ role: "system", content: "aa" }],
  ]);
});

it("refuses what is not built however deep it is nested", () => {
  let tools: unknown[] = [];
  for (let depth = 0; depth < 100_000; depth++) tools = [tools];
  expect(() => textRequest({ prompt: "x", tools })).toThrow(/^tools is not built here/);
  const harmless = { tools: [], response_format: { type: "text" }, presence_penalty: 0, suffix: null };
  expect(textRequest({ prompt: "x", ...harmless }).prompts).toEqual(["x"]);
});

it("reads prompts as texts and as token ids", () => {
  const of = (prompt: unknown) => textRequest({ prompt }).prompts;
  expect(of("x")).toEqual(["x"]);
  expect(of(["x", "y"])).toEqual(["x", "y"]);
  expect(of([1, 2])).toEqual([{ tokens: [1, 2] }]);
  expect(of([[1, 2], [3]])).toEqual([{ tokens: [1, 2] }, { tokens: [3] }]);
});
