import { type LanguageModel, scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { compareByJudge, type JudgeAsking, judgeAskingSchema, scoreByJudge } from "./judge.ts";
import { generalRubric } from "./rubric.ts";

const prompt = [{ role: "user" as const, content: "I have a cold." }];
const asking = (more: Partial<JudgeAsking> & Pick<JudgeAsking, "format">) => ({
  ...judgeAskingSchema.parse(more),
  seed: 1,
});

async function score(model: LanguageModel, responses: string[], more: Parameters<typeof asking>[0]) {
  const cases = responses.map((response) => {
    return { shown: { prompt, responses: [response] as const, rubric: generalRubric }, key: response };
  });
  const answers = [];
  for await (const answer of scoreByJudge(model, cases, asking(more))) answers[answer.request] = answer;
  return answers;
}

async function compare(model: LanguageModel, pairs: [string, string][], more: Parameters<typeof asking>[0]) {
  const cases = pairs.map((responses) => ({
    shown: { prompt, responses, rubric: generalRubric },
    key: responses.join("|"),
  }));
  const answers = [];
  for await (const answer of compareByJudge(model, cases, asking(more))) answers[answer.request] = answer;
  return answers;
}

describe("scoreByJudge", () => {
  it("moves a score to [−1, 1] and keeps what was said", async () => {
    const judge = scriptedModel({ rules: [{ when: "Rest.", reply: "Good. [RESULT] 4" }], fallback: "[RESULT] 1" });
    const [good, bad] = await score(judge, ["Rest.", "Go away."], { format: "prometheus-2" });
    expect(good).toEqual({
      request: 0,
      score: 0.5,
      said: [{ format: "prometheus-2", verdicts: [4], texts: ["Good. [RESULT] 4"], unread: 0 }],
    });
    expect(bad).toMatchObject({ score: -1 });
  });

  it("tries again with the next sample where it cannot read, and counts", async () => {
    let tries = 0;
    const judge = scriptedModel({ fallback: () => (++tries < 3 ? "I am not sure." : "[RESULT] 5") });
    expect((await score(judge, ["Rest."], { format: "prometheus-2" }))[0]).toMatchObject({
      score: 1,
      said: [{ verdicts: [5], unread: 2 }],
    });
    expect(tries).toBe(3);
  });

  it("sets aside what no try makes readable: no score, not even a middle one", async () => {
    let tries = 0;
    const judge = scriptedModel({ fallback: () => `I am not sure, ${tries++}.` });
    const [answer] = await score(judge, ["Rest."], { format: "auto-j", retries: 2 });
    expect(answer).toEqual({ request: 0, unread: expect.stringMatching(/could not be read in 3 tries/) });
    expect(tries).toBe(3);
  });

  it("means over several readable samples, and asks greedy formats for them at temperature 1", async () => {
    const temperatures: number[] = [];
    const judge = scriptedModel({
      fallback: (_, { sampling, index }) => {
        temperatures.push(sampling.temperature);
        return ["Rating: [[4]]", "Rating: [[7]]", "none"][index]!;
      },
    });
    const [answer] = await score(judge, ["Rest."], { format: "auto-j", samples: 3, retries: 0 });
    expect(answer).toMatchObject({ score: (2 * (5.5 - 1)) / 9 - 1, said: [{ verdicts: [4, 7], unread: 1 }] });
    expect(new Set(temperatures)).toEqual(new Set([1]));
  });

  it("takes d-RLAIF's expected rating from log-probabilities", async () => {
    const p: Record<string, number> = { "9/10": 0.8, "4/10": 0.2 };
    const judge = scriptedModel({ logprob: (_, rating) => Math.log(p[rating] ?? 0) });
    const [answer] = await score(judge, ["Rest."], { format: "d-rlaif" });
    expect("score" in answer! && answer.score).toBeCloseTo((2 * 7) / 9 - 1, 12);
  });

  it("thoughts are not the verdict", async () => {
    const judge = scriptedModel({ fallback: "<think>[RESULT] 1</think>Good. [RESULT] 4" });
    expect((await score(judge, ["Rest."], { format: "prometheus-1" }))[0]).toMatchObject({ score: 0.5 });
  });
});

describe("compareByJudge", () => {
  it("side by side, with ties counting half where the format has them", async () => {
    const judge = scriptedModel({
      fallback: (_, { index }) =>
        `So, the final decision is ${["Response 1", "Tie", "Response 2", "Response 1"][index]}.`,
    });
    const [answer] = await compare(judge, [["Rest.", "Go."]], { format: "auto-j", samples: 4 });
    expect(answer).toMatchObject({ p: 2.5 / 4 });
  });

  it("by scores of each: P(s₁ > s₂) + ½·P(s₁ = s₂), each reply scored once", async () => {
    let asked = 0;
    const judge = scriptedModel({
      fallback: (text, { index }) => {
        asked++;
        return `[RESULT] ${text.includes("Rest.") ? [3, 5][index] : text.includes("Go.") ? [3, 4][index] : 1}`;
      },
    });
    const pairs: [string, string][] = [
      ["Rest.", "Go."],
      ["Go.", "Rest."],
      ["Rest.", "No."],
    ];
    const answers = await compare(judge, pairs, { format: "prometheus-2", mode: "absolute", samples: 2 });
    // 3 against 3: ½; 3 against 4: 0; 5 against either: 1.
    expect(answers.map((answer) => "p" in answer && answer.p)).toEqual([2.5 / 4, 1.5 / 4, 1]);
    expect(asked).toBe(6);
  });

  it("a pair of which one reply has no score has none", async () => {
    const judge = scriptedModel({ rules: [{ when: "Rest.", reply: "[RESULT] 4" }], fallback: "Who knows." });
    const [answer] = await compare(judge, [["Rest.", "Go."]], { format: "prometheus-1", retries: 0 });
    expect(answer).toMatchObject({ unread: expect.stringContaining("could not be read") });
  });
});

it("a format that scores one reply at a time cannot be asked side by side", () => {
  expect(judgeAskingSchema.safeParse({ format: "rating", mode: "relative" }).error?.issues[0]).toMatchObject({
    path: ["mode"],
  });
});
