import { type Fault, faultProxy } from "@tenet/fixtures";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { endpoint } from "../../src/endpoint/endpoint.ts";
import { EndpointError } from "../../src/language-model/errors.ts";
import type { ModelEvent } from "../../src/language-model/types.ts";
import { type FakeServer, fakeServer } from "./fake-server.ts";
import { faultTests } from "./faults.ts";
import { talkative } from "./scripts.ts";

describe("an endpoint behind a bad network", () => {
  let server: FakeServer;
  beforeAll(async () => {
    server = await fakeServer(talkative);
  });
  afterAll(() => server.close());

  faultTests(() => server.url, { requests: 200, settings: { timeoutSeconds: 2, concurrency: 16 } });

  const prompt = "Tell me.";
  const retries = { perRequest: 2, baseSeconds: 0.001 };

  it.each([
    ["500", "http", 500],
    ["429", "http", 429],
    ["503-html", "http", 503],
    ["malformed", "malformed", undefined],
    ["cut", "network", undefined],
    ["refused", "network", undefined],
    ["slow", "timeout", undefined],
  ] as [Fault, string, number | undefined][])(
    "gives up on %s after its retries, saying %s",
    async (fault, kind, status) => {
      const proxy = await faultProxy(server.url, () => fault);
      const model = endpoint({ baseUrl: proxy.url, retries, timeoutSeconds: 0.15 });
      const error = await drain(model.generate([{ prompt }])).then(
        () => undefined,
        (reason) => reason,
      );
      expect(error).toBeInstanceOf(EndpointError);
      expect(error).toMatchObject({ fault: kind, status, request: 0 });
      expect(error.message).toContain("after 3 attempts");
      expect(proxy.done[fault]).toBe(3);
      await model.close();
      await proxy.close();
    },
  );

  it("delivers what was under way when another request fails for good", async () => {
    const refusing: typeof fetch = async (input, init) => {
      if (String(init?.body).includes("bad")) return new Response('{"error":{"message":"no"}}', { status: 400 });
      return fetch(input, init);
    };
    const model = endpoint({ baseUrl: server.url, concurrency: 3 }, { fetch: refusing });
    const requests = Array.from({ length: 30 }, (_, i) => ({ prompt: i === 10 ? "bad" : `good ${i}` }));
    const seen: number[] = [];
    const loop = (async () => {
      for await (const { request } of model.generate(requests)) seen.push(request);
    })();
    await expect(loop).rejects.toMatchObject({ status: 400, request: 10 });
    expect(seen.length).toBe(model.usage().completions);
    expect(seen.length).toBeGreaterThanOrEqual(8);
    expect(seen.length).toBeLessThanOrEqual(14);
  });

  it("starts a spoiled stream again and says so", async () => {
    let calls = 0;
    const proxy = await faultProxy(server.url, () => (calls++ === 0 ? "cut" : undefined));
    const model = endpoint({ baseUrl: proxy.url, retries });
    const events: ModelEvent[] = [];
    const results = [];
    for await (const result of model.generate([{ prompt, sampling: { maxTokens: 12 } }], {
      stream: true,
      onEvent: (event) => void events.push(event),
    }))
      results.push(result);
    let shown = "";
    for (const event of events) {
      if (event.type === "restart") shown = "";
      if (event.type === "text") shown += event.text;
    }
    expect(events.map(({ type }) => type)).toContain("retry");
    expect(events.map(({ type }) => type)).toContain("restart");
    expect(results.map(({ completion }) => completion.text)).toEqual([shown]);
    await model.close();
    await proxy.close();
  });

  it("takes a stream that ends politely in the middle for a spoiled one", async () => {
    let calls = 0;
    const halving: typeof fetch = async (input, init) => {
      const response = await fetch(input, init);
      if (String(input).endsWith("/models") || calls++ > 0) return response;
      const events = (await response.text()).split("\n\n");
      return new Response(`${events.slice(0, events.length / 2).join("\n\n")}\n\n`, { headers: response.headers });
    };
    const model = endpoint({ baseUrl: server.url, retries }, { fetch: halving });
    const reasons: string[] = [];
    for await (const { completion } of model.generate([{ prompt, sampling: { maxTokens: 12 } }], {
      stream: true,
      onEvent: (event) => void (event.type === "retry" && reasons.push(event.reason)),
    }))
      expect(completion.usage.completionTokens).toBe(12);
    expect(reasons).toEqual(["malformed reply: the stream ended in the middle of the reply"]);
  });

  it("cancels in the middle of a slow reply at once", async () => {
    const proxy = await faultProxy(server.url, () => "slow");
    const model = endpoint({ baseUrl: proxy.url });
    const aborter = new AbortController();
    setTimeout(() => aborter.abort(new Error("enough")), 300);
    const started = Date.now();
    await expect(drain(model.generate([{ prompt }], { signal: aborter.signal }))).rejects.toThrow("enough");
    expect(Date.now() - started).toBeLessThan(600);
    await model.close();
    await proxy.close();
  });

  it("gives the text so far when a stream is cancelled", async () => {
    const slow = await fakeServer({ ...talkative, tokenMs: 20 });
    const model = endpoint({ baseUrl: slow.url });
    const aborter = new AbortController();
    const results: string[] = [];
    let shown = "";
    const loop = (async () => {
      for await (const { completion } of model.generate([{ prompt }], {
        signal: aborter.signal,
        stream: true,
        onEvent: (event) => {
          if (event.type === "text") shown += event.text;
          if (shown.length > 20) aborter.abort(new Error("enough"));
        },
      }))
        results.push(`${completion.finishReason}: ${completion.text}`);
    })();
    await expect(loop).rejects.toThrow("enough");
    expect(results).toEqual([`cancelled: ${shown}`]);
    await model.close();
    await slow.close();
  });

  it("ends when the retries allowed in all are used up", async () => {
    const proxy = await faultProxy(server.url, () => "500");
    const model = endpoint({
      baseUrl: proxy.url,
      retries: { perRequest: 5, total: 7, baseSeconds: 0.001 },
      concurrency: 4,
    });
    const requests = Array.from({ length: 20 }, (_, i) => ({ prompt: `${i}` }));
    await expect(drain(model.generate(requests))).rejects.toThrow(/retries/);
    expect(proxy.done["500"]).toBeLessThanOrEqual(7 + 4);
    await model.close();
    await proxy.close();
  });

  it("silences every call when the server names a time, and gives up on one too far", async () => {
    const times: number[] = [];
    let first = true;
    const limited: typeof fetch = async (input, init) => {
      if (String(input).endsWith("/models")) return fetch(input, init);
      times.push(Date.now());
      if (!first) return fetch(input, init);
      first = false;
      return new Response("{}", { status: 429, headers: { "retry-after": "1" } });
    };
    // The second call is under way when the first is told to wait; the third is not and must wait too.
    const model = endpoint({ baseUrl: server.url, concurrency: 2, retries }, { fetch: limited });
    await drain(model.generate([{ prompt: "a" }, { prompt: "b" }, { prompt: "c" }]));
    expect(times).toHaveLength(4);
    expect(times[1]! - times[0]!).toBeLessThan(500);
    for (const time of times.slice(2)) expect(time - times[0]!).toBeGreaterThanOrEqual(990);
    const far: typeof fetch = async () => new Response("{}", { status: 429, headers: { "retry-after": "3600" } });
    const hopeless = endpoint({ baseUrl: server.url, model: "m", dialect: "openai" }, { fetch: far });
    await expect(drain(hopeless.generate([{ prompt }]))).rejects.toThrow("asks to wait 3600 s");
  });
});

async function drain(results: AsyncIterable<unknown>): Promise<void> {
  for await (const _ of results);
}
