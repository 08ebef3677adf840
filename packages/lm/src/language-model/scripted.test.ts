import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { UsageError } from "./errors.ts";
import { scriptedModel, scriptedTokens } from "./scripted.ts";
import type { Completion, GenerateRequest, LanguageModel } from "./types.ts";

describe("scriptedTokens", () => {
  it("loses nothing", () => {
    fc.assert(fc.property(fc.string({ unit: "grapheme" }), (text) => scriptedTokens(text).join("") === text));
    expect(scriptedTokens("The cat,  sat.")).toEqual(["The", " cat", ",", " ", " sat", "."]);
  });
});

describe("scriptedModel", () => {
  it("answers by the first rule that matches", async () => {
    const model = scriptedModel({
      rules: [
        { when: "alpha", reply: "one" },
        { when: /b.ta/g, reply: "two" },
        { when: (text) => text.length > 10, reply: (text, { index }) => `${text.length} ${index}` },
      ],
    });
    const ask = async (prompt: GenerateRequest["prompt"]) => (await generate(model, { prompt }))[0]!.text;
    expect(await ask("alpha beta")).toBe("one");
    expect(await ask([{ role: "user", content: "beta" }])).toBe("two");
    expect(await ask("beta")).toBe("two"); // a /g expression keeps no place between calls
    expect(await ask("something long")).toBe("14 0");
    await expect(ask("gamma")).rejects.toBeInstanceOf(UsageError);
  });

  it("gives n samples different texts of a list, from a start that the seed draws", async () => {
    const model = scriptedModel({ fallback: ["a", "b", "c"] });
    const drawn = async (seed: number) =>
      (await generate(model, { prompt: "x", sampling: { n: 3, seed } }))
        .sort((p, q) => p.index - q.index)
        .map((c) => c.text);
    const seen = await Promise.all([0, 1, 2, 3, 4, 5].map(drawn));
    for (const texts of seen) expect([...texts].sort()).toEqual(["a", "b", "c"]);
    expect(new Set(seen.map((texts) => texts[0])).size).toBeGreaterThan(1);
    expect((await generate(model, { prompt: "x", sampling: { temperature: 0, n: 2 } })).map((c) => c.text)).toEqual([
      "a",
      "a",
    ]);
  });

  it("prefers the better option, and the first by its position bias", async () => {
    const model = scriptedModel({ choice: { value: (text) => (text.includes("kind") ? 2 : 0), positionBias: 0.5 } });
    const gap = async (first: string, second: string) => {
      const prompt = `Which is better?\nOptions:\n(A) ${first}\n(B) ${second}\nThe answer is:`;
      for await (const { scores } of model.score([{ prompt, continuations: [" (A)", " (B)"] }])) {
        expect(Math.exp(scores[0]!.logprob) + Math.exp(scores[1]!.logprob)).toBeCloseTo(1, 12);
        return scores[0]!.logprob - scores[1]!.logprob;
      }
      throw new Error("no score");
    };
    expect(await gap("A kind word\n\nof two paragraphs", "A blow")).toBeCloseTo(2.5, 12);
    expect(await gap("A blow", "A word\n\nthat is kind")).toBeCloseTo(-1.5, 12);
  });

  it("fails when told to", async () => {
    const model = scriptedModel({ fallback: "x", fail: (_, call) => (call === 1 ? new Error("as told") : undefined) });
    await generate(model, { prompt: "x" });
    await expect(generate(model, { prompt: "x" })).rejects.toThrow("as told");
    expect(model.usage()).toMatchObject({ completions: 1, failedAttempts: 1 });
  });
});

async function generate(model: LanguageModel, request: GenerateRequest): Promise<Completion[]> {
  const completions: Completion[] = [];
  for await (const { completion } of model.generate([request])) completions.push(completion);
  return completions;
}
