import { timingSafeEqual } from "node:crypto";
import type { Context, MiddlewareHandler } from "hono";
import type { ApiError } from "./api.ts";

export interface GuardOptions {
  /** Values of `Host` under which the server is meant, e.g. 127.0.0.1:4747; asked each time, since a port is known late. */
  readonly hosts: () => readonly string[];
  /** What a page must show to write. */
  readonly token: string;
}

/** Bytes that a request's body may have. */
export const mostBytes = 1_000_000;

const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "connect-src 'self'",
  "img-src 'self' data:",
  "frame-ancestors 'none'",
  "base-uri 'none'",
  "form-action 'none'",
].join("; ");

/**
 * What stands between the store and the web pages of others that the same browser shows, in the order in which it is asked.
 *
 * 421: a name that leads here and is not ours, as in DNS rebinding. 403: asked by another site's page, or a write without this
 * page's token. 415: a write that is no JSON, which a form of another site could send. 413: too large.
 */
export function guard({ hosts, token }: GuardOptions): MiddlewareHandler {
  return async (context, next) => {
    const refused = whyRefused(context, hosts(), token);
    if (refused) return headed(refusal(context, ...refused));
    await next();
    headed(context.res);
    return;
  };
}

type Status = 403 | 413 | 415 | 421;

function whyRefused({ req }: Context, hosts: readonly string[], token: string): [Status, string] | undefined {
  const host = req.header("host") ?? "";
  if (!hosts.includes(host.toLowerCase()))
    return [421, `this server answers to ${hosts.join(", ")}, not to ${JSON.stringify(host)}`];
  const site = req.header("sec-fetch-site");
  if (site !== undefined && site !== "same-origin" && site !== "none") return [403, "asked by a page of another site"];
  const origin = req.header("origin");
  if (origin !== undefined && !hosts.some((own) => origin === `http://${own}`))
    return [403, `asked by a page of ${origin}`];
  if (req.method === "GET" || req.method === "HEAD") return undefined;
  if (!/^application\/json\b/i.test(req.header("content-type") ?? ""))
    return [415, "expected a body of the type application/json"];
  if (!(Number(req.header("content-length")) <= mostBytes))
    return [413, `a body of at most ${mostBytes} bytes, with its length`];
  if (!same(req.header("x-tenet-token") ?? "", token))
    return [403, "the token of this page is missing or another's; load the page again"];
  return undefined;
}

/** In a time that does not tell how much of it is right. */
function same(given: string, token: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(token)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function refusal(context: Context, status: Status, message: string): Response {
  return context.json<ApiError>({ error: { name: "Refused", message } }, status);
}

function headed(response: Response): Response {
  const set = (name: string, value: string) => {
    if (!response.headers.has(name)) response.headers.set(name, value);
  };
  // A page that brings its own policy, as the static report does, keeps it.
  set("content-security-policy", policy);
  set("x-content-type-options", "nosniff");
  set("referrer-policy", "no-referrer");
  set("cross-origin-opener-policy", "same-origin");
  set("cross-origin-resource-policy", "same-origin");
  set("cache-control", "no-store");
  return response;
}
