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
    one.tokens?.forEach(({ logprob }, t) => {
      expect(Math.abs(logprob - other.tokens![t]!.logprob)).toBeLessThan(1e-5);
    });
  });
}

/**
 * Of matrices of fewer bits rows are rounded too, and a last digit may round another way: most replies are equal, and while they are, so are
 * their log-probabilities but for such steps.
 */
function expectAlike(got: readonly Completion[], expected: readonly Completion[]): void {
  const same = got.filter(({ text }, i) => text === expected[i]!.text);
  expect(same.length).toBeGreaterThan(got.length / 2);
  const distances = got.flatMap(
    ({ text, tokens = [] }, i) =>
    text === expected[i]!.text ? tokens.map(({ logprob }, t) => Math.abs(logprob - expected[i]!.tokens![t]!.logprob)) : [], // biome-ignore format: one choice
  );
  expect(Math.max(...distances)).toBeLessThan(0.3);
  expect(distances.reduce((a, b) => a + b, 0) / distances.length).toBeLessThan(0.02);
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

/** Decodes step by step and by blocks, holds one against the other, and gives what was said and how many calls the blocks took. */
async function compare(
  path: string,
  requests: readonly GenerateRequest[],
  options: LocalOptions = {},
  speaker: (model: LocalModel) => Promise<LocalModel> = async (model) => model,
): Promise<{ said: Completion[]; calls: { steps: number; blocks: number } }> {
  const told: Completion[][] = [];
  const calls: number[] = [];
  for (const stepsPerCall of [1, 16]) {
    const model = await openLocalModel(path, {
      device: "cpu",
      cacheDir: folder,
      drafts: false,
      ...options,
      stepsPerCall,
    });
    const one = await speaker(model);
    told.push(await generate(one, requests));
    calls.push(one.statistics().steps);
    await model.close();
  }
  if ((options.weights ?? "float32") === "float32") expectSame(told[1]!, told[0]!);
  else expectAlike(told[1]!, told[0]!);
  return { said: told[1]!, calls: { steps: calls[0]!, blocks: calls[1]! } };
}

/** LoRA factors of two modules a layer. */
function adapterOf({ config }: LocalModel, seed: number): LocalAdapter {
  const modules = Array.from({ length: config.num_hidden_layers }, (_, layer) => [
    [`model.layers.${layer}.self_attn.q_proj`, "q_proj"] as const,
    [`model.layers.${layer}.mlp.down_proj`, "down_proj"] as const,
  ]).flat();
  const factors = modules.map(([path, name], m) => {
    const [out, width] = projectionShape(config, name);
    const draw = (length: number, salt: number) =>
      Float32Array.from({ length }, (_, i) => Math.sin(seed + salt + m + 1.3 * i) * 0.1);
    return [path, { rank: 2, scale: 1 + m, a: draw(2 * width, 1), b: draw(2 * out, 2) }] as const;
  });
  return { id: `${seed}`, factors: new Map(factors) };
}

describe("several steps in one call give what steps of one give", () => {
  let path: string;
  beforeAll(async () => {
    path = await writeTinyModel(join(folder, "model"));
  });

  it.each(Object.keys(samplings))("%s", async (name) => {
    const { calls } = await compare(path, requestsOf(samplings[name]!));
    expect(calls.blocks).toBeLessThan(calls.steps / 4);
  });

  it("with rows that take the places of those that ended, in a cache that grows", async () => {
    const { calls } = await compare(path, requestsOf({ maxTokens: 90 }), { slots: 3 });
    expect(calls.blocks).toBeLessThan(calls.steps / 4);
  });

  it("behind a beginning that all prompts share", async () => {
    const shared = "The rules are: be kind, be brief, be true. ".repeat(3);
    const requests = requestsOf({}).map((request) => ({ ...request, prompt: `${shared}${request.prompt}` }));
    await compare(path, requests);
  });

  it("under an adapter, and with matrices of fewer bits", async () => {
    const base = await compare(path, requestsOf({}));
    const adapted = await compare(path, requestsOf({}), {}, (model) => model.withAdapter(adapterOf(model, 1)));
    expect(adapted.said.map(({ text }) => text)).not.toEqual(base.said.map(({ text }) => text));
    for (const weights of ["int8", "int4"] as const)
      await compare(path, requestsOf({}), { weights }, (model) => model.withAdapter(adapterOf(model, 2)));
  });

  it("and what a block cannot draw is decoded step by step", async () => {
    for (const sampling of [{ repetitionPenalty: 1.2 }, { logprobs: 3 }]) {
      const { calls } = await compare(path, requestsOf(sampling));
      expect(calls.blocks).toBe(calls.steps);
    }
    // One row of another kind takes all with it for as long as it is there.
    const mixed = requestsOf({}).map((request, i) =>
      i === 0 ? { ...request, sampling: { ...request.sampling, repetitionPenalty: 1.5 } } : request,
    );
    await compare(path, mixed);
  });

  it("where most draws are none that a block can tell, blocks are seldom tried", async () => {
    // A nucleus wider than the likeliest tokens that a block looks at.
    const wide = await writeTinyModel(join(folder, "wide"), { config: { vocab_size: 4000 } });
    const { calls } = await compare(wide, requestsOf({ temperature: 50, topP: 0.9, maxTokens: 60, minTokens: 60 }));
    expect(calls.blocks).toBeGreaterThan(calls.steps);
    expect(calls.blocks).toBeLessThan(1.25 * calls.steps);
  });

  it("a reply is the same whoever is decoded beside it, so that work taken up again gives what it would have given", async () => {
    const requests = requestsOf({ topP: 0.95, logprobs: 0 });
    const model = await openLocalModel(path, { device: "cpu", cacheDir: folder, stepsPerCall: 16 });
    const all = await generate(model, requests);
    const rest = await generate(model, requests.slice(3));
    expectSame(rest, all.slice(2 * 3));
    await model.close();
  });

  it("a block ends with its longest reply, and earlier where all have ended", async () => {
    const requests = requestsOf({ stop: [] }).slice(0, 1);
    const { said, calls } = await compare(path, requests);
    expect(calls.blocks).toBeLessThanOrEqual(2);
    expect(said.every(({ usage }) => usage.completionTokens <= 17)).toBe(true);
  });

  it("a number of steps that is none is refused", async () => {
    for (const stepsPerCall of [0, 2.5])
      await expect(openLocalModel(path, { device: "cpu", stepsPerCall })).rejects.toThrow(
        /stepsPerCall: expected a whole/,
      );
  });
});

describe("of every family of models", () => {
  const families: Record<string, Record<string, unknown>> = {
    "llama with biases": { attention_bias: true, mlp_bias: true },
    "linear positions": { rope_parameters: { rope_type: "linear", factor: 2, rope_theta: 10000 } },
    "positions as of Llama 3": {
      rope_parameters: { rope_type: "llama3", factor: 8, low_freq_factor: 1, high_freq_factor: 4, original_max_position_embeddings: 64, rope_theta: 10000 }, // biome-ignore format: one value
    },
    "one table for words": { tie_word_embeddings: true },
    mistral: { model_type: "mistral", architectures: ["MistralForCausalLM"], sliding_window: 12 },
    qwen2: { model_type: "qwen2", architectures: ["Qwen2ForCausalLM"], use_sliding_window: true, sliding_window: 9, max_window_layers: 1 }, // biome-ignore format: one value
    qwen3: { model_type: "qwen3", architectures: ["Qwen3ForCausalLM"] },
  };
  it.each(Object.keys(families))("%s", async (name) => {
    const path = await writeTinyModel(join(folder, name), { config: families[name]! });
    await compare(path, requestsOf({ topP: 0.95 }));
    const shared = "Here is what they all begin with. ";
    await compare(path, requestsOf({ temperature: 0 }).map((one) => ({ ...one, prompt: `${shared}${one.prompt}` }))); // biome-ignore format: one call
  });
});
