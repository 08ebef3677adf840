import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { projectionShape } from "../decoder/index.ts";
import type { Completion, GenerateRequest, SamplingOptions } from "../language-model/index.ts";
import { type LocalAdapter, type LocalModel, type LocalOptions, openLocalModel } from "./index.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-block-"));
});

afterAll(() => rm(folder, { recursive: true }));

async function generate(from: LocalModel, requests: readonly GenerateRequest[]): Promise<Completion[]> {
  const found: { request: number; completion: Completion }[] = [];
  for await (const result of from.generate(requests)) found.push(result);
  return found
    .sort((a, b) => a.request - b.request || a.completion.index - b.completion.index)
    .map(({ completion }) => completion);
}

/** Two tellings of the same: texts and ends are equal, log-probabilities nearly. */
function expectSame(got: readonly Completion[], expected: readonly Completion[]): void {
  expect(got.length).toBe(expected.length);
  got.forEach((one, i) => {
    const other = expected[i]!;
    expect(one.text).toBe(other.text);
    expect(one.finishReason).toBe(other.finishReason);
    expect(one.usage).toEqual(other.usage);
    expect(one.tokens?.map(({ id }) => id)).toEqual(other.tokens?.map(({ id }) => id));
    one.tokens?.forEach(({ logprob, top }, t) => {
      expect(Math.abs(logprob - other.tokens![t]!.logprob)).toBeLessThan(1e-5);
      expect(top.length).toBe(other.tokens![t]!.top.length);
    });
  });
}

const prompts = [
  "abc abc abc abc abc",
  "Say it again: to be, to be, to be",
  "x",
  "A list: 1, 2, 3, and so on until there are twenty of them",
  "Why?",
];

const samplings: Record<string, Partial<SamplingOptions>> = {
  greedy: { temperature: 0 },
  "at temperature 1": {},
  "at a temperature of 0.7": { temperature: 0.7 },
  "in a nucleus": { topP: 0.9 },
  "among the likeliest": { topK: 7, temperature: 1.3 },
  "by least share": { minP: 0.1 },
  "by all filters": { topK: 40, topP: 0.8, minP: 0.02, temperature: 0.9 },
  "with what ends barred": { minTokens: 30 },
  "until a stop": { stop: ["e", "q"] },
};

function requestsOf(sampling: Partial<SamplingOptions>, more: Partial<SamplingOptions> = {}): GenerateRequest[] {
  return prompts.map((prompt, i) => ({
    prompt,
    key: `${i}`,
    // Replies end at different steps.
    sampling: { maxTokens: 17 + 11 * i, n: 2, seed: 3, ...(sampling.temperature ? {} : { logprobs: 0 }), ...sampling, ...more }, // biome-ignore format: one value
  }));
}

async function compare(
  path: string,
  requests: readonly GenerateRequest[],
  options: LocalOptions = {},
  speaker: (model: LocalModel) => Promise<LocalModel> = async (model) => model,
): Promise<Completion[]> {
  const told: Completion[][] = [];
  const steps: number[] = [];
  for (const stepsPerCall of [1, 16]) {
    const model = await openLocalModel(path, { device: "cpu", cacheDir: folder, drafts: false, ...options, stepsPerCall });
    const one = await speaker(model);
    told.push(await generate(one, requests));
    steps.push(one.statistics().steps);
    await model.close();
  }
  expectSame(told[1]!, told[0]!);
  expect(steps[1]!).toBeLessThan(steps[0]! / 2);
  return told[1]!;
}

describe("several steps in one call give what steps of one give", () => {
  let path: string;
  beforeAll(async () => {
    path = await writeTinyModel(join(folder, "model"));
  });

  it.each(Object.keys(samplings))("%s", async (name) => {
    await compare(path, requestsOf(samplings[name]!));
  });

  it("with rows that take the places of those that ended, in a cache that grows", async () => {
    await compare(path, requestsOf({ maxTokens: 90 }), { slots: 3 });
  });
});
