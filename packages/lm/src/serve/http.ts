import { createHash, timingSafeEqual } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { UsageError } from "../language-model/index.ts";
import { ApiError, refusal } from "./refusals.ts";

/** Who may call a server, and how much. */
export interface CallersOptions {
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
  /** What its callers' addresses begin with. */
  readonly url: string;
  /** Calls under way. */
  readonly calls: () => number;
  /** Ends what is under way, and the server; what it serves stays open. */
  close(): Promise<void>;
}

/** A call by somebody who may. */
export interface Call {
  readonly path: string;
  readonly response: ServerResponse;
  /** Aborts when the caller goes away, or the server is stopped. */
  readonly signal: AbortSignal;
  /** Errors: ApiError 405. */
  requireMethod(wanted: string): void;
  /** Of a POST. Errors: ApiError 405, 413, 429, 400 where it is no JSON. */
  json(): Promise<unknown>;
  send(status: number, json: object): void;
}

/**
 * Answers calls of JSON over HTTP: of this machine only unless there is a token, so that neither others nor pages that a browser shows reach it.
 * What `handle` throws is told as `refusal` has it. Errors: UsageError for an address that others reach without a token; what `listen` throws.
 */
export async function answerCalls(
  handle: (call: Call) => Promise<void>,
  { host = "127.0.0.1", port = 0, token, bodyBytes = 4 << 20, calls = 256, onError = () => {} }: CallersOptions,
): Promise<RunningServer> {
  if (!isLoopback(host) && !token)
    throw new UsageError(`${host} is reached from other machines: give a token that callers have to send`);
  const closing = new AbortController();
  const underWay = new Set<Promise<void>>();

  const take = async (request: IncomingMessage, response: ServerResponse) => {
    requireCaller(request, token);
    const gone = new AbortController();
    response.on("close", () => gone.abort(new Error("the caller has gone")));
    await handle({
      path: pathOf(request.url ?? "/"),
      response,
      signal: AbortSignal.any([gone.signal, closing.signal]),
      requireMethod: (wanted) => requireMethod(request, response, wanted),
      async json() {
        requireMethod(request, response, "POST");
        if (underWay.size > calls)
          throw new ApiError(429, `${calls} calls are under way: try again`, {
            type: "rate_limit_error",
            code: "rate_limit",
          });
        return readBody(request, bodyBytes, closing.signal);
      },
      send: (status, json) => send(response, status, json),
    });
  };

  const server = createServer((request, response) => {
    request.on("error", () => {});
    response.on("error", () => {});
    const work = take(request, response)
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
    url: `http://${shown}:${address.port}`,
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

/** @param closing a body that is not whole by then is waited for no longer */
async function readBody(request: IncomingMessage, most: number, closing: AbortSignal): Promise<unknown> {
  closing.throwIfAborted();
  const declared = Number(request.headers["content-length"] ?? 0);
  const tooLong = () => {
    // What is not read any more cannot be told from the next request.
    request.unpipe();
    return new ApiError(413, `the body is longer than ${most} bytes`, { code: "request_too_large" });
  };
  if (declared > most) throw tooLong();
  const pieces: Buffer[] = [];
  let length = 0;
  const stop = () => request.destroy();
  closing.addEventListener("abort", stop, { once: true });
  try {
    for await (const piece of request) {
      length += (piece as Buffer).length;
      if (length > most) throw tooLong();
      pieces.push(piece as Buffer);
    }
  } finally {
    closing.removeEventListener("abort", stop);
  }
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(Buffer.concat(pieces)));
  } catch (error) {
    throw new ApiError(400, `the body is not JSON: ${(error as Error).message}`);
  }
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

/** What of an address names what is asked for. Errors: ApiError for what is no address. */
function pathOf(address: string): string {
  const base = "http://localhost";
  if (!URL.canParse(address, base)) throw new ApiError(400, `${JSON.stringify(address.slice(0, 200))} is no address`);
  return new URL(address, base).pathname;
}
