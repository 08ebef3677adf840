import { type LanguageModel, type Score, scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import { outcomes, responseRow } from "../feedback/fixture.ts";
import { expectedScores } from "./expected-score.ts";

const rows = [responseRow("My knee hurts.", "Please see a doctor."), responseRow("My knee hurts.", "Bananas fly.")];

/** A judge that rates what names a doctor 9 with 0.8 and 4 with 0.2, all else 1. */
const judge = () =>
  scriptedModel({
    logprob: (prompt, continuation) => {
      const good = prompt.includes("doctor");
      const p = { "9/10": good ? 0.8 : 0, "4/10": good ? 0.2 : 0, "1/10": good ? 0 : 1 }[continuation] ?? 0;
      return Math.log(p * 0.5);
    },
  });

it("expects the rating that the judge's probabilities say, whatever else it might have said", async () => {
  const found = await outcomes(expectedScores(rows, { judge: judge() }));
  const [good] = found.get(rows[0]!.id)!.rows;
  // (0.8 · 9 + 0.2 · 4 − 1) · 2/9 − 1
  expect(good!.score).toBeCloseTo((2 * 7) / 9 - 1, 12);
  expect(good).toMatchObject({
    response: rows[0]!.id,
    origin: { parents: [rows[0]!.id], models: { judge: "scripted" } },
  });
  expect(found.get(rows[1]!.id)!.rows[0]!.score).toBe(-1);
});

/** A server that tells the likeliest single tokens only. */
function single(scores: (continuation: string) => Score): LanguageModel {
  const model = scriptedModel({});
  return {
    ...model,
    capabilities: async (call) => ({ ...(await model.capabilities(call)), score: { raw: "none", chat: "options" } }),
    async *score(requests) {
      for (const [request, { continuations }] of requests.entries())
        yield { request, scores: continuations.map(scores) };
    },
  };
}
const token = (p: number, upperBound = false): Score => ({
  logprob: Math.log(p),
  tokenLogprobs: [Math.log(p)],
  tokens: ["?"],
  ...(upperBound && { upperBound }),
});

it("asks for one digit where only single tokens are told, and takes none for one that was not named", async () => {
  const asked: string[] = [];
  const named = single((digit) => {
    asked.push(digit);
    return digit === "7" ? token(0.5) : digit === "5" ? token(0.5) : token(1e-4, true);
  });
  const found = await outcomes(expectedScores(rows.slice(0, 1), { judge: named }));
  expect(asked).toEqual(["1", "2", "3", "4", "5", "6", "7", "8", "9"]);
  expect(found.get(rows[0]!.id)!.rows[0]!.score).toBeCloseTo((2 * 5) / 8 - 1, 12);
  const vague = single((digit) => (digit === "7" ? token(0.1) : token(0.01, true)));
  expect((await outcomes(expectedScores(rows, { judge: vague }))).get(rows[0]!.id)).toMatchObject({
    rows: [],
    aside: expect.stringMatching(/names too few of the ratings 1 to 9/),
  });
});

it("refuses a judge without log-probabilities", async () => {
  const mute = scriptedModel({});
  const capabilities = async () => ({
    ...(await scriptedModel({}).capabilities()),
    score: { raw: "none", chat: "none" } as const,
  });
  await expect(outcomes(expectedScores(rows, { judge: { ...mute, capabilities } }))).rejects.toThrow(
    /gives no log-probabilities/,
  );
});
