import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterEach, describe, expect, it } from "vitest";
import type { GenerateResult } from "../language-model/types.ts";
import { endpoint } from "./endpoint.ts";
import type { EndpointInput } from "./settings.ts";
import { endpointSettingsSchema } from "./settings.ts";

/* What a server, or a mistake in a recipe, must not be able to do. */

const closers: (() => void)[] = [];
afterEach(() => {
  for (const close of closers.splice(0)) close();
});

async function serve(listener: RequestListener): Promise<string> {
  const http = createServer(listener);
  closers.push(() => {
    http.closeAllConnections();
    http.close();
  });
  http.listen(0, "127.0.0.1");
  await once(http, "listening");
  return `http://127.0.0.1:${(http.address() as AddressInfo).port}/v1`;
}

const settings = { model: "m", dialect: "openai", retries: { baseSeconds: 0.001, perRequest: 1 } } as const;

async function ask(
  baseUrl: string,
  more: Partial<EndpointInput> = {},
  { key, stream = false }: { key?: string; stream?: boolean } = {},
) {
  const model = endpoint({ baseUrl, ...settings, ...more }, { environment: { KEY: key } });
  const results: GenerateResult[] = [];
  const onEvent = () => {};
  for await (const result of model.generate(
    [{ prompt: [{ role: "user", content: "x" }] }],
    stream ? { stream, onEvent } : {},
  ))
    results.push(result);
  return results[0]!.completion;
}

