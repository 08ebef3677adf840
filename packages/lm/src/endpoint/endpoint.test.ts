import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { tinyImage } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FakeServer, fakeServer } from "../../test/conformance/fake-server.ts";
import { CapabilityError, EndpointError, UsageError } from "../language-model/errors.ts";
import { scriptedModel } from "../language-model/scripted.ts";
import type { ModelEvent } from "../language-model/types.ts";
import { endpoint } from "./endpoint.ts";
import { recordingFetch, replayFetch } from "./replay.ts";
import { estimateTokens } from "./wire.ts";

const script = {
  rules: [
    { when: "capital of France", reply: " Paris." },
    { when: "which is better", reply: "A" },
  ],
  fallback: "Something is said here, at some length.",
  choice: { value: (text: string) => (text.includes("kind") ? 1 : 0), positionBias: 0.5 },
};

describe("endpoint", () => {
  let server: FakeServer;
  let hosted: FakeServer;
  let folder: string;
  beforeAll(async () => {
    server = await fakeServer(script);
    hosted = await fakeServer(script, { flavour: "openai", nextTokens: ["A", "B"] });
    folder = await mkdtemp(join(tmpdir(), "tenet-endpoint-"));
  });
  afterAll(async () => {
    await server.close();
    await hosted.close();
    await rm(folder, { recursive: true });
  });

  it("sends each dialect its own names, and off as off", async () => {
    const bodies: Record<string, Record<string, unknown>> = {};
    for (const dialect of ["vllm", "llama.cpp", "openai"] as const) {
      const model = endpoint({ baseUrl: server.url, dialect, body: { user: "tenet" } });
      await first(model.generate([{ prompt: "x", sampling: { stop: ["a", "b", "c", "d", "e"], maxTokens: 3 } }]));
      bodies[dialect] = server.bodies.at(-1)!;
    }
    expect(bodies.vllm).toMatchObject({ top_k: -1, min_p: 0, repetition_penalty: 1, model: "fake", user: "tenet" });
    expect(bodies["llama.cpp"]).toMatchObject({ top_k: 0, min_p: 0, repeat_penalty: 1, max_tokens: 3 });
    expect(bodies.openai).not.toHaveProperty("top_k");
    expect(bodies.openai!.stop).toHaveLength(4);
    expect(bodies.vllm!.stop).toHaveLength(5);
  });

  it("shows images as parts before the text, to every dialect, and texts as they were", async () => {
    const [image, other] = [tinyImage(1), tinyImage(2)];
    const turn = { role: "user" as const, content: "What is it?", images: [image, other] };
    const prompt = [{ role: "system" as const, content: "Look well." }, turn];
    for (const dialect of ["vllm", "llama.cpp", "openai"] as const) {
      await first(endpoint({ baseUrl: server.url, dialect }).generate([{ prompt }]));
      expect(server.bodies.at(-1)!.messages).toEqual([
        { role: "system", content: "Look well." },
        {
          role: "user",
          content: [
            { type: "image_url", image_url: { url: image } },
            { type: "image_url", image_url: { url: other } },
            { type: "text", text: "What is it?" },
          ],
        },
      ]);
    }
    const texts = estimateTokens([prompt[0]!, { role: "user", content: "What is it?" }]);
    expect(estimateTokens(prompt)).toBe(texts + 2 * 576);
  });

  it.each([
    [
      { role: "assistant" as const, content: "So.", images: [tinyImage()] },
      "message 1 of the assistant shows an image",
    ],
    [{ role: "user" as const, content: "So?", images: ["cat.png"] }, "message 1 shows cat.png…: expected a data URL"],
    [{ role: "user" as const, content: "So?", images: ["data:image/svg+xml;base64,PHN2Zy8+"] }, "expected a data URL"],
  ])("an image that is none, or not the user's, is refused before anything is sent", async (turn, message) => {
    const sent = server.bodies.length;
    const model = endpoint({ baseUrl: server.url, dialect: "vllm" });
    const prompt = [{ role: "user" as const, content: "Hello" }, turn];
    await expect(first(model.generate([{ prompt }]))).rejects.toThrow(message);
    expect(server.bodies).toHaveLength(sent);
  });

  it("continues the assistant's turn where the server can, and says so where it cannot", async () => {
    const prompt = [
      { role: "user" as const, content: "Hello" },
      { role: "assistant" as const, content: "Well," },
    ];
    await first(endpoint({ baseUrl: server.url, dialect: "vllm" }).generate([{ prompt }]));
    expect(server.bodies.at(-1)).toMatchObject({ continue_final_message: true, add_generation_prompt: false });
    const plain = endpoint({ baseUrl: server.url, dialect: "openai" });
    await expect(first(plain.generate([{ prompt }]))).rejects.toBeInstanceOf(CapabilityError);
  });

  it("counts a call's several samples once", async () => {
    const model = endpoint({ baseUrl: server.url, samplesPerCall: "all", price: { prompt: 2, completion: 10 } });
    const results = await all(model.generate([{ prompt: "x y z", sampling: { n: 3, maxTokens: 5 } }]));
    expect(results).toHaveLength(3);
    const usage = model.usage();
    expect(usage).toMatchObject({ promptTokens: 3, completionTokens: 15, completions: 3 });
    expect(results.reduce((sum, { completion }) => sum + completion.usage.promptTokens, 0)).toBe(3);
    expect(usage.costUsd).toBeCloseTo((3 * 2 + 15 * 10) / 1e6, 12);
  });

  it("scores what the scripted model behind it scores", async () => {
    const requests = [{ prompt: "The capital of France is", continuations: [" Paris", " Rome, they say"] }];
    const here = await first(scriptedModel(script).score(requests));
    const there = await first(endpoint({ baseUrl: server.url }).score(requests));
    there.scores.forEach((score, i) => {
      expect(score.logprob).toBeCloseTo(here.scores[i]!.logprob, 9);
      expect(score.tokens).toEqual(here.scores[i]!.tokens);
    });
  });

  it("scores options by the likeliest tokens, and conversations as raw text where it may", async () => {
    const question = "which is better?\n(A) a kind word\n(B) a blow\nThe answer is:";
    const chat = [{ role: "user" as const, content: question }];
    const model = endpoint({ baseUrl: hosted.url, model: "fake" });
    const { scores } = await first(model.score([{ prompt: chat, continuations: ["A", "B", "C"] }]));
    expect(scores[0]!.logprob - scores[1]!.logprob).toBeCloseTo(1.5, 9);
    expect(scores[2]).toMatchObject({ upperBound: true });
    await expect(first(model.score([{ prompt: chat, continuations: ["A thing"] }]))).rejects.toThrow(
      "more than one token",
    );

    const rendered = endpoint({ baseUrl: server.url }, { chatFormat: (messages) => `${messages[0]!.content}` });
    expect((await rendered.capabilities()).score.chat).toBe("continuations");
    const exact = await first(rendered.score([{ prompt: chat, continuations: [" A", " B"] }]));
    expect(exact.scores.every(({ upperBound }) => upperBound === undefined)).toBe(true);
    const shown = [{ ...chat[0]!, images: [tinyImage()] }];
    const blind = first(rendered.score([{ prompt: shown, continuations: [" A", " B"] }]));
    await expect(blind).rejects.toThrow(UsageError);
    await expect(blind).rejects.toThrow("the text that chatFormat makes of it, which shows none");
  });

  it("needs the model's name where there are several, and where the list cannot be had", async () => {
    const two: typeof fetch = async () => Response.json({ data: [{ id: "a" }, { id: "b" }] });
    await expect(
      first(endpoint({ baseUrl: "http://x/v1" }, { fetch: two }).generate([{ prompt: "x" }])),
    ).rejects.toThrow("serves 2 models; name one with 'model': a, b");
    const none: typeof fetch = async (input, init) =>
      String(input).endsWith("/models") ? new Response("no", { status: 404 }) : fetch(input, init);
    const named = endpoint({ baseUrl: server.url, model: "m" }, { fetch: none });
    expect((await first(named.generate([{ prompt: "x" }]))).completion.text).not.toBe("");
  });

  it("refuses settings that are wrong, by name", () => {
    expect(() => endpoint({ baseUrl: "ftp://x" })).toThrow(UsageError);
    expect(() => endpoint({ baseUrl: "http://me:secret@x/v1" })).toThrow(/apiKeyVariable/);
    expect(() => endpoint({ baseUrl: "http://x/v1", concurency: 3 } as never)).toThrow(/concurency/);
    expect(() => endpoint({ baseUrl: "http://x/v1", budget: { usd: 5 } })).toThrow(/budget\.usd needs a price/);
    expect(() => endpoint({ baseUrl: "http://x/v1", apiKeyVariable: "NOT_SET" }, { environment: {} })).toThrow(
      "NOT_SET",
    );
  });

  it("sends the key, and lets it into no error, event, id or recording", async () => {
    const key = 'sk-"secret"-0123456789';
    const file = join(folder, "secret.jsonl");
    const sent: (string | null)[] = [];
    // A server that gives the key away in everything it says.
    const telltale: typeof fetch = async (_, init) => {
      const authorization = new Headers(init?.headers).get("authorization");
      sent.push(authorization);
      const status = sent.length < 3 ? 500 : 401;
      return Response.json(
        { error: { message: `bad key ${authorization}` }, key },
        { status, headers: { "x-key": "k" } },
      );
    };
    const model = endpoint(
      { baseUrl: "http://x/v1", model: "m", dialect: "openai", apiKeyVariable: "KEY", retries: { baseSeconds: 0 } },
      { fetch: recordingFetch(file, { fetch: telltale }), environment: { KEY: key } },
    );
    const events: ModelEvent[] = [];
    const error = await first(model.generate([{ prompt: "x" }], { onEvent: (event) => void events.push(event) })).catch(
      (reason) => reason,
    );
    expect(sent).toEqual(Array(3).fill(`Bearer ${key}`));
    expect(error).toBeInstanceOf(EndpointError);
    expect(error.status).toBe(401);
    expect(events).toHaveLength(2);
    const shown = [
      error.message,
      error.stack,
      JSON.stringify(error),
      String(error.cause),
      JSON.stringify(events),
      model.id,
    ];
    shown.push(await readFile(file, "utf8"));
    for (const text of shown) expect(text).not.toContain("secret");
    expect(shown.at(-1)).toContain("bad key Bearer ***");
  });

  it("sends no authorization where no key is configured", async () => {
    await first(endpoint({ baseUrl: server.url }).generate([{ prompt: "x" }]));
    expect(server.headers.at(-1)).not.toHaveProperty("authorization");
  });

  it("replays a recording without a network, and says what is missing", async () => {
    const file = join(folder, "session.jsonl");
    const requests = [
      { prompt: "The capital of France is", sampling: { n: 2, seed: 4 } },
      { prompt: [{ role: "user" as const, content: "Hello" }], sampling: { maxTokens: 3 } },
    ];
    const byPlace = (results: Awaited<ReturnType<typeof all>>) =>
      JSON.stringify(results.map((r) => JSON.stringify(r)).sort());
    const live = endpoint({ baseUrl: server.url }, { fetch: recordingFetch(file) });
    const recorded = byPlace(await all(live.generate(requests)));
    const replayed = endpoint({ baseUrl: "http://elsewhere.invalid/v1" }, { fetch: replayFetch(file) });
    expect(byPlace(await all(replayed.generate(requests)))).toBe(recorded);
    expect(replayed.usage()).toEqual(live.usage());

    const miss = await first(replayed.generate([{ prompt: "Something else" }])).catch((reason) => reason);
    expect(miss).toMatchObject({ fault: "replay-miss" });
    expect(miss.message).toMatch(/no recorded reply to POST \/v1\/completions .*session\.jsonl.*Something else/);
    expect(replayed.usage().failedAttempts).toBe(1);
  });
});

async function all<T>(results: AsyncIterable<T>): Promise<T[]> {
  const list: T[] = [];
  for await (const result of results) list.push(result);
  return list;
}

async function first<T>(results: AsyncIterable<T>): Promise<T> {
  return (await all(results))[0]!;
}
