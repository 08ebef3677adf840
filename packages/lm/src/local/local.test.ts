import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyImage } from "@tenet/fixtures";
import { compile, input, sessionCounts } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { decoder, headName, loraFrom, loraShapes, type Projection, projectionShape } from "../decoder/index.ts";
import {
  type Completion,
  type GenerateRequest,
  type LanguageModel,
  logSoftmax,
  type ScoreRequest,
  UsageError,
} from "../language-model/index.ts";
import { PromptLookup } from "./drafts.ts";
import { type LocalAdapter, type LocalFactors, type LocalModel, type LocalOptions, openLocalModel } from "./index.ts";

let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-local-"));
  await writeTinyModel(folder);
  model = await openLocalModel(folder, { device: "cpu", cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

async function generate(from: LanguageModel, requests: GenerateRequest[]): Promise<Completion[]> {
  const found: { request: number; completion: Completion }[] = [];
  for await (const result of from.generate(requests)) found.push(result);
  return found
    .sort((a, b) => a.request - b.request || a.completion.index - b.completion.index)
    .map(({ completion }) => completion);
}

async function scores(from: LanguageModel, requests: ScoreRequest[]): Promise<number[][]> {
  const found: number[][] = [];
  for await (const { request, scores } of from.score(requests)) found[request] = scores.map(({ logprob }) => logprob);
  return found;
}

async function withModel<T>(options: LocalOptions, use: (other: LocalModel) => Promise<T>): Promise<T> {
  const other = await openLocalModel(folder, { device: "cpu", cacheDir: folder, ...options });
  try {
    return await use(other);
  } finally {
    await other.close();
  }
}

/** Log-probabilities of every next token after each token, by the training graph: [tokens][vocabulary]. */
async function trainingLogprobs(tokens: readonly number[], adapter?: LocalAdapter): Promise<Float64Array[]> {
  const { config } = model;
  const targets: Projection[] = ["q_proj", "down_proj"];
  const lora = { rank: 2, alpha: 4, targets };
  const program = await compile(() => {
    const parameters = Object.entries(loraShapes(config, lora)).map(([name, shape]) => [
      name,
      input(name, "float32", shape),
    ]);
    const hidden = decoder(input("tokens", "int32", [1, tokens.length]), {
      config,
      weight: (name) => model.weight(name),
      ...(adapter ? { lora: loraFrom(config, lora, Object.fromEntries(parameters)) } : {}),
    });
    return { logits: hidden.matmul(model.weight(headName(config)), { transB: true }) };
  });
  const factors = [...(adapter?.factors ?? [])].flatMap(([path, { rank, a, b }]) => [
    [`${path}.lora_A.weight`, { data: a, shape: [rank, a.length / rank] }],
    [`${path}.lora_B.weight`, { data: b, shape: [b.length / rank, rank] }],
  ]);
  const { logits } = await program.run({ tokens: Int32Array.from(tokens), ...Object.fromEntries(factors) });
  await program.dispose();
  const width = config.vocab_size;
  return tokens.map((_, i) => logSoftmax((logits.data as Float32Array).subarray(i * width, (i + 1) * width)));
}

function madeAdapter(id: string, seed: number): LocalAdapter {
  const factors = new Map<string, LocalFactors>();
  for (let layer = 0; layer < model.config.num_hidden_layers; layer++)
    for (const [path, name] of [
      [`model.layers.${layer}.self_attn.q_proj`, "q_proj"],
      [`model.layers.${layer}.mlp.down_proj`, "down_proj"],
    ] as const) {
      const [out, width] = projectionShape(model.config, name);
      const draw = (length: number, salt: number) =>
        Float32Array.from({ length }, (_, i) => Math.sin(seed + salt + 1.3 * i + layer) * 0.3);
      factors.set(path, { rank: 2, scale: 2, a: draw(2 * width, 1), b: draw(2 * out, 2) });
    }
  return { id, factors };
}

/** The adapter without its changes of down_proj: graphs of its own. */
function narrowed({ id, factors }: LocalAdapter): LocalAdapter {
  return { id, factors: new Map([...factors].filter(([path]) => path.endsWith("q_proj"))) };
}

const greedy = { temperature: 0, maxTokens: 24, minTokens: 24, logprobs: 0 };

describe("the local model against the training graph", () => {
  it("draws the likeliest token at every step and reports its log-probability", async () => {
    const prompt = "Why is the sky blue?";
    const [completion] = await generate(model, [{ prompt, sampling: greedy }]);
    const drawn = completion!.tokens!.map(({ id }) => id!);
    const start = model.text.encodePrompt(prompt);
    const logprobs = await trainingLogprobs([...start, ...drawn]);
    drawn.forEach((token, i) => {
      const row = logprobs[start.length + i - 1]!.map((x, id) =>
        model.text.endIds.has(id) ? Number.NEGATIVE_INFINITY : x,
      );
      expect(row.indexOf(Math.max(...row)), `token ${i}`).toBe(token);
      expect(completion!.tokens![i]!.logprob).toBeCloseTo(row[token]!, 4);
    });
  });

  it("scores continuations behind long, shared and packed prompts", async () => {
    const header = "The rules are: be kind, be brief, be true. ".repeat(20);
    const requests = ["One.", "Another question, a longer one?", "Third"].map((end) => ({
      prompt: header + end,
      continuations: [" yes", " no", "?", " perhaps, if it rains"],
    }));
    expect(model.text.encode(header).length).toBeGreaterThan(512);
    const together = await scores(model, requests);
    const alone = await scores(model, [requests[1]!]);
    for (const [r, { prompt, continuations }] of requests.entries())
      for (const [c, continuation] of continuations.entries()) {
        const before = model.text.encodePrompt(prompt);
        const tokens = model.text.encode(continuation);
        const logprobs = await trainingLogprobs([...before, ...tokens]);
        const expected = tokens.reduce((sum, token, i) => sum + logprobs[before.length + i - 1]![token]!, 0);
        expect(together[r]![c]).toBeCloseTo(expected, 3);
        if (r === 1) expect(alone[0]![c]).toBeCloseTo(expected, 3);
      }
  });

  it("applies adapters, several at once, without changing the base", async () => {
    const prompt = "Tell me about rivers.";
    const continuations = [" They flow.", " No."];
    const before = await scores(model, [{ prompt, continuations }]);
    for (const adapter of [madeAdapter("one", 1), madeAdapter("two", 50)]) {
      const adapted = await model.withAdapter(adapter);
      const got = await scores(adapted, [{ prompt, continuations }]);
      const start = model.text.encodePrompt(prompt);
      for (const [c, continuation] of continuations.entries()) {
        const tokens = model.text.encode(continuation);
        const logprobs = await trainingLogprobs([...start, ...tokens], adapter);
        const expected = tokens.reduce((sum, token, i) => sum + logprobs[start.length + i - 1]![token]!, 0);
        expect(got[0]![c]).toBeCloseTo(expected, 3);
        expect(Math.abs(got[0]![c]! - before[0]![c]!)).toBeGreaterThan(1e-3);
      }
      await adapted.close();
    }
    expect(await scores(model, [{ prompt, continuations }])).toEqual(before);
  });
});

describe("what must not change results", () => {
  const requests: GenerateRequest[] = [
    "abc abc abc abc abc",
    "Say it again: to be, to be, to be",
    "x",
    "A list: 1, 2, 3",
  ].map((prompt, i) => ({ prompt, key: `${i}`, sampling: { maxTokens: 40, n: 2, seed: 3, stop: ["zq"] } }));

  it("drafts, slots and room for keys and values do not", async () => {
    const expected = (await generate(model, requests)).map(({ text }) => text);
    for (const options of [{ drafts: false }, { slots: 1 }, { slots: 3, drafts: false }, { memoryBudget: 100_000 }])
      expect((await withModel(options, (other) => generate(other, requests))).map(({ text }) => text)).toEqual(
        expected,
      );
  });

  it("prompts of a batch that begin alike do not, whatever else is in the batch", async () => {
    const shown = (subject: string) => `Of ${subject} it is said: be kind, be brief, be true. `.repeat(12);
    const asked = ["rivers", "trees", "the moon"].flatMap((subject) =>
      ["One?", "Another question, a longer one?", "Third"].map((end) => shown(subject) + end),
    );
    // One that is longer than a call, and one that is like no other.
    asked.push(shown("rivers").repeat(3), "x");
    const batch = asked.map((prompt, i): GenerateRequest => {
      const sampling = { temperature: i % 2, seed: i, maxTokens: 16, minTokens: 16, logprobs: 0 };
      return { prompt, key: `${i}`, sampling };
    });
    const together = await generate(model, batch);
    for (const [i, request] of batch.entries()) {
      const [alone] = await generate(model, [request]);
      expect(together[i]!.text, `request ${i}`).toBe(alone!.text);
      together[i]!.tokens!.forEach(({ logprob }, t) => {
        expect(logprob).toBeCloseTo(alone!.tokens![t]!.logprob, 4);
      });
    }
  });

  it("graphs that give way to another adapter's do not, and three stay", async () => {
    const before = sessionCounts();
    const base = await generate(model, requests);
    const adapters = [madeAdapter("one", 1), narrowed(madeAdapter("two", 2)), undefined, madeAdapter("one", 1)];
    const said: Completion[][] = [];
    for (const adapter of adapters) {
      const speaker = await model.withAdapter(adapter);
      said.push(await generate(speaker, requests));
      for (let i = 0; i < 20; i++) await scores(speaker, [{ prompt: "Where?", continuations: ["Here"] }]);
      expect(sessionCounts().open).toBeLessThanOrEqual(3);
    }
    expect(sessionCounts().made - before.made).toBeGreaterThan(6);
    expect(said[2]).toEqual(base);
    expect(said[3]).toEqual(said[0]);
    expect(said[0]).not.toEqual(base);
  });

  it("a prompt computed in pieces does not", async () => {
    const prompt = "Once there was a wise old fox. ".repeat(30);
    const sampling = { temperature: 0, maxTokens: 12, minTokens: 12, logprobs: 0 };
    const [long] = await generate(model, [{ prompt, sampling }]);
    const start = model.text.encodePrompt(prompt);
    const drawn = long!.tokens!.map(({ id }) => id!);
    const logprobs = await trainingLogprobs([...start, ...drawn]);
    drawn.forEach(
      (token, i) => void expect(long!.tokens![i]!.logprob).toBeCloseTo(logprobs[start.length + i - 1]![token]!, 3),
    );
  });
});

describe("limits", () => {
  it("a reply ends with the context, and a prompt that fills it is refused", async () => {
    const room = model.config.max_position_embeddings;
    const prompt = "a".repeat(room - 3);
    const [completion] = await generate(model, [{ prompt, sampling: { maxTokens: 50, minTokens: 50 } }]);
    expect(completion!.finishReason).toBe("length");
    expect(completion!.usage).toEqual({ promptTokens: room - 3, completionTokens: 3 });
    await expect(generate(model, [{ prompt: "a".repeat(room) }])).rejects.toThrow(/context is 2048/);
    await expect(scores(model, [{ prompt, continuations: ["12345"] }])).rejects.toThrow(UsageError);
  });

  it("a call that is stopped stops between two calls of the model, also where every reply ends at its first token", async () => {
    const stopped = new AbortController();
    const requests = Array.from({ length: 64 }, (_, i) => ({
      ...{ prompt: `${i} ${"and so on ".repeat(20)}`, sampling: { maxTokens: 1 } },
    }));
    let count = 0;
    const all = (async () => {
      for await (const _ of model.generate(requests, { signal: stopped.signal })) {
        count++;
        stopped.abort(new Error("enough"));
      }
    })();
    await expect(all).rejects.toThrow("enough");
    expect(count).toBeGreaterThan(0);
    expect(count).toBeLessThan(requests.length / 2);
  });

  it("a row that does not fit the memory budget is refused with both sizes", async () => {
    await withModel({ memoryBudget: 1000 }, async (other) => {
      await expect(generate(other, [{ prompt: "Hello" }])).rejects.toThrow(/takes \d+ bytes .* budget is 1000/);
    });
  });

  it("a prompt that shows an image is refused: a model of text sees none", async () => {
    const prompt = [{ role: "user" as const, content: "What is it?", images: [tinyImage()] }];
    await expect(generate(model, [{ prompt }])).rejects.toThrow("a model of text, which sees none");
    await expect(scores(model, [{ prompt, continuations: ["A cat."] }])).rejects.toThrow("which sees none");
  });

  it("an adapter for another model is refused", async () => {
    const tiny = { rank: 1, scale: 1, a: new Float32Array(1), b: new Float32Array(1) };
    const wrong = {
      id: "wrong",
      factors: new Map([["model.layers.9.mlp.up_proj", tiny]]),
    };
    await expect(model.withAdapter(wrong)).rejects.toThrow(/layers\.9/);
    const short = {
      ...wrong,
      factors: new Map([["model.layers.0.mlp.up_proj", tiny]]),
    };
    await expect(model.withAdapter(short)).rejects.toThrow(/expected 32 and 48 values/);
  });
});

describe("PromptLookup", () => {
  it("goes on as the text went on before, from the latest place and the longest match", () => {
    const lookup = new PromptLookup([1, 2, 3, 4, 9, 2, 3, 5, 7, 2, 3]);
    expect(lookup.guess(2)).toEqual([5, 7]);
    lookup.push(4);
    expect(lookup.guess(3)).toEqual([9, 2, 3]);
    expect(new PromptLookup([1, 2, 3]).guess(4)).toEqual([]);
  });
});
