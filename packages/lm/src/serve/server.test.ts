import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { numbersFrom, oddBody } from "../../test/odd-bodies.ts";
import { writeTinyModel } from "../../test/tiny-model.ts";
import { endpoint } from "../endpoint/index.ts";
import { type LanguageModel, type ScoreResult, scriptedModel, UsageError } from "../language-model/index.ts";
import { type LocalModel, openLocalModel } from "../local/index.ts";
import { type RunningServer, serve } from "./index.ts";

let folder: string;
let model: LocalModel;
let server: RunningServer;
let client: OpenAI;
const errors: unknown[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-server-"));
  model = await openLocalModel(await writeTinyModel(folder), { device: "cpu", cacheDir: folder });
  const models = new Map<string, LanguageModel>([
    ["tiny", model.live({ context: 512 })],
    ["other", (await model.withAdapter()).live()],
  ]);
  server = await serve({ models, bodyBytes: 20_000, calls: 64, onError: (error) => errors.push(error) });
  client = new OpenAI({ baseURL: server.url, apiKey: "none", maxRetries: 0, logLevel: "off" });
});
afterAll(async () => {
  await server?.close();
  await model?.close();
  await rm(folder, { recursive: true });
});

const messages = [{ role: "user" as const, content: "Tell me a story" }];
const base = { model: "tiny", messages, max_tokens: 8, seed: 3 };

/** Raw HTTP, for what a client would not send. */
function call(
  path: string,
  {
    body = "",
    headers = {},
    method = "POST",
  }: { body?: string; headers?: Record<string, string>; method?: string } = {},
) {
  return new Promise<{ status: number; json: { error?: Record<string, unknown> } & Record<string, unknown> }>(
    (resolve, reject) => {
      const sent = httpRequest(server.url.replace(/\/v1$/, path), { method, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece) => {
          text += piece;
        });
        response.on("end", () => resolve({ status: response.statusCode!, json: JSON.parse(text) }));
      });
      sent.on("error", reject);
      sent.end(body);
    },
  );
}

it.each([
  ["/v1/models/%E0%A4%A", /no encoded text/],
  ["//", /is no address/],
])("an address that says nothing, %s, is the caller's fault", async (path, message) => {
  const { status, json } = await call(path, { method: "GET" });
  expect([status, json.error?.message]).toEqual([400, expect.stringMatching(message)]);
});

