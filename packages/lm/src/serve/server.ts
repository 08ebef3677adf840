import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { type LanguageModel, type Prompt, UsageError } from "../language-model/index.ts";
import { echoOf } from "./echo.ts";
import { ApiError, refusal } from "./refusals.ts";
import { answer, type Choice, chunk, type Envelope, envelope, usageChunk, type Verb } from "./replies.ts";
import { type Asked, chatRequest, textRequest } from "./requests.ts";

export interface ServeOptions {
  /** What is served, by the names that callers use; the first is meant where a caller names none and there is no other. */
  readonly models: ReadonlyMap<string, LanguageModel>;
  /** Default 127.0.0.1: this machine only. Any other address needs a token. */
  readonly host?: string;
  /** Default 0: any free one. */
  readonly port?: number;
  /** What callers have to send as `Authorization: Bearer …`. */
  readonly token?: string;
  /** Default 4 MiB. */
  readonly bodyBytes?: number;
  /** Calls that are answered at once, at most; more are refused with 429. Default 256. */
  readonly calls?: number;
  /** Told of what went wrong in here, which callers are not. */
  readonly onError?: (error: unknown) => void;
}

export interface RunningServer {
  /** Ends in /v1. */
  readonly url: string;
  /** Calls under way. */
  readonly calls: () => number;
  /** Ends what is under way, and the server; the models stay open. */
  close(): Promise<void>;
}

/** Bytes that may wait for a slow reader of a stream before it is given up. */
const mostUnread = 1 << 20;

/**
 * Serves language models over HTTP as OpenAI's API: `/v1/models`, `/v1/chat/completions`, `/v1/completions`, whole or as streams,
 * with log-probabilities and, for raw text, the echo by which texts are scored. Further sampling has vLLM's names.
 *
 * A caller that goes away ends its own work. Fields that would change a reply and are not built are refused, not ignored.
 * Errors: UsageError for an address that others reach without a token, and for options out of range; what `listen` throws.
 *
 * @example
 * const server = await serve({ models: new Map([["smol", model.live()]]), port: 8080 });
 * await server.close();
 */
export async function serve(options: ServeOptions): Promise<RunningServer> {
  const { models, host = "127.0.0.1", port = 0, token, bodyBytes = 4 << 20, calls = 256, onError = () => {} } = options;
  if (models.size === 0) throw new UsageError("there is no model to serve");
  if (!isLoopback(host) && !token)
    throw new UsageError(`${host} is reached from other machines: give a token that callers have to send`);
  const closing = new AbortController();
  const underWay = new Set<Promise<void>>();

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    requireCaller(request, token);
    const { pathname: path } = new URL(request.url ?? "/", "http://localhost");
    if (path === "/health" || path === "/v1/health") return send(response, 200, { status: "ok" });
    if (path === "/v1/models" || path.startsWith("/v1/models/")) {
      requireMethod(request, response, "GET");
      return send(response, 200, listed(models, decodeURIComponent(path.slice("/v1/models/".length))));
    }
    const verb: Verb | undefined =
      path === "/v1/chat/completions" ? "chat" : path === "/v1/completions" ? "text" : undefined;
    if (verb === undefined) throw new ApiError(404, `there is no ${path} here`, { code: "not_found" });
    requireMethod(request, response, "POST");
    if (underWay.size > calls)
      throw new ApiError(429, `${calls} calls are under way: try again`, {
        type: "rate_limit_error",
        code: "rate_limit",
      });
    const body = await readBody(request, bodyBytes);
    const asked = verb === "chat" ? chatRequest(body) : textRequest(body);
    const [name, model] = chosen(models, asked.model);
    const gone = new AbortController();
    response.on("close", () => gone.abort(new Error("the caller has gone")));
    if (response.destroyed) return;
    const signal = AbortSignal.any([gone.signal, closing.signal]);
    const marks = envelope(verb, name);
    if (asked.stream) await stream(response, model, asked, marks, signal);
    else send(response, 200, await whole(model, asked, marks, signal));
  };

  const server = createServer((request, response) => {
    request.on("error", () => {});
    response.on("error", () => {});
    const work = handle(request, response)
      .catch((error: unknown) => {
        if (response.destroyed) return;
        const refused = closing.signal.aborted ? new ApiError(503, "the server is being stopped") : refusal(error);
        if (refused.status >= 500 && !closing.signal.aborted) onError(error);
        if (response.headersSent) {
          response.write(`data: ${JSON.stringify(refused.body)}\n\n`);
          response.end();
        } else send(response, refused.status, refused.body);
      })
      .finally(() => underWay.delete(work));
    underWay.add(work);
  });
  // A caller that sends its request by drops holds a connection no longer than this.
  server.headersTimeout = 15_000;
  server.requestTimeout = 60_000;
  server.maxConnections = 4 * calls;
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address() as AddressInfo;
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    url: `http://${shown}:${address.port}/v1`,
    calls: () => underWay.size,
    async close() {
      closing.abort(new Error("the server is being stopped"));
      const closed = once(server, "close");
      server.close();
      await Promise.all(underWay);
      server.closeAllConnections();
      await closed;
    },
  };
}

export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

/**
 * Refuses callers that are not meant: without the token where there is one; and, where there is none, pages of other sites that
 * a browser on this machine shows, which reach loopback addresses too, by their Origin or under a name of their own (Host).
 */