describe("replies without end", () => {
  const megabyte = Buffer.alloc(2 ** 20, " ");
  const endless =
    (type: string, piece: Buffer): RequestListener =>
    (_, response) => {
      response.writeHead(200, { "content-type": type });
      const more = () => {
        while (!response.destroyed && response.write(piece));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    };

  it.each([
    ["white space", endless("application/json", megabyte), false],
    ["one line of a stream", endless("text/event-stream", megabyte), true],
    ["lines of a stream", endless("text/event-stream", Buffer.from(": still here\n\n".repeat(5000))), true],
  ] as const)("%s: the call ends, and is not repeated", async (_, listener, stream) => {
    let calls = 0;
    const url = await serve((request, response) => {
      calls++;
      listener(request, response);
    });
    await expect(ask(url, { timeoutSeconds: 30 }, { stream })).rejects.toThrow(
      /longer than \d+ MiB, more than what was asked for/,
    );
    expect(calls).toBe(1);
  });

  it("a few kilobytes that unpack to a great deal", async () => {
    const bomb = gzipSync(Buffer.alloc(64 * 2 ** 20, " "));
    expect(bomb.length).toBeLessThan(100_000);
    const url = await serve((_, response) => {
      response.writeHead(200, { "content-type": "application/json", "content-encoding": "gzip" });
      response.end(bomb);
    });
    await expect(ask(url)).rejects.toThrow("more than what was asked for");
  });

  it("errors without end are read for their beginning", async () => {
    const url = await serve((_, response) => {
      response.writeHead(400, { "content-type": "text/plain" });
      response.write("no such thing here ");
      const more = () => {
        while (!response.destroyed && response.write(megabyte));
        if (!response.destroyed) response.once("drain", more);
      };
      more();
    });
    await expect(ask(url)).rejects.toThrow("status 400: no such thing here");
  });
});

describe("redirects", () => {
  it.each([301, 302, 303, 307, 308])("status %d to another host is not followed", async (status) => {
    const stolen: unknown[] = [];
    const thief = await serve((request, response) => {
      stolen.push(request.headers);
      response.end("{}");
    });
    const url = await serve((_, response) => {
      response.writeHead(status, { location: `${thief}/chat/completions` }).end();
    });
    await expect(
      ask(url, { apiKeyVariable: "KEY", headers: { "x-team": "t" } }, { key: "k-0123456789" }),
    ).rejects.toThrow(/another host, http:\/\/127\.0\.0\.1:\d+, where nothing is sent/);
    expect(stolen).toEqual([]);
  });

  it("of the list of models are followed on the same host, and never in a circle", async () => {
    const url = await serve((request, response) => {
      if (request.url === "/v1/models") return response.writeHead(301, { location: "/v1/models/" }).end();
      if (request.url === "/v1/chat/completions") return response.writeHead(308, { location: request.url }).end();
      response.writeHead(200, { "content-type": "application/json" }).end('{"data":[{"id":"m"}]}');
    });
    await expect(ask(url, { dialect: "auto", model: undefined } as never)).rejects.toThrow("in a circle");
  });
});

describe("secrets", () => {
  const key = "sk-proj-Abc123Def456Ghi789Jkl012";

  it("are not left at the place where an error is cut", async () => {
    for (const before of [480, 490, 495, 499]) {
      const url = await serve((_, response) => response.writeHead(401).end(`${"x".repeat(before)}${key} and more`));
      const error: Error = await ask(url, { apiKeyVariable: "KEY" }, { key }).catch((reason) => reason);
      expect(error.message).toContain("xxx");
      expect(error.message).not.toContain("sk-");
    }
  });

  it("go in the header that the recipe names", async () => {
    const seen: unknown[] = [];
    const url = await serve((request, response) => {
      seen.push([request.headers["api-key"], request.headers.authorization]);
      response.writeHead(401).end("no");
    });
    await ask(url, { apiKeyVariable: "KEY", apiKeyHeader: "api-key" }, { key }).catch(() => {});
    expect(seen).toEqual([[key, undefined]]);
  });

  it.each([
    ["a key for the variable's name", { apiKeyVariable: key }],
    ["a key that could be a name", { apiKeyVariable: "hf_AbCdEfGhIjKlMnOpQrStUvWxYz" }],
    ["a key in the header of keys", { headers: { Authorization: `Bearer ${key}` } }],
    ["a key in a header of another name", { headers: { "X-Api-Key": "0123" } }],
    ["a key in any header", { headers: { "X-Team": key } }],
    ["a key in the body", { body: { api_key: "0123" } }],
    ["a key deep in the body", { body: { extra: { auth_token: "0123" } } }],
    ["a key for the user's name", { baseUrl: `http://${key}@host/v1` }],
    ["a password", { baseUrl: "http://me:secret@host/v1" }],
    ["a key in the address", { baseUrl: `http://host/v1?api_key=${key}` }],
  ] as const)("are refused without being shown: %s", (_, wrong) => {
    const parsed = endpointSettingsSchema.safeParse({ baseUrl: "http://host/v1", ...wrong });
    expect(parsed.error?.issues).toHaveLength(1);
    expect(parsed.error!.issues[0]).toMatchObject({ code: "custom", params: { secret: true } });
    expect(JSON.stringify(parsed.error!.issues)).not.toContain("sk-proj");
  });

  it.each([
    [{ apiKeyVariable: "OPENAI_API_KEY" }],
    [{ apiKeyVariable: "key2" }],
    [{ headers: { "X-Title": "Tenet", "HTTP-Referer": "https://example.org/a/b" } }],
    [{ body: { prompt_cache_key: "tenet", stop_token_ids: [1], stop_token: "</s>", max_tokens: 5, user: "a-b-c" } }],
  ])("are not seen where there are none: %j", (right) => {
    expect(endpointSettingsSchema.safeParse({ baseUrl: "http://host/v1", ...right }).error).toBeUndefined();
  });
});

describe("fields of a body", () => {
  const echo = async (more: Partial<EndpointInput>) => {
    let body = {};
    const url = await serve(async (request, response) => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      body = JSON.parse(Buffer.concat(chunks).toString());
      response.writeHead(200, { "content-type": "application/json" });
      response.end('{"choices":[{"message":{"content":"Yes."}}]}');
    });
    await ask(url, more);
    return body as Record<string, unknown>;
  };

  it("have the recipe's names, or none", async () => {
    const body = await echo({
      fields: { seed: "random_seed", top_p: null },
      body: { temperature: null, user: "tenet" },
    });
    expect(Object.keys(body).sort()).toEqual(["max_tokens", "messages", "model", "random_seed", "user"]);
  });

  it("that are out of range are not left out: the error is the person's", async () => {
    const url = await serve((_, response) => {
      response.writeHead(400, { "content-type": "application/json" });
      response.end(
        '{"error":{"message":"max_tokens is too large: 256. At most 128 are allowed.","param":"max_tokens"}}',
      );
    });
    await expect(ask(url)).rejects.toThrow("max_tokens is too large");
  });
});
