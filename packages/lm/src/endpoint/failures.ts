import { APIConnectionError, APIError } from "openai";
import { EndpointError, type EndpointFault } from "../language-model/errors.ts";

/** The reply could be read but is not what the protocol says. Worth another attempt: proxies cut and mix bodies. */
export class MalformedReply extends Error {
  override name = "MalformedReply";
}

/** One failed attempt, understood. */
export interface Failure {
  fault: EndpointFault;
  status?: number;
  reason: string;
  retryable: boolean;
  /** What the server asked for, in milliseconds. */
  retryAfterMs?: number;
}

/** What an attempt's exception means. */
export function understand(error: unknown, timedOut: boolean): Failure {
  const own = findCause(error, EndpointError);
  if (own) return { fault: own.fault, reason: own.message, retryable: false };
  if (timedOut) return { fault: "timeout", reason: "no whole reply in time", retryable: true };
  if (error instanceof APIError && typeof error.status === "number") {
    const retryAfterMs = error.headers ? retryAfter(error.headers as Headers) : undefined;
    return {
      fault: "http",
      status: error.status,
      reason: `status ${error.status}: ${error.message.replace(/^\d+ /, "").slice(0, 500)}`,
      retryable: error.status === 408 || error.status === 409 || error.status === 429 || error.status >= 500,
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  }
  if (error instanceof MalformedReply || findCause(error, SyntaxError))
    return { fault: "malformed", reason: `malformed reply: ${messageOf(error)}`, retryable: true };
  // An error event inside a stream arrives as an APIError without a status.
  if (error instanceof APIError && !(error instanceof APIConnectionError))
    return { fault: "http", reason: `the stream ended with an error: ${error.message.slice(0, 500)}`, retryable: true };
  return { fault: "network", reason: `the connection failed: ${messageOf(error)}`, retryable: true };
}

/**
 * The wait that a reply's headers ask for, in milliseconds: `retry-after-ms`, or `retry-after` as seconds or as an HTTP
 * date. Undefined without one or when it cannot be read.
 */
export function retryAfter(headers: Headers, now = Date.now()): number | undefined {
  const milliseconds = headers.get("retry-after-ms")?.trim();
  if (milliseconds && /^\d+(\.\d+)?$/.test(milliseconds)) return Number(milliseconds);
  const value = headers.get("retry-after")?.trim();
  if (!value) return undefined;
  if (/^\d+(\.\d+)?$/.test(value)) return Number(value) * 1000;
  const date = Date.parse(value);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** The wait before attempt number `attempt` + 1, in milliseconds: doubling, less a random part of up to half. */
export function backOff(attempt: number, baseMs: number, maxMs: number, random: number): number {
  return Math.min(maxMs, baseMs * 2 ** (attempt - 1)) * (1 - random / 2);
}

/** The first in the chain of causes that is of a class. */
function findCause<E extends Error>(error: unknown, kind: new (...args: never[]) => E): E | undefined {
  for (let cause = error, depth = 0; cause && depth < 8; cause = (cause as Error).cause, depth++)
    if (cause instanceof kind) return cause;
  return undefined;
}

function messageOf(error: unknown): string {
  const messages: string[] = [];
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++)
    if (cause.message && !messages.includes(cause.message)) messages.push(cause.message);
  return messages.join(": ").slice(0, 500) || String(error);
}
