import { describe, expect, it } from "vitest";
import { ggufWriteTypes } from "../gguf/index.ts";
import type { CompletionToken, LanguageModel, Prompt } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import { type ExportRuntime, proveExport, tolerances, within } from "./proof.ts";

const text = { encodePrompt: () => [1], endIds: new Set([2]), decode: String } as Partial<TextCodec> as TextCodec;

/** A model that says "one two three", ahead of the next likeliest by so much at each word. */
function model(
  margins: readonly number[],
  next: readonly string[] = [],
): Pick<LanguageModel, "generate"> & { text: TextCodec } {
  const tokens = ["one", " two", " three"].map((text, id): CompletionToken => {
    const second = { text: next[id] ?? "?", logprob: -0.5 - margins[id]! };
    return { id, text, logprob: -0.5, top: [{ text, logprob: -0.5 }, second] };
  });
  const completion = {
    ...{ text: "one two three", tokens, finishReason: "stop" as const, index: 0 },
    usage: { promptTokens: 1, completionTokens: 3 },
  };
  return {
    text,
    async *generate(requests) {
      for (const request of requests.keys()) yield { request, completion };
    },
  };
}

function saying(reply: string): ExportRuntime {
  return {
    name: "another",
    promptTokens: async () => [1],
    replyLogprobs: async (_, { tokens }) => tokens.map(({ logprob }) => logprob),
    reply: async () => reply,
    endsAt: async () => true,
    close: async () => {},
  };
}

const prove = (margins: readonly number[], reply: string) =>
  proveExport({ model: model(margins), prompts: ["p"], runtime: saying(reply), type: "F16" });

describe("greedy replies of an export", () => {
  it("are the same to the last letter, or part where the next likeliest token was near", async () => {
    expect(tolerances.F16.nearTie).toBe(0.1);
    expect((await prove([9, 9, 9], "one two three")).replies).toEqual([
      { prompt: 0, before: "one two three", after: "one two three" },
    ]);
    const near = await prove([9, 0.05, 9], "one four");
    expect(near.faults).toEqual([]);
    expect(near.replies[0]!.parts).toEqual({ token: 1, margin: expect.closeTo(0.05, 6) });
  });

  it.each([
    ["one four", 2, 0.2],
    ["One", 1, 9],
    ["one", 2, 0.2],
  ])("are at fault where they part elsewhere: %s", async (reply, token, margin) => {
    const { faults } = await prove([9, 0.2, 9], reply);
    expect(faults).toEqual([
      `the greedy reply to prompt 1 is another from token ${token} on, where the checkpoint's was ahead by ${margin.toFixed(4)}; F16 in another turns those within 0.1`,
    ]);
  });

  it("part at a longer token that begins with what was said, where that was the next likeliest", async () => {
    const twofold = (margins: readonly number[], next: readonly string[]) =>
      proveExport({ model: model(margins, next), prompts: ["p"], runtime: saying("one twofold"), type: "F16" });
    const near = await twofold([9, 0.05, 9], ["on", " twofold", " five"]);
    expect(near.faults).toEqual([]);
    expect(near.replies[0]!.parts).toEqual({ token: 1, margin: expect.closeTo(0.05, 6) });
    // What was agreed on is no parting, however near another token was.
    expect((await twofold([0.05, 9, 9], ["on", " t", " five"])).faults.join()).toMatch(/from token 3 on/);
  });

  it("that go on where the checkpoint's ended are not judged: how near that was is not known", async () => {
    const found = await prove([9, 9, 9], "one two three four");
    expect(found.faults).toEqual([]);
    expect(found.replies[0]!.parts).toEqual({ token: 3 });
  });
});

