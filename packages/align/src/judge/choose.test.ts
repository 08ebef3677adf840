import { type LanguageModel, scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { parseConstitution } from "../constitution/index.ts";
import { choiceJudge, comparePairs } from "../evaluate/index.ts";
import { labelPairs } from "../feedback/index.ts";
import { type ChoiceAnswer, chooseEach, unreadReason } from "./choose.ts";

/** A model that says something, and reports no log-probabilities. */
function speaker(says: string | string[]): LanguageModel {
  const model = scriptedModel({ fallback: says });
  return {
    ...model,
    capabilities: async () => ({
      ...(await model.capabilities()),
      prefill: false,
      topLogprobs: null,
      score: { raw: "none", chat: "none" },
    }),
  };
}

/** One that reports them, and never names a letter. */
function tongueTied(says: string): LanguageModel {
  const model = scriptedModel({ fallback: says });
  return {
    ...model,
    async *score(requests) {
      for (const request of requests.keys()) {
        const score = { logprob: -9, tokenLogprobs: [-9], tokens: ["A"], upperBound: true };
        yield { request, scores: [score, score] };
      }
    },
  };
}

async function ask(model: LanguageModel, sampled?: { samples: number; maxTokens: number }) {
  const notices: string[] = [];
  const asked = [{ prompt: "(A) x\n(B) y", options: ["x", "y"] as const, key: "1" }];
  const answers: ChoiceAnswer[] = [];
  for await (const answer of chooseEach(model, asked, { seed: 1, sampled }, { notice: (line) => notices.push(line) }))
    answers.push(answer);
  return { answer: answers[0]!, count: answers.length, notices };
}

describe("chooseEach", () => {
  it("reads log-probabilities where there are some", async () => {
    const model = scriptedModel({ choice: { value: (text) => (text === "y" ? 1 : 0) } });
    const { answer, notices } = await ask(model);
    expect(answer).toMatchObject({ choice: { by: "logprobs" } });
    if ("choice" in answer) expect(answer.choice.p).toBeCloseTo(1 / (1 + Math.E), 9);
    expect(notices).toEqual([]);
  });

  it("takes the share of the letters that were said, a tie said for half, and leaves out what was not read", async () => {
    const says = ["(A)", "I prefer option B.", "It's a tie.", "I cannot judge."];
    const { answer, notices } = await ask(speaker(says), { samples: 4, maxTokens: 16 });
    expect(answer).toMatchObject({ choice: { by: "letters", p: 0.5, letters: { A: 1, B: 1, tie: 1, unread: 1 } } });
    expect(notices.join()).toContain("4 sampled answers");
  });

  it("samples where no letter is among the likeliest tokens", async () => {
    const { answer, count } = await ask(tongueTied("**B**"));
    expect(answer).toMatchObject({ request: 0, choice: { by: "letters", p: 0, letters: { B: 3 } } });
    expect(count).toBe(1);
  });

  it.each([speaker("I cannot judge this."), tongueTied("A better one would be kinder.")])(
    "has no p where no answer can be read, not even ½",
    async (model) => {
      const { answer, notices } = await ask(model);
      expect(answer).toEqual({ request: 0, unread: unreadReason });
      expect(notices).toContain(unreadReason);
    },
  );
});

describe("what nobody could read", () => {
  const constitution = parseConstitution(
    "name: kind\nversion: '1'\nprinciples:\n  - id: kind\n    text: Answers are kind.\n",
    { file: "kind.yaml" },
  ).value;
  const pair = {
    id: "1",
    prompt: [{ role: "user" as const, content: "Hello" }],
    a: "Good morning!",
    b: "Go away.",
    origin: { parents: [] },
  };
  const silent = speaker("That is for others to say.");

  it("is no label", async () => {
    for await (const outcome of labelPairs([pair], { constitution, labeller: silent, seed: 1 }))
      expect(outcome).toMatchObject({ rows: [], aside: `labeller: ${unreadReason}` });
  });

  it("is no finding of a critic", async () => {
    const options = { constitution, labeller: silent, critic: silent, constitutionFirst: { by: "critic" as const } };
    for await (const outcome of labelPairs([pair], { ...options, seed: 1 }))
      expect(outcome).toMatchObject({ rows: [], aside: `critic: ${unreadReason}` });
  });

  it("is no comparison, and no tie", async () => {
    for await (const outcome of comparePairs([pair], { judge: choiceJudge(silent), a: "rl", b: "base" }))
      expect(outcome).toMatchObject({ rows: [], aside: `judge: ${unreadReason}` });
  });

  it("a critic that answers in words is read", async () => {
    const critic = speaker("No, it does not.");
    const labeller = speaker("B");
    const options = { constitution, labeller, critic, constitutionFirst: { by: "critic" as const } };
    for await (const { rows } of labelPairs([pair], { ...options, seed: 1, swap: false }))
      expect(rows[0]).toMatchObject({ p: 0, label: "ai" });
  });
});