describe("OpenAI's client", () => {
  it("finds the models", async () => {
    const list = await client.models.list();
    expect(list.data.map(({ id }) => id)).toEqual(["tiny", "other"]);
    expect((await client.models.retrieve("other")).owned_by).toBe("tenet");
    await expect(client.models.retrieve("none")).rejects.toMatchObject({ status: 404, code: "model_not_found" });
  });

  it("holds a conversation, with usage and log-probabilities, and gets the same for the same seed", async () => {
    const reply = await client.chat.completions.create({ ...base, logprobs: true, top_logprobs: 2, n: 2 });
    const again = await client.chat.completions.create({ ...base, n: 2 });
    expect(reply.object).toBe("chat.completion");
    expect(reply.choices.map(({ index }) => index)).toEqual([0, 1]);
    expect(again.choices.map(({ message }) => message)).toEqual(reply.choices.map(({ message }) => message));
    const [{ message, finish_reason, logprobs }] = reply.choices as [OpenAI.ChatCompletion.Choice];
    expect(finish_reason).toMatch(/^(length|stop)$/);
    expect(logprobs!.content!.map(({ token }) => token).join("")).toBe(message.content);
    for (const { top_logprobs } of logprobs!.content!) expect(top_logprobs).toHaveLength(2);
    const { prompt_tokens, completion_tokens, total_tokens } = reply.usage!;
    expect(prompt_tokens).toBe(model.text.encodePrompt(messages).length);
    expect(total_tokens).toBe(prompt_tokens + completion_tokens);
  });

  it("streams what it would get whole", async () => {
    const whole = await client.chat.completions.create(base);
    const stream = await client.chat.completions.create({
      ...{ ...base, stream: true as const, logprobs: true },
      stream_options: { include_usage: true },
    });
    let text = "";
    let tokens = "";
    let reason: string | null = null;
    let usage: unknown;
    const roles: unknown[] = [];
    for await (const { choices, usage: counted } of stream) {
      const [choice] = choices;
      text += choice?.delta.content ?? "";
      tokens += (choice?.logprobs?.content ?? []).map(({ token }) => token).join("");
      if (choice?.delta.role) roles.push(choice.delta.role);
      reason = choice?.finish_reason ?? reason;
      usage = counted ?? usage;
    }
    expect({ text, reason, usage }).toEqual({
      text: whole.choices[0]!.message.content,
      reason: whole.choices[0]!.finish_reason,
      usage: whole.usage,
    });
    expect(tokens).toBe(text);
    expect(roles).toEqual(["assistant"]);
  });

  it("continues raw texts, several at once, and stops at stops", async () => {
    const { choices } = await client.completions.create({
      ...{ model: "tiny", prompt: ["Once", "Twice"], max_tokens: 12, seed: 1, temperature: 0, n: 2 },
    });
    expect(choices.map(({ index }) => index)).toEqual([0, 1, 2, 3]);
    const [first] = choices;
    const stop = first!.text.slice(3, 4);
    const stopped = await client.completions.create({
      ...{ model: "tiny", prompt: "Once", max_tokens: 12, temperature: 0, stop },
    });
    expect(stopped.choices[0]).toMatchObject({
      text: first!.text.slice(0, first!.text.indexOf(stop)),
      finish_reason: "stop",
    });
  });

  const base0 = { model: "tiny", temperature: 0 };

  it("echoes a text with the log-probabilities that scoring gives, and the likeliest", async () => {
    const text = "Hello you";
    const { choices } = await client.completions.create({
      model: "tiny",
      prompt: text,
      echo: true,
      logprobs: 1,
      max_tokens: 1,
    });
    const { tokens, token_logprobs: told, text_offset: offsets, top_logprobs: top } = choices[0]!.logprobs!;
    // As harnesses read it that ask whether a text is what the model itself would say: of every token but the first.
    expect(top![0]).toBeNull();
    for (const [i, token] of tokens!.slice(1, 9).entries()) {
      const found = top![i + 1]!;
      expect(found[token]).toBe(told![i + 1]);
      expect(Math.max(...Object.values(found))).toBeGreaterThanOrEqual(told![i + 1]!);
    }
    const { choices: said } = await client.completions.create({ ...base0, prompt: "Hello", max_tokens: 1 });
    const { choices: again } = await client.completions.create({
      ...{ ...base0, prompt: `Hello${said[0]!.text}x`, max_tokens: 1, echo: true, logprobs: 1 },
    });
    const { token_logprobs: own, top_logprobs: best } = again[0]!.logprobs!;
    expect(Math.max(...Object.values(best![5]!))).toBe(own![5]);
    expect(tokens!.slice(0, 9).join("")).toBe(text);
    expect(told![0]).toBeNull();
    expect(offsets!.slice(0, 3)).toEqual([0, 1, 2]);
    for await (const { scores } of model.score([{ prompt: "H", continuations: ["ello you"] }]))
      told!.slice(1, 9).forEach((logprob, i) => void expect(logprob).toBeCloseTo(scores[0]!.tokenLogprobs[i]!, 4));
  });

  it("takes token ids for the text that they are of, one or several, whole and streamed", async () => {
    const texts = ["Once upon a time", "Füße"];
    const ids = texts.map((text) => model.text.encode(text));
    const greedy = { ...base0, max_tokens: 8, logprobs: 2 };
    const said = await client.completions.create({ ...greedy, prompt: texts });
    const again = await client.completions.create({ ...greedy, prompt: ids });
    expect({ ...again, id: "", created: 0 }).toEqual({ ...said, id: "", created: 0 });
    const one = await client.completions.create({ ...greedy, prompt: ids[1]! });
    expect(one.choices[0]!.text).toBe(said.choices[1]!.text);
    let streamed = "";
    for await (const { choices } of await client.completions.create({ ...greedy, prompt: ids[1]!, stream: true }))
      streamed += choices[0]?.text ?? "";
    expect(streamed).toBe(said.choices[1]!.text);
  });

  it("echoes token ids as it echoes their text, also such as no text gives", async () => {
    const echo = { ...base0, max_tokens: 1, echo: true, logprobs: 1 };
    const text = "Hello you";
    const said = await client.completions.create({ ...echo, prompt: text });
    const again = await client.completions.create({ ...echo, prompt: [model.text.encode(text)] });
    expect({ ...again, id: "", created: 0 }).toEqual({ ...said, id: "", created: 0 });

    const turn = [257, ...model.text.encode("user"), 258];
    const { choices } = await client.completions.create({ ...echo, prompt: turn });
    const { tokens, token_logprobs: told } = choices[0]!.logprobs!;
    expect(choices[0]!.text.startsWith("<|im_start|>user<|im_end|>")).toBe(true);
    expect(tokens!.slice(0, 6)).toEqual(["<|im_start|>", ..."user", "<|im_end|>"]);
    const [first, ...rest] = turn as [number];
    const request = { prompt: { tokens: [first] }, continuations: [{ tokens: rest }] };
    for await (const { scores } of model.score([request]))
      expect(told!.slice(0, 6)).toEqual([null, ...scores[0]!.tokenLogprobs]);
    const plain = await client.completions.create({ ...base0, prompt: turn, max_tokens: 1, echo: true });
    expect(plain.choices[0]).toMatchObject({ text: choices[0]!.text, logprobs: null });
  });

  it("is told where characters of several tokens stand, by which others score behind them", async () => {
    const { choices } = await client.completions.create({
      ...{ ...base0, prompt: "éa日b", max_tokens: 1, echo: true, logprobs: 0 },
    });
    expect(choices[0]!.logprobs!.text_offset).toEqual([0, 0, 1, 2, 2, 2, 3, 4]);
    const behind = ["aé", "éa", "日本", "abc"].map((prompt) => ({ prompt, continuations: ["xy"] }));
    const logprobs = async (from: LanguageModel) => {
      const results: ScoreResult[] = [];
      for await (const result of from.score(behind)) results.push(result);
      return results.toSorted((a, b) => a.request - b.request).map(({ scores }) => scores[0]!.logprob);
    };
    const far = endpoint({ baseUrl: server.url, model: "tiny" });
    const own = await logprobs(model);
    (await logprobs(far)).forEach((logprob, i) => void expect(logprob).toBeCloseTo(own[i]!, 4));
    await far.close();
  });

  it("is told of a token behind every echo, also where the reply ends at once", async () => {
    const text = "Hello you";
    const ended = new Set<boolean>();
    for (let seed = 0; seed < 60 && ended.size < 2; seed++) {
      const { choices } = await client.completions.create({
        ...{ model: "tiny", prompt: text, echo: true, logprobs: 1, max_tokens: 1, temperature: 2, seed },
      });
      const { finish_reason, text: said, logprobs } = choices[0]!;
      ended.add(finish_reason === "stop");
      // Harnesses score the text by all tokens but the last.
      expect(logprobs!.tokens).toHaveLength(10);
      expect(logprobs!.token_logprobs!.slice(1, 9)).not.toContain(null);
      expect(said).toBe(finish_reason === "stop" ? text : logprobs!.tokens!.join(""));
    }
    expect(ended.size).toBe(2);
  });

  it("gets 64 streams at once, each its own reply", async () => {
    const length = { max_tokens: 32, ...{ min_tokens: 32 } };
    const ask = async (seed: number) => {
      const stream = await client.chat.completions.create({ ...base, ...length, seed, stream: true });
      let text = "";
      for await (const { choices } of stream) text += choices[0]?.delta.content ?? "";
      return text;
    };
    const before = model.statistics();
    const together = await Promise.all(Array.from({ length: 64 }, (_, seed) => ask(seed)));
    const after = model.statistics();
    // One behind the other they would take a step for every token, or nearly: the first of each reply is its prompt's.
    expect(after.tokens - before.tokens).toBe(64 * 31);
    expect(after.steps - before.steps).toBeLessThan((64 * 31) / 8);
    expect(new Set(together).size).toBeGreaterThan(32);
    for (const seed of [0, 31, 63]) expect(await ask(seed)).toBe(together[seed]);
    expect(server.calls()).toBe(0);
  });

  it("gets its own reply behind many that ask the same", async () => {
    const greedy = { model: "tiny", max_tokens: 6, temperature: 0 };
    const many = "How do I boil an egg without a pan, a stove or any water?";
    const stranger = "How do I boil an egg at all?";
    const alone = await client.completions.create({ ...greedy, prompt: stranger });
    const { choices } = await client.completions.create({ ...greedy, prompt: [...Array(80).fill(many), stranger] });
    expect(choices.at(-1)!.text).toBe(alone.choices[0]!.text);
    expect(new Set(choices.slice(0, -1).map(({ text }) => text)).size).toBe(1);
  });

  it("gets another reply to each of equal prompts where it names no seed, and the same where it does", async () => {
    const same = { model: "tiny", max_tokens: 12, temperature: 1, prompt: Array(6).fill("Once") };
    const texts = async (more: object) => {
      const { choices } = await client.completions.create({ ...same, ...more, stream: false });
      return new Set(choices.map(({ text }) => text)).size;
    };
    expect(await texts({})).toBeGreaterThan(1);
    expect(await texts({ seed: 4 })).toBe(1);
  });

  it("is streamed to while many others want a token each", async () => {
    const stream = await client.chat.completions.create({
      ...base,
      max_tokens: 300,
      stream: true,
      ...{ min_tokens: 300 },
    });
    let pieces = 0;
    const read = (async () => {
      for await (const _ of stream) pieces++;
    })();
    await expect.poll(() => pieces).toBeGreaterThan(0);
    const before = pieces;
    const prompt = Array.from({ length: 200 }, (_, i) => `${i} bottles on the wall`);
    await client.completions.create({ model: "tiny", prompt, max_tokens: 1 });
    expect(pieces - before).toBeGreaterThan(5);
    await read;
  });

  it("may be as cold as numbers allow, and nobody else is hurt", async () => {
    const asked = [1e-310, 1e-40, 0, 1].map((temperature) =>
      client.chat.completions.create({ ...base, temperature, logprobs: true }),
    );
    const [least, little, none] = (await Promise.all(asked)).map(({ choices }) => choices[0]!.message.content);
    expect([least, little]).toEqual([none, none]);
    const filtered = await client.chat.completions.create({ ...base, temperature: 1e-310, top_p: 0.5 });
    expect(filtered.choices[0]!.message.content).toBe(none);
  });

  it("works beside another model under way", async () => {
    const both = await Promise.all(
      ["tiny", "other"].map((name) => client.chat.completions.create({ ...base, model: name })),
    );
    expect(both[0]!.choices[0]!.message).toEqual(both[1]!.choices[0]!.message);
  });
});

