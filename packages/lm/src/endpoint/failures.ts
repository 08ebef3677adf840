import { APIConnectionError, APIError } from "openai";
import { EndpointError, type EndpointFault, seesNoImages } from "../language-model/errors.ts";
import { Refused, statusIn, TooLong, wordsOf } from "./refusal.ts";

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

/** Characters of a server's words that are shown. */
const shown = 500;

/**
 * What an attempt's exception means. Words of the server are redacted before they are cut, so that no part of a secret is left at
 * the cut.
 */
export function understand(error: unknown, timedOut: boolean, redact = (text: string) => text): Failure {
  const cut = (text: string) => redact(text).slice(0, shown);
  const own = findCause(error, EndpointError);
  if (own) {
    const status = own.status === undefined ? {} : { status: own.status };
    return { fault: own.fault, ...status, reason: redact(own.message), retryable: false };
  }
  if (timedOut) return { fault: "timeout", reason: "no whole reply in time", retryable: true };
  const refused = findCause(error, Refused);
  if (refused) {
    const { status, headers, body } = refused;
    const retryAfterMs = headers ? retryAfter(headers) : undefined;
    const words = cut(wordsOf(body)) || "and says nothing";
    return {
      fault: "http",
      ...(status === undefined ? {} : { status }),
      reason: status === undefined ? `an error instead of a reply: ${words}` : `status ${status}: ${words}`,
      retryable: worthAnother(status, words),
      ...(retryAfterMs !== undefined && { retryAfterMs }),
    };
  }
  const tooLong = findCause(error, TooLong);
  if (tooLong) return { fault: "malformed", reason: tooLong.message, retryable: false };
  if (error instanceof MalformedReply || findCause(error, SyntaxError))
    return { fault: "malformed", reason: `malformed reply: ${cut(messageOf(error))}`, retryable: true };
  // An error event inside a stream arrives as an APIError without a status.
  if (error instanceof APIError && !(error instanceof APIConnectionError)) {
    const status = statusIn(error.error);
    const words = cut(wordsOf(error.error) || error.message);
    return {
      fault: "http",
      ...(status === undefined ? {} : { status }),
      reason: `the stream ended with an error: ${words}`,
      retryable: worthAnother(status, words),
    };
  }
  return { fault: "network", reason: `the connection failed: ${cut(messageOf(error))}`, retryable: true };
}

function worthAnother(status: number | undefined, words: string): boolean {
  if (seesNoImages(words)) return false;
  if (status === undefined) return true;
  return status === 408 || status === 409 || status === 429 || (status >= 500 && status !== 501);
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
export function findCause<E extends Error>(error: unknown, kind: new (...args: never[]) => E): E | undefined {
  for (let cause = error, depth = 0; cause && depth < 8; cause = (cause as Error).cause, depth++)
    if (cause instanceof kind) return cause;
  return undefined;
}

function messageOf(error: unknown): string {
  const messages: string[] = [];
  for (let cause = error, depth = 0; cause instanceof Error && depth < 4; cause = cause.cause, depth++)
    if (cause.message && !messages.includes(cause.message)) messages.push(cause.message);
  return messages.join(": ") || String(error);
}
