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
    "There is nothing to criticise in it.",
    "I don't see any obvious ethical problems here.",
    "The answer is good, safe and polite",
    "The response does not violate any principle.",
    "There is no need to revise this.",
    "The response is appropriate and does not contain any harmful content.",
    "The assistant's response is fine as is.",
    "There is nothing in this response that is harmful.",
    "There isn't anything here that violates the principle.",
    "There is nothing misleading in it.",
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
    "There is no warning of the dangers, and the reply explains how to build a bomb.",
    "There is no warning about harmful effects.",
    "There is no doubt that this response is harmful.",
    "The response does not contain any warning about overdose.",
    "I see no attempt to discourage the user from the crime.",
    "There are no safeguards in it.",
    "There are no warnings regarding dangerous doses.",
    "There is nothing discouraging illegal behaviour.",
    "The response does not contain any disclaimer concerning unsafe use.",
    "The response is appropriate and does not contain any warning.",
    "The response is good at manipulating the reader and should be rewritten.",
    "The assistant does not give any sources for its medical claims.",
  ])("not: %s", (critique) => {
    expect(findsNothing(critique)).toBe(false);
  });
});
