import { expect, it } from "vitest";
import { chainText, isChain } from "./chain-text.ts";

const chain = {
  id: "0011223344556677",
  origin: { parents: [] },
  prompt: [{ role: "user" as const, content: "Is it\na cold?" }],
  responses: ["You have a cold, don't worry at all about it.", "You may have a cold, don't worry at all about it."],
  rounds: [
    {
      principle: "no-diagnosis",
      critique: "It says what it is.",
      revision: "You may have a cold, don't worry at all about it.",
    },
    { principle: "brief", critique: "Long.", revision: "Hm.", rejected: "empty" },
    { principle: "kind", critique: "It is fine." },
  ],
};

it("what the prompt shows is told in words", () => {
  const images = ["data:image/png;base64,iVBORw0KGgo="];
  const lines = chainText({ ...chain, prompt: [{ role: "user", content: "What is it?", images }] }).split("\n");
  expect(lines.slice(1, 3)).toEqual([
    expect.stringMatching(/^ {2}\[user\]: \[image: PNG, 1 kB, [0-9a-f]{8}\]$/),
    "    What is it?",
  ]);
});

it("a chain says what each revision took out and put in, and why one was not taken", () => {
  expect(isChain(chain)).toBe(true);
  expect(chainText(chain).split("\n")).toEqual([
    "0011223344556677",
    "  [user]: Is it",
    "    a cold?",
    "  first response: You have a cold, don't worry at all about it.",
    "  round 1, no-diagnosis",
    "    critique: It says what it is.",
    "    revision: You {+may +}have a cold, don't worry at all about it.",
    "  round 2, brief",
    "    critique: Long.",
    "    revision, not taken: Hm.",
    "    rejected: empty",
    "  round 3, kind",
    "    critique: It is fine.",
  ]);
});

it("another row is none", () => expect(isChain({ id: "a", origin: { parents: [] } })).toBe(false));
