import { expect, it } from "vitest";
import { textRequest } from "./requests.ts";

it("reads prompts as texts and as token ids", () => {
  const of = (prompt: unknown) => textRequest({ prompt }).prompts;
  expect(of("x")).toEqual(["x"]);
  expect(of(["x", "y"])).toEqual(["x", "y"]);
  expect(of([1, 2])).toEqual([{ tokens: [1, 2] }]);
  expect(of([[1, 2], [3]])).toEqual([{ tokens: [1, 2] }, { tokens: [3] }]);
});
