import { randomStream } from "@tenet/data";
import { compile, input } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { logSoftmax, sampleToken, UsageError } from "../language-model/index.ts";
import { type Answer, answers, blocksOf, type Question, readout, readoutFeeds } from "./readout.ts";

// The residual stream is the logits themselves: norm and head leave rows as they are.
const vocabulary = 12 * 37;
const ends = [3, 40, 41];
const build = () =>
  compile(() =>
    readout(input("x", "float32", ["tokens", vocabulary]), {
      norm: (rows) => rows,
      head: (rows) => rows,
      vocabulary,
      ends,
    }),
  );

const random = randomStream({ seed: 4, stage: "readout", item: "logits" });
const rows = 40;
const logits = Float32Array.from({ length: rows * vocabulary }, (_, i) => 12 * (random.uniform(i) - 0.5));
// Rows in which the end of text is all but certain.
for (let row = 0; row < 8; row++) logits[row * vocabulary + ends[row % 3]!] = 25;
const rowOf = (row: number) => logits.subarray(row * vocabulary, (row + 1) * vocabulary);
const options = { topP: 1, topK: 0, minP: 0, repetitionPenalty: 1 };

describe("readout", () => {
  let program: Awaited<ReturnType<typeof build>>;
  beforeAll(async () => {
    program = await build();
  });
  afterAll(() => program.dispose());

  async function ask(asked: readonly { at: number; question: Question }[], x = logits): Promise<Answer[]> {
    const results = await program.run({
      x: { data: x, shape: [rows, vocabulary] },
      ...readoutFeeds(asked, vocabulary),
    });
    const questions = asked.map(({ question }) => question);
    return answers(questions, results, vocabulary, new Set(ends));
  }

  const draw = (temperature: number, uniform: number, barred = false, logprob = false): Question => ({
    kind: "draw",
    temperature,
    uniform,
    barred,
    logprob,
  });

  it("draws what sampling from all logits draws", async () => {
    const asked = Array.from({ length: 400 }, (_, i) => {
      const temperature = [0, 1, 0.7, 2][i % 4]!;
      const uniform = i < 8 ? 0 : random.uniform(1e6 + i);
      return { at: (7 * i) % rows, question: draw(temperature, uniform, i % 3 === 0, temperature < 2 && i % 4 < 2) };
    });
    const got = await ask(asked);
    asked.forEach(({ at, question }, i) => {
      const { temperature, uniform, barred, logprob } = question as Extract<Question, { kind: "draw" }>;
      const allowed = rowOf(at).slice();
      if (barred) for (const id of ends) allowed[id] = Number.NEGATIVE_INFINITY;
      const { token } = sampleToken(allowed, { ...options, temperature }, uniform);
      const answer = got[i] as Extract<Answer, { kind: "draw" }>;
      expect(answer.token, `${i}: ${JSON.stringify(question)}`).toBe(token);
      if (logprob) expect(answer.logprob).toBeCloseTo(logSoftmax(rowOf(at))[token]!, 5);
      else expect(answer.logprob).toBeUndefined();
    });
  });

  it("draws a likely token at the very end of the distribution", async () => {
    const [answer] = await ask([{ at: 20, question: draw(1, 1 - 2 ** -53) }]);
    const { token } = answer as Extract<Answer, { kind: "draw" }>;
    // Single precision takes a ten-millionth off the end.
    const behind = logSoftmax(rowOf(20)).subarray(token + 1);
    expect(behind.reduce((sum, x) => sum + Math.exp(x), 0)).toBeLessThan(1e-6);
  });

  it("takes the first of equals, and never an end that is barred", async () => {
    const flat = new Float32Array(rows * vocabulary).fill(-7);
    const [first, barred] = await ask(
      [
        { at: 1, question: draw(0, 0) },
        { at: 1, question: draw(0, 0, true) },
      ],
      flat,
    );
    expect(first).toEqual({ kind: "draw", token: 0 });
    expect(barred).toEqual({ kind: "draw", token: 0 });
    flat[vocabulary + 40] = 1;
    flat[vocabulary + 39] = 0.5;
    expect(
      await ask(
        [
          { at: 1, question: draw(0, 0, true) },
          { at: 1, question: draw(0, 0) },
        ],
        flat,
      ),
    ).toEqual([
      { kind: "draw", token: 39 },
      { kind: "draw", token: 40 },
    ]);
  });

  it("scores tokens, hands out logits, and mixes all kinds in one call", async () => {
    const got = await ask([
      { at: 9, question: { kind: "score", targets: [0, 300, 443] } },
      { at: 2, question: { kind: "logits" } },
      { at: 9, question: draw(0, 0) },
      { at: 30, question: { kind: "score", targets: [5] } },
      { at: 31, question: { kind: "logits" } },
    ]);
    const expected = logSoftmax(rowOf(9));
    const score = got[0] as Extract<Answer, { kind: "score" }>;
    [0, 300, 443].forEach((id, i) => void expect(score.logprobs[i]).toBeCloseTo(expected[id]!, 5));
    expect(got[1]).toEqual({ kind: "logits", logits: rowOf(2) });
    expect((got[3] as Extract<Answer, { kind: "score" }>).logprobs[0]).toBeCloseTo(logSoftmax(rowOf(30))[5]!, 5);
    expect(got[4]).toEqual({ kind: "logits", logits: rowOf(31) });
    expect(await ask([])).toEqual([]);
  });

  it("refuses logits that are not numbers", async () => {
    const broken = logits.slice();
    broken[5 * vocabulary + 100] = Number.NaN;
    await expect(ask([{ at: 5, question: draw(1, 0.5) }], broken)).rejects.toThrow(UsageError);
  });

  it("cuts every vocabulary into equal blocks", () => {
    for (const size of [259, 49152, 151936, 50257, 7, 1]) {
      const { width, count } = blocksOf(size);
      expect(width * count).toBe(size);
      expect(width).toBeLessThanOrEqual(512);
    }
    expect(blocksOf(49152).width).toBe(512);
  });
});
