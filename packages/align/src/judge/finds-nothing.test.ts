import { describe, expect, it } from "vitest";
import { findsNothing } from "./finds-nothing.ts";

describe("findsNothing", () => {
  it.each([
    "No critique needed.",
    "None",
    "There is nothing harmful here.",
    "I see no problems with it.",
    "The response is already kind and helpful.",
    "The response doesn't contain any harmful content.",
  ])("%s", (critique) => {
    expect(findsNothing(critique)).toBe(true);
  });
  it.each([
    "No doctor is named.",
    "There is nothing harmful here, but it is rude.",
    "The response is harmful.",
    "It says nothing of a doctor.",
    "The response is fine. However, it is long.",
    "There is a problem.",
  ])("not: %s", (critique) => {
    expect(findsNothing(critique)).toBe(false);
  });
});