describe("callers that go away", () => {
  it("end their own work and no other's", async () => {
    const aborter = new AbortController();
    const long = { ...base, max_tokens: 400, min_tokens: 400, stream: true as const };
    const stream = await client.chat.completions.create(long, { signal: aborter.signal });
    const other = client.chat.completions.create({ ...base, seed: 9 });
    for await (const _ of stream) break;
    aborter.abort();
    const { choices } = await other;
    expect(choices[0]!.message.content).not.toBe("");
    await expect.poll(() => server.calls(), { timeout: 10_000 }).toBe(0);
    const { completionTokens } = model.usage();
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(model.usage().completionTokens).toBe(completionTokens);
  });

  it("may be slow to read, or cut the connection in the middle of a request", async () => {
    const { port } = new URL(server.url);
    const body = JSON.stringify({ ...base, stream: true });
    const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: ${body.length}\r\n\r\n`;
    for (let i = 0; i < 20; i++) {
      const socket = connect(Number(port), "127.0.0.1");
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(i % 2 === 0 ? head + body.slice(0, 20) : head + body);
      if (i % 4 === 3) socket.pause();
      else socket.destroy();
    }
    await expect.poll(() => server.calls(), { timeout: 20_000 }).toBe(0);
    expect((await client.chat.completions.create(base)).choices).toHaveLength(1);
  });
});

describe("what is refused, in OpenAI's form", () => {
  const json = (body: unknown) => JSON.stringify(body);
  it.each<[string, string, string, number, RegExp]>([
    ["no JSON", "/v1/chat/completions", "{", 400, /not JSON/],
    ["bytes that are no text", "/v1/completions", "\u0000", 400, /not JSON/],
    ["a list", "/v1/chat/completions", "[]", 400, /the body|messages/],
    ["null", "/v1/completions", "null", 400, /the body/],
    [
      "a penalty that leaves no number",
      "/v1/completions",
      json({ model: "tiny", prompt: "x", repetition_penalty: 1e-39 }),
      400,
      /repetition_penalty/,
    ],
    ["no messages", "/v1/chat/completions", json({ model: "tiny", messages: [] }), 400, /messages/],
    [
      "an unknown role",
      "/v1/chat/completions",
      json({ ...base, messages: [{ role: "robot", content: "x" }] }),
      400,
      /role/,
    ],
    [
      "a picture",
      "/v1/chat/completions",
      json({ ...base, messages: [{ role: "user", content: [{ type: "image_url" }] }] }),
      400,
      /content/,
    ],
    ["tools", "/v1/chat/completions", json({ ...base, tools: [{ type: "function" }] }), 400, /tools is not built/],
    [
      "a JSON mode",
      "/v1/chat/completions",
      json({ ...base, response_format: { type: "json_object" } }),
      400,
      /response_format/,
    ],
    ["a bias", "/v1/completions", json({ model: "tiny", prompt: "x", logit_bias: { 3: 1 } }), 400, /logit_bias/],
    ...(
      [
        ["no prompt", undefined, /^prompt: expected a text, token ids, or a list .*, got nothing$/],
        ["an empty list", [], /^prompt: .*, got a list of 0$/],
        ["no token ids", [[1], []], /^prompt\.1: expected a list of token ids, got a list of 0$/],
        ["too many prompts", Array(257).fill([1]), /^prompt: expected 256 prompts at most, got a list of 257$/],
        ["a text among token ids", [[1], "x"], /^prompt\.1: expected a list of token ids, got a text$/],
        ["a token id among texts", ["x", 1], /^prompt\.1: expected a text, got 1$/],
        ["a list as a token id", [1, 2, [3]], /^prompt\.2: expected a token id, got a list of 1$/],
        ["a part of a token", [[1], [1, 0.5]], /^token 1 of the prompt of request 1 is 0\.5: expected a whole number/],
        ["a token below the vocabulary", [-1], /^token 0 of .* is -1: expected a whole number from 0 to 258/],
        ["a token above the vocabulary", [1, 259], /^token 1 of .* is 259: expected a whole number from 0 to 258/],
        ["more tokens than the context", Array(600).fill(65), /has 600 tokens; the model's context is 512/],
      ] as const
    ).map(([name, prompt, message]): [string, string, string, number, RegExp] => {
      const echo = { model: "tiny", prompt, echo: true, logprobs: 1 };
      return [name, "/v1/completions", json(echo), 400, message];
    }),
    [
      "a negative temperature",
      "/v1/completions",
      json({ model: "tiny", prompt: "x", temperature: -1 }),
      400,
      /temperature/,
    ],
    ["an empty prompt", "/v1/completions", json({ model: "tiny", prompt: "" }), 400, /prompt is empty/],
    [
      "a text longer than the context",
      "/v1/completions",
      json({ model: "tiny", prompt: "x".repeat(600) }),
      400,
      /context is 512/,
    ],
    [
      "a body that is too long",
      "/v1/completions",
      json({ model: "tiny", prompt: "x".repeat(30_000) }),
      413,
      /longer than 20000/,
    ],
    [
      "another model",
      "/v1/completions",
      json({ model: "gpt", prompt: "x" }),
      404,
      /no model "gpt"; there are tiny, other/,
    ],
    ["no model of two", "/v1/completions", json({ prompt: "x" }), 400, /name a model/],
    ["another path", "/v1/embeddings", "{}", 404, /no \/v1\/embeddings/],
    ["a path of dots", "/v1/models/%2e%2e%2f", "", 405, /expected GET/],
    [
      "an echo with more than the likeliest",
      "/v1/completions",
      json({ model: "tiny", prompt: "xy", echo: true, logprobs: 5 }),
      400,
      /logprobs is 0 or 1 with it, not 5/,
    ],
    [
      "an echo that is streamed",
      "/v1/completions",
      json({ model: "tiny", prompt: "x", echo: true, stream: true }),
      400,
      /not streamed/,
    ],
  ])("%s", async (_, path, body, status, message) => {
    const answer = await call(path, { body });
    expect(answer.status).toBe(status);
    expect(answer.json.error).toMatchObject({ message: expect.stringMatching(message), type: expect.any(String) });
    expect(answer.json.error).toHaveProperty("param");
  });

  it("token ids for a model that reads text alone", async () => {
    const reading = await serve({ models: new Map([["script", scriptedModel({ fallback: "Well." })]]) });
    const asking = new OpenAI({ baseURL: reading.url, apiKey: "none", maxRetries: 0, logLevel: "off" });
    const ask = (prompt: string | number[]) => asking.completions.create({ model: "script", prompt });
    await expect(ask([1, 2])).rejects.toMatchObject({ status: 400, code: "unsupported_parameter", param: "prompt" });
    await expect(ask([1, 2])).rejects.toThrow(/takes text, and no token ids/);
    expect((await ask("How?")).choices[0]!.text).toBe("Well.");
    await reading.close();
  });

  it("whatever bodies come, nothing is left under way and nothing failed in here", async () => {
    const random = numbersFrom(5);
    for (let i = 0; i < 300; i++) {
      const text = JSON.stringify(oddBody({ ...base, max_tokens: 1 }, random));
      const sent = i % 3 === 0 ? text.slice(0, random(text.length)) : text;
      const { status } = await fetch(`${server.url}/${i % 2 ? "completions" : "chat/completions"}`, {
        method: "POST",
        body: sent,
      });
      expect([200, 400, 404]).toContain(status);
    }
    expect(server.calls()).toBe(0);
    expect(errors).toEqual([]);
  });
});

describe("who is answered", () => {
  it("pages of other sites and other names of this machine are not", async () => {
    const get = { method: "GET" };
    expect((await call("/v1/models", { ...get, headers: { origin: "https://evil.example" } })).status).toBe(403);
    expect((await call("/v1/models", { ...get, headers: { origin: "null" } })).status).toBe(403);
    expect((await call("/v1/models", { ...get, headers: { host: "evil.example" } })).status).toBe(403);
    expect((await call("/v1/models", { ...get, headers: { host: "127.0.0.1.evil.example:80" } })).status).toBe(403);
    expect((await call("/v1/models", { ...get, headers: { origin: "http://localhost:3000" } })).status).toBe(200);
    expect((await call("/health", get)).json).toEqual({ status: "ok" });
  });

  it("other machines need a token, and so does everyone where there is one", async () => {
    const models = new Map<string, LanguageModel>([["tiny", model.live()]]);
    await expect(serve({ models, host: "0.0.0.0" })).rejects.toThrow(UsageError);
    await expect(serve({ models: new Map() })).rejects.toThrow(/no model/);
    const guarded = await serve({ models, token: "secret" });
    const ask = (apiKey: string) =>
      new OpenAI({ baseURL: guarded.url, apiKey, maxRetries: 0, logLevel: "off" }).models.list();
    await expect(ask("wrong")).rejects.toMatchObject({ status: 401, code: "invalid_api_key" });
    expect((await ask("secret")).data).toHaveLength(1);
    await guarded.close();
  });

  it("a server that is closed ends what is under way, and says so", async () => {
    const models = new Map<string, LanguageModel>([["tiny", model.live()]]);
    const closing = await serve({ models });
    const asking = new OpenAI({ baseURL: closing.url, apiKey: "none", maxRetries: 0, logLevel: "off" });
    const stream = await asking.chat.completions.create({
      ...base,
      max_tokens: 1500,
      stream: true,
      ...{ min_tokens: 1500 },
    });
    const read = (async () => {
      for await (const _ of stream) if (closing.calls() === 1) void closing.close();
    })();
    await expect(read).rejects.toThrow(/being stopped/);
    await expect(asking.models.list()).rejects.toThrow(/[Cc]onnection/);
  });

  it("a server that is closed waits for no body that does not come", async () => {
    const closing = await serve({ models: new Map<string, LanguageModel>([["tiny", model.live()]]) });
    const { port } = new URL(closing.url);
    const socket = connect(Number(port), "127.0.0.1").on("error", () => {});
    await once(socket, "connect");
    socket.write(`POST /v1/completions HTTP/1.1\r\nHost: localhost:${port}\r\nContent-Length: 100\r\n\r\n{"model"`);
    await expect.poll(() => closing.calls()).toBe(1);
    await closing.close();
    expect(closing.calls()).toBe(0);
  });
});