describe("log-probabilities in a program", () => {
  /** Those of three tokens, moved by so much each. */
  const moved = (
    type: keyof typeof tolerances,
    by: readonly (number | undefined)[],
    more: Partial<ExportRuntime> = {},
  ) => {
    const runtime: ExportRuntime = {
      ...saying("one two three"),
      replyLogprobs: async (_, { tokens }) =>
        tokens.map(({ logprob }, i) => (by[i] === undefined ? undefined : logprob - by[i])),
      ...more,
    };
    return proveExport({ model: model([9, 9, 9]), prompts: ["p"], runtime, type });
  };

  it.each(ggufWriteTypes)("%s: may differ by what is allowed, and at no place or in the mean by more", async (type) => {
    const { largest, mean } = tolerances[type];
    expect(Number.isFinite(largest + mean)).toBe(true);
    expect((await moved(type, [0.99 * largest, 0, 0], { rounding: within(largest, largest) })).faults).toEqual([]);
    expect((await moved(type, [0.99 * mean, 0.99 * mean, 0.99 * mean])).faults).toEqual([]);
    for (const by of [
      [1.01 * largest, 0, 0],
      [1.01 * mean, 1.01 * mean, 1.01 * mean],
    ])
      expect((await moved(type, by)).faults.join()).toMatch(`${type} in another allows ${largest} and ${mean}`);
  });

  it.each(ggufWriteTypes)("%s: a reply may part at a near-tie, and nowhere else", async (type) => {
    const near = tolerances[type].nearTie;
    expect(Number.isFinite(near)).toBe(true);
    const parted = (margin: number) =>
      proveExport({ model: model([9, margin, 9]), prompts: ["p"], runtime: saying("one four"), type });
    expect((await parted(0.99 * near)).faults).toEqual([]);
    expect((await parted(1.01 * near)).faults).toEqual([expect.stringContaining("is another from token 2 on")]);
  });

  it("may differ by what the program rounds, where that is more than the weights are", async () => {
    const rounding = within(0.02, 0.005);
    const shifts = [0.004, 0.004, 0.004];
    expect(await moved("F32", shifts, { rounding })).toMatchObject({ faults: [], allowed: rounding });
    expect((await moved("F32", shifts)).faults).toEqual([expect.stringContaining("F32 in another allows 0.001 and")]);
    expect((await moved("F16", shifts, { rounding })).allowed).toEqual(tolerances.F16);
  });

  it("are counted where none is told, and at fault where there is none at all", async () => {
    expect(await moved("F32", [0, undefined, 0])).toMatchObject({ tokens: 2, untold: 1, faults: [] });
    const none = await moved("F32", []);
    expect(none).toMatchObject({ tokens: 0, untold: 3 });
    expect(none.faults).toEqual(["another tells no log-probability of any of the 3 tokens of replies"]);
  });
});

describe("a message that holds the text of a special token", () => {
  // A token a character, and one that ends turns.
  const end = 1000;
  const codec = {
    endIds: new Set([end]),
    encodePrompt: (prompt: Prompt) => [
      ...[...(typeof prompt === "string" ? prompt : prompt[0]!.content)].map((one) => one.codePointAt(0)!),
      end,
    ],
    encode: (text: string) => [...text].map((one) => one.codePointAt(0)!),
    tokenText: (id: number) => (id === end ? "<end>" : String.fromCodePoint(id)),
    decode: (ids: readonly number[]) => ids.map((id) => (id === end ? "<end>" : String.fromCodePoint(id))).join(""),
  } as Partial<TextCodec> as TextCodec;
  const reading = (promptTokens: (prompt: Prompt) => number[]): ExportRuntime => ({
    ...saying("one two three"),
    promptTokens: async (prompt) => promptTokens(prompt),
  });
  const said = "so <end> it";
  const taken = [...codec.encode("so "), end, ...codec.encode(" it"), end];
  const proof = (promptTokens: (prompt: Prompt) => number[], prompts: Prompt[] = ["a", said]) =>
    proveExport({ model: { ...model([9, 9, 9]), text: codec }, prompts, runtime: reading(promptTokens), type: "F16" });

  it("is told apart where another program takes it for the token, and not replayed there", async () => {
    const found = await proof((prompt) => (prompt === said ? taken : codec.encodePrompt(prompt)));
    expect(found).toMatchObject({ prompts: 2, samePrompts: 1, injectable: 1, faults: [] });
    expect(found.replies.map(({ prompt }) => prompt)).toEqual([0]);
  });

  it("is no excuse for another text, nor for a token that nobody said", async () => {
    const other = [...codec.encode("So "), ...taken.slice(3)];
    expect((await proof((prompt) => (prompt === said ? other : codec.encodePrompt(prompt)))).faults).toEqual([
      expect.stringMatching(/prompt 2 becomes other tokens from token 1 on/),
    ]);
    const closed = (prompt: Prompt) => [...codec.encodePrompt(prompt), end];
    expect((await proof(closed)).faults).toEqual([expect.stringMatching(/prompt 1 becomes .*; so do 1 more/)]);
  });
});
