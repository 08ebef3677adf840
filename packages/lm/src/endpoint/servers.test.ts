import { setTimeout as later } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { UsageError } from "../language-model/errors.ts";
import { endpoint } from "./endpoint.ts";
import { createServers, type Server } from "./servers.ts";
import { type EndpointInput, endpointSettingsSchema } from "./settings.ts";

type Answer = "answers" | "fails" | "hangs up" | { retryAfter: number };

interface Simulated {
  /** What it says to a call, by how many came before. Default: answers. */
  readonly says?: (call: number) => Answer;
  readonly milliseconds?: number;
  readonly lists?: readonly string[];
  readonly owner?: string;
}

/** Servers behind a fetch: what each was asked, and how many calls were under way there at most. */
function simulation(servers: readonly Simulated[]) {
  const seen = servers.map(() => ({ prompts: [] as string[], open: 0, most: 0, calls: 0 }));
  const simulated: typeof fetch = async (input, init) => {
    const url = new URL(String(input));
    const i = Number(url.hostname.slice(1));
    const { says = () => "answers" as const, milliseconds = 2, lists = ["m"], owner = "vllm" } = servers[i]!;
    if (url.pathname.endsWith("/models")) return Response.json({ data: lists.map((id) => ({ id, owned_by: owner })) });
    const one = seen[i]!;
    one.most = Math.max(one.most, ++one.open);
    const said = says(one.calls++);
    await later(milliseconds);
    one.open--;
    if (said === "hangs up") throw new TypeError("terminated");
    if (said === "fails") return Response.json({ error: { message: "out of order" } }, { status: 500 });
    if (typeof said === "object")
      return Response.json({}, { status: 429, headers: { "retry-after": String(said.retryAfter) } });
    const { prompt, seed } = JSON.parse(String(init!.body)) as { prompt: string; seed: number };
    one.prompts.push(prompt);
    return Response.json({
      choices: [{ index: 0, text: `${prompt} ${seed}`, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2 },
    });
  };
  return { fetch: simulated, seen };
}

const addresses = (count: number) => Array.from({ length: count }, (_, i) => `http://s${i}/v1`);
const open = (count: number, simulated: typeof fetch, more: Partial<EndpointInput> = {}) =>
  endpoint(
    { baseUrl: addresses(count), model: "m", concurrency: 4, retries: { baseSeconds: 0.02 }, ...more },
    { fetch: simulated },
  );

const requests = Array.from({ length: 120 }, (_, i) => ({ prompt: `prompt ${i % 40}`, key: `k${i}` }));

async function texts(model: ReturnType<typeof endpoint>, asked = requests): Promise<string[][]> {
  const found: string[][] = asked.map(() => []);
  for await (const { request, completion } of model.generate(asked)) found[request]!.push(completion.text);
  return found;
}

it.each([99_999_999_999, 3600])(
  "a server that asks to be left alone for %d s is not waited for by later calls",
  async (seconds) => {
    const { fetch, seen } = simulation([{ says: (call) => (call === 0 ? { retryAfter: seconds } : "answers") }]);
    const model = open(1, fetch);
    const one = [{ prompt: "p", key: "k" }];
    await expect(texts(model, one)).rejects.toThrow(/more than retries\.maxSeconds allows/);
    await expect(texts(model, one)).rejects.toThrow(/asked not to be asked for \d+ s more/);
    expect(seen[0]!.calls).toBe(1);
  },
);

it("a wait that a call may have is waited for, below a second too", async () => {
  const { fetch, seen } = simulation([{ says: (call) => (call === 0 ? { retryAfter: 0.1 } : "answers") }]);
  const model = open(1, fetch, { retries: { baseSeconds: 0.02, maxSeconds: 0.2 } });
  const both = [1, 2].map((i) => ({ prompt: `p${i}`, key: `k${i}` }));
  expect(await texts(model, both)).toHaveLength(2);
  expect(seen[0]!.calls).toBe(3);
});

it("what a server counted of replies that cannot be used is spent: the budget ends them", async () => {
  const asked: string[] = [];
  const broken: typeof fetch = async (input) => {
    if (String(input).endsWith("/models")) return Response.json({ data: [{ id: "m", owned_by: "vllm" }] });
    asked.push(String(input));
    return Response.json({ choices: [], usage: { prompt_tokens: 1000, completion_tokens: 2000 } });
  };
  const model = open(1, broken, { budget: { tokens: 5000 } });
  await expect(texts(model, [{ prompt: "p", key: "k" }])).rejects.toThrow(/the budget of 5000 tokens is spent/);
  expect(asked).toHaveLength(2);
  expect(model.usage()).toMatchObject({
    promptTokens: 2000,
    completionTokens: 4000,
    failedAttempts: 2,
    completions: 0,
  });
});

it("of a stream that is cut counts what came of it, as an estimate where the server said nothing", async () => {
  const said = `data: ${JSON.stringify({ choices: [{ index: 0, text: "x".repeat(400), finish_reason: null }] })}\n\n`;
  let calls = 0;
  const cut: typeof fetch = async (input) => {
    if (String(input).endsWith("/models")) return Response.json({ data: [{ id: "m", owned_by: "vllm" }] });
    const whole = `data: ${JSON.stringify({ choices: [{ index: 0, text: "y", finish_reason: "stop" }], usage: { prompt_tokens: 1, completion_tokens: 1 } })}\n\ndata: [DONE]\n\n`;
    return new Response(calls++ === 0 ? said : whole, { headers: { "content-type": "text/event-stream" } });
  };
  const model = open(1, cut);
  const found: string[] = [];
  for await (const { completion } of model.generate([{ prompt: "pppp", key: "k" }], {
    stream: true,
    onEvent: () => {},
  }))
    found.push(completion.text);
  expect(found).toEqual(["y"]);
  expect(model.usage()).toMatchObject({ promptTokens: 2, completionTokens: 101, estimated: 1, failedAttempts: 1 });
});

describe("several servers", () => {
  it("are all as busy as one would be, and what they say is what one says", async () => {
    const alone = simulation([{}]);
    const expected = await texts(open(1, alone.fetch));
    expect(expected.every((list) => list.length === 1)).toBe(true);
    for (const count of [2, 4, 8]) {
      const many = simulation(Array.from({ length: count }, () => ({})));
      const model = open(count, many.fetch);
      expect(await texts(model)).toEqual(expected);
      expect(many.seen.map(({ most }) => most)).toEqual(Array(count).fill(4));
      expect(model.servers().reduce((sum, { calls }) => sum + calls, 0)).toBe(requests.length + 1); // and one list
    }
  });

  it("get a prompt's samples where its beginning is remembered, while there is room", async () => {
    const { fetch, seen } = simulation([{}, {}, {}]);
    const model = open(3, fetch, { concurrency: 64 });
    const one = Array.from({ length: 2 }, (_, i) => ({ prompt: "the same", key: `k${i}` }));
    for (let round = 0; round < 4; round++) await texts(model, one);
    const home = seen.find(({ prompts }) => prompts.length > 0)!;
    expect(home.prompts.length).toBe(8);
    // Another server leaves prompts where they were, but for its share.
    const more = simulation([{}, {}, {}, {}]);
    const few = (count: number, through: typeof fetch) => open(count, through, { concurrency: 1000 });
    const prompts = Array.from({ length: 40 }, (_, i) => [{ prompt: `p${i}`, key: "k" }]);
    const [before, after] = [few(3, fetch), few(4, more.fetch)];
    for (const prompt of prompts) await Promise.all([texts(before, prompt), texts(after, prompt)]);
    const where = (all: typeof seen) =>
      prompts.map(([one]) => all.findIndex(({ prompts }) => prompts.includes(one!.prompt)));
    const [old, now] = [where(seen), where(more.seen)];
    const moved = old.flatMap((place, i) => (place === now[i] ? [] : [now[i]]));
    expect(moved.length).toBeGreaterThan(0);
    expect(new Set(moved)).toEqual(new Set([3]));
  });

  it.each<[string, Simulated]>([
    ["dies", { says: (call) => (call < 5 ? "answers" : "hangs up") }],
    ["always fails", { says: () => "fails" }],
    ["is slow", { milliseconds: 40 }],
    ["asks for time", { says: (call) => (call === 2 ? { retryAfter: 100 } : "answers") }],
  ])("lose nothing, double nothing and change nothing where one %s", async (_, broken) => {
    const expected = await texts(open(1, simulation([{}]).fetch));
    const { fetch, seen } = simulation([{}, broken, {}]);
    const model = open(3, fetch, { retries: { baseSeconds: 0.02, maxSeconds: 60 } });
    expect(await texts(model)).toEqual(expected);
    const failures = model.servers()[1]!.failures;
    expect(model.usage().failedAttempts).toBe(failures);
    // It rests, the longer the oftener it fails: most calls never meet it.
    if (broken.says) expect(seen[1]!.calls).toBeLessThan(40);
    else expect(seen[1]!.prompts.length).toBeLessThan(seen[0]!.prompts.length);
  });

  it("that all are gone fail within seconds, and say which; of those that are not all, the living are asked", async () => {
    const nobody: typeof fetch = async () => {
      throw new TypeError("fetch failed", { cause: new Error("connect ECONNREFUSED") });
    };
    const began = performance.now();
    const asked = texts(open(3, nobody, { retries: { baseSeconds: 30, maxSeconds: 60 } }));
    await expect(asked).rejects.toThrow(
      /none of the 3 servers answers \(http:\/\/s0\/v1: .*ECONNREFUSED.*; http:\/\/s1/,
    );
    expect(performance.now() - began).toBeLessThan(5000);
    const { fetch: living, seen } = simulation([{}, {}, {}]);
    const one: typeof fetch = (input, init) =>
      String(input).includes("//s1/") ? nobody(input, init) : living(input, init);
    const model = open(3, one, { retries: { baseSeconds: 30, maxSeconds: 60 } });
    expect(await model.reached()).toEqual([
      { address: "http://s0/v1" },
      { address: "http://s1/v1", dead: expect.stringContaining("ECONNREFUSED") },
      { address: "http://s2/v1" },
    ]);
    expect((await texts(model, requests.slice(0, 6))).every(({ length }) => length === 1)).toBe(true);
    expect(seen[1]!.calls).toBe(0);
    expect(model.usage().failedAttempts).toBe(0);
  });

  it("rest once for what fails together, and are awake again as soon as one answers", async () => {
    const settings = endpointSettingsSchema.parse({
      ...{ baseUrl: addresses(2), model: "m", concurrency: 8, retries: { baseSeconds: 0.2, maxSeconds: 600 } },
    });
    const servers = createServers(settings);
    const [one, other] = servers.all as [Server, Server];
    const failure = { fault: "network", reason: "gone", retryable: true } as const;
    // A prompt of each that goes there.
    const home = async (server: Server) => {
      for (let i = 0; ; i++) {
        const taken = await servers.take(`prompt ${i}`, undefined);
        servers.release(taken);
        if (taken === server) return `prompt ${i}`;
      }
    };
    const prompt = await home(one);
    const taken = [prompt, prompt].map(() => servers.take(prompt, undefined));
    for (const server of await Promise.all(taken)) expect(server).toBe(one);
    servers.release(one, failure);
    servers.release(one, failure);
    expect(servers.othersAwake(other)).toBe(false);
    await later(250); // two failures in a row would be a rest of 0.4 s
    expect(servers.othersAwake(other)).toBe(true);
    for (const server of [one, other]) servers.rest(server);
    servers.release(await servers.take(prompt, undefined));
    expect([servers.othersAwake(one), servers.othersAwake(other)]).toContain(true);
  });

  it("are limited each by itself", async () => {
    const { fetch, seen } = simulation([{}, {}]);
    const model = open(2, fetch, { requestsPerMinute: 3, dialect: "vllm" });
    await texts(model, requests.slice(0, 4));
    expect(seen.reduce((sum, { calls }) => sum + calls, 0)).toBe(4);
    await model.close();
  });

  it("have to serve one model, by its name, and be asked alike", async () => {
    expect(() => endpoint({ baseUrl: addresses(2) })).toThrow(/several servers need the name/);
    expect(() => endpoint({ baseUrl: ["http://a/v1", "http://a/v1"], model: "m" })).toThrow(/stands here twice/);
    expect(() => endpoint({ baseUrl: [], model: "m" })).toThrow(UsageError);
    const another = simulation([{}, { lists: ["n"] }]);
    await expect(texts(open(2, another.fetch))).rejects.toThrow(/same model: http:\/\/s0\/v1 lists m, http:\/\/s1\/v1/);
    const other = simulation([{}, { owner: "llamacpp" }]);
    await expect(texts(open(2, other.fetch))).rejects.toThrow(/speaks vllm, http:\/\/s1\/v1 llama.cpp/);
  });

  it("fail with the address of the one that refused", async () => {
    const { fetch } = simulation([{}, {}]);
    const refusing: typeof fetch = async (input, init) =>
      String(input).includes("//s1/") && !String(input).endsWith("/models")
        ? Response.json({ error: { message: "no" } }, { status: 400 })
        : fetch(input, init);
    await expect(texts(open(2, refusing))).rejects.toThrow(/^http:\/\/s1\/v1: status 400: no/);
  });

  it("are waited for together no longer than their signal", async () => {
    const { fetch } = simulation([{ says: () => ({ retryAfter: 50 }) }, { says: () => ({ retryAfter: 50 }) }]);
    const model = open(2, fetch, { retries: { maxSeconds: 60 } });
    const signal = AbortSignal.timeout(200);
    const asked = (async () => {
      for await (const _ of model.generate(requests.slice(0, 2), { signal }));
    })();
    await expect(asked).rejects.toThrow(/timeout/i);
  });
});