function requireCaller({ headers }: IncomingMessage, token: string | undefined): void {
  const nameOf = (url: string) => (URL.canParse(url) ? new URL(url).hostname : "");
  const { origin } = headers;
  if (origin !== undefined && !isLoopback(nameOf(origin)))
    throw new ApiError(403, `pages of ${origin} are not answered`, { code: "forbidden_origin" });
  if (token === undefined) {
    if (!isLoopback(nameOf(`http://${headers.host ?? ""}`)))
      throw new ApiError(403, `calls to ${headers.host ?? "no host"} are not answered: call localhost`, {
        code: "forbidden_host",
      });
    return;
  }
  const given = /^Bearer (.*)$/i.exec(headers.authorization ?? "")?.[1] ?? "";
  const digest = (text: string) => createHash("sha256").update(text).digest();
  if (timingSafeEqual(digest(given), digest(token))) return;
  throw new ApiError(401, "the token is missing or wrong: send Authorization: Bearer …", {
    type: "authentication_error",
    code: "invalid_api_key",
  });
}

function requireMethod({ method }: IncomingMessage, response: ServerResponse, wanted: string): void {
  if (method === wanted) return;
  response.setHeader("allow", wanted);
  throw new ApiError(405, `expected ${wanted}, got ${method}`, { code: "method_not_allowed" });
}

function listed(models: ReadonlyMap<string, LanguageModel>, name: string): object {
  const entry = (id: string) => ({ id, object: "model", created: 0, owned_by: "tenet" });
  if (name === "") return { object: "list", data: [...models.keys()].map(entry) };
  return entry(chosen(models, name)[0]);
}

function chosen(models: ReadonlyMap<string, LanguageModel>, name: string | undefined): [string, LanguageModel] {
  const found = name === undefined ? undefined : models.get(name);
  if (found) return [name!, found];
  const [first] = models;
  if (name === undefined && models.size === 1) return first!;
  const names = [...models.keys()].join(", ");
  if (name === undefined) throw new ApiError(400, `name a model: ${names}`, { param: "model" });
  throw new ApiError(404, `there is no model ${JSON.stringify(name.slice(0, 200))}; there are ${names}`, {
    code: "model_not_found",
    param: "model",
  });
}

async function readBody(request: IncomingMessage, most: number): Promise<unknown> {
  const declared = Number(request.headers["content-length"] ?? 0);
  const tooLong = () => {
    // What is not read any more cannot be told from the next request.
    request.unpipe();
    return new ApiError(413, `the body is longer than ${most} bytes`, { code: "request_too_large" });
  };
  if (declared > most) throw tooLong();
  const pieces: Buffer[] = [];
  let length = 0;
  for await (const piece of request) {
    length += (piece as Buffer).length;
    if (length > most) throw tooLong();
    pieces.push(piece as Buffer);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces)));
  } catch (error) {
    throw new ApiError(400, `the body is not JSON: ${(error as Error).message}`);
  }
}

const requestsOf = ({ prompts, sampling }: Asked) => prompts.map((prompt: Prompt) => ({ prompt, sampling }));

/** Choices are numbered through: those of the first prompt, then those of the next. */
function indexOf({ sampling }: Asked, request: number, index: number): number {
  return request * (sampling.n ?? 1) + index;
}

async function whole(model: LanguageModel, asked: Asked, marks: Envelope, signal: AbortSignal): Promise<object> {
  const echoes = asked.echo
    ? await Promise.all(asked.prompts.map((prompt) => echoOf(model, prompt as string, asked.sampling.logprobs, signal)))
    : [];
  const choices: Choice[] = [];
  const counted = count();
  for await (const { request, completion } of model.generate(requestsOf(asked), { signal })) {
    counted.add(request, completion.usage);
    const echo = echoes[request];
    choices.push({ index: indexOf(asked, request, completion.index), completion, ...(echo && { echo }) });
  }
  return answer(marks, choices, counted.usage());
}

async function stream(
  response: ServerResponse,
  model: LanguageModel,
  asked: Asked,
  marks: Envelope,
  signal: AbortSignal,
): Promise<void> {
  if (asked.echo) throw new ApiError(400, "an echo is not streamed: leave out echo or stream", { param: "echo" });
  const begun = new Set<number>();
  const event = (data: object | string) => {
    if (response.destroyed) return;
    if (!response.headersSent)
      response.writeHead(200, { "content-type": "text/event-stream; charset=utf-8", "cache-control": "no-cache" });
    response.write(`data: ${typeof data === "string" ? data : JSON.stringify(data)}\n\n`);
    // A reader that takes nothing is given up before its words fill the memory.
    if (response.writableLength > mostUnread) response.destroy();
  };
  const say = (index: number, text: string) => {
    event(chunk(marks, index, { text, first: !begun.has(index) }));
    begun.add(index);
  };
  const counted = count();
  const results = model.generate(requestsOf(asked), {
    signal,
    stream: true,
    onEvent: (one) => one.type === "text" && say(indexOf(asked, one.request, one.index), one.text),
  });
  for await (const { request, completion } of results) {
    const index = indexOf(asked, request, completion.index);
    counted.add(request, completion.usage);
    if (!begun.has(index)) say(index, "");
    event(chunk(marks, index, { ended: completion }));
  }
  if (asked.includeUsage) event(usageChunk(marks, counted.usage()));
  event("[DONE]");
  response.end();
}

/** A prompt counts once, however many replies it has. */
function count() {
  const prompts = new Map<number, number>();
  let completionTokens = 0;
  return {
    add(request: number, usage: { promptTokens: number; completionTokens: number }) {
      prompts.set(request, usage.promptTokens);
      completionTokens += usage.completionTokens;
    },
    usage: () => ({ promptTokens: [...prompts.values()].reduce((a, b) => a + b, 0), completionTokens }),
  };
}

function send(response: ServerResponse, status: number, json: object): void {
  const body = JSON.stringify(json);
  response.writeHead(status, {
    "content-type": "application/json; charset=utf-8",
    "content-length": Buffer.byteLength(body),
    // A body that was not read to its end would be taken for the next request.
    ...(status >= 400 && { connection: "close" }),
  });
  response.end(body);
}
