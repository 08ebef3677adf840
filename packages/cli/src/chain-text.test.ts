import { expect, it } from "vitest";
import { chainText, isChain } from "./chain-text.ts";

const chain = {
  id: "0011223344556677",
  origin: { parents: [] },
  prompt: [{ role: "user", content: "Is it\na cold?" }],
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
