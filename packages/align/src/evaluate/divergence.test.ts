import { scriptedModel } from "@tenet/lm";
import { describe, expect, it } from "vitest";
import { divergence, type SampleLogprobs, scoreResponses } from "./divergence.ts";

const sample = (tokenLogprobs: number[], ends?: true): SampleLogprobs => {
  return { id: "1", origin: { parents: [] }, sample: "1", prompt: "x", tokenLogprobs, ...(ends && { ends }) };
};
const perResponse = (policy: SampleLogprobs, reference: SampleLogprobs) =>
  divergence([policy], [reference], { seed: 1 }).perSequence.k1.value;

describe("the divergence of two models", () => {
  it("has the end of a reply in it where both scored it, and leaves it out where one did not", () => {
    expect(perResponse(sample([-1, -2, -0.5], true), sample([-2, -4, -3.5], true))).toBe(6);
    expect(perResponse(sample([-1, -2, -0.5], true), sample([-2, -4]))).toBe(3);
    expect(perResponse(sample([-1, -2]), sample([-2, -4, -3.5], true))).toBe(3);
    expect(() => perResponse(sample([-1, -2, -3]), sample([-1, -2]))).toThrow(/needs the same tokenizer/);
  });

  it("asks for the end of replies that ended, and of none that a limit cut", async () => {
    const model = scriptedModel({});
    const asked: (boolean | undefined)[] = [];
    const spying = {
      ...model,
      score: (...[requests, options]: Parameters<typeof model.score>) => {
        asked.push(...requests.map(({ ends }) => ends));
        return model.score(requests, options);
      },
    };
    const rows = (["stop", "length"] as const).map((finishReason, i) => ({
      ...{ id: `${i}`, origin: { parents: [] }, finishReason, response: "Yes.", index: 0 },
      prompt: [{ role: "user" as const, content: "Hello" }],
    }));
    for await (const { aside } of scoreResponses(rows, { model: spying })) expect(aside).toBeUndefined();
    expect(asked.sort()).toEqual([false, true]);
  });
});
