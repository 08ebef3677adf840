import PQueue from "p-queue";
import { EndpointError } from "../language-model/errors.ts";
import type { Prompt, Usage } from "../language-model/types.ts";
import { sleep, untilAborted } from "../language-model/work.ts";
import { backOff, type Failure, understand } from "./failures.ts";
import type { Ledger } from "./ledger.ts";
import { slidingWindow } from "./limits.ts";
import type { EndpointSettings } from "./settings.ts";
import type { Reply } from "./wire.ts";

/** What a call brought: its value, and the usage to book where it used any. */
export interface Outcome<T> {
  value: T;
  usage?: Usage & { estimated: boolean };
}

export interface CallContext {
  signal?: AbortSignal | undefined;
  /** Where the call is booked; in the client's own accounts where absent. */
  account?: Ledger | undefined;
  /** Position in the caller's batch, for errors. */
  request?: number | undefined;
  /** Tokens the call may use, for the limit per minute. */
  expectedTokens: number;
  /** A probe takes a few failures with status 500 for its answer: some servers say so that they cannot do a thing. */
  probe?: boolean;
  onRetry?: ((retry: { attempt: number; waitMs: number; reason: string }) => void) | undefined;
}

export type Attempts = <T>(work: (signal: AbortSignal) => Promise<Outcome<T>>, context: CallContext) => Promise<T>;

/**
 * Makes calls that survive a bad network: limits, time-outs, retries with back-off, accounts.
 *
 * A call is tried until it brings a value, fails for good (a refusal, or retries used up), or the signal aborts. Each
 * attempt passes the limits anew; a wait between attempts holds no place among the concurrent ones. A server that
 * names a time (Retry-After) silences all calls until then, not only the one that was told.
 */
export function createAttempts(settings: EndpointSettings, ledger: Ledger, redact: (text: string) => string): Attempts {
  const queue = new PQueue({ concurrency: settings.concurrency });
  const requests = settings.requestsPerMinute ? slidingWindow(settings.requestsPerMinute) : undefined;
  const tokens = settings.tokensPerMinute ? slidingWindow(settings.tokensPerMinute) : undefined;
  const { perRequest, total, baseSeconds, maxSeconds } = settings.retries;
  let retries = 0;
  let silentUntil = 0;

  const attempt = async <T>(
    work: (signal: AbortSignal) => Promise<Outcome<T>>,
    { signal, expectedTokens, account = ledger }: CallContext,
  ): Promise<{ value: T } | { failure: Failure }> => {
    while (silentUntil > Date.now()) await sleep(silentUntil - Date.now(), signal);
    ledger.admit();
    await requests?.take(1, signal);
    const booking = await tokens?.take(expectedTokens, signal);
    ledger.admit();
    const timeout = AbortSignal.timeout(settings.timeoutSeconds * 1000);
    try {
      const outcome = await work(signal ? AbortSignal.any([signal, timeout]) : timeout);
      if (outcome.usage) {
        account.book(outcome.usage);
        booking?.settle(outcome.usage.promptTokens + outcome.usage.completionTokens);
      }
      return { value: outcome.value };
    } catch (error) {
      if (signal?.aborted) throw signal.reason;
      account.totals.failedAttempts++;
      return { failure: understand(error, timeout.aborted, redact) };
    }
  };

  return async (work, context) => {
    const { signal, request, onRetry } = context;
    for (let tried = 1; ; tried++) {
      signal?.throwIfAborted();
      const result = await untilAborted(
        queue.add(() => {
          signal?.throwIfAborted(); // may have aborted while it stood in the queue
          return attempt(work, context);
        }),
        signal,
      );
      if ("value" in result) return result.value;

      const { failure } = result;
      const fail = (why: string) =>
        new EndpointError(redact(`${settings.baseUrl}: ${failure.reason}${why}`), {
          fault: failure.fault,
          status: failure.status,
          request,
        });
      if (!failure.retryable) throw fail("");
      if (tried > (context.probe && failure.status === 500 ? Math.min(2, perRequest) : perRequest))
        throw fail(` (after ${tried} attempts)`);
      if (retries >= total) throw fail(` (and the ${total} retries allowed in all are used up)`);
      const asked = failure.retryAfterMs ?? 0;
      if (asked > maxSeconds * 1000)
        throw fail(` (the server asks to wait ${Math.ceil(asked / 1000)} s, more than retries.maxSeconds allows)`);
      retries++;
      if (asked > 0) silentUntil = Math.max(silentUntil, Date.now() + asked);
      const waitMs = Math.max(asked, backOff(tried, baseSeconds * 1000, maxSeconds * 1000, Math.random()));
      onRetry?.({ attempt: tried, waitMs, reason: redact(failure.reason) });
      await sleep(waitMs, signal);
    }
  };
}

/** One call: a prompt's kind, its body, and how the reply is to be booked. */
export type Ask = (
  prompt: Prompt,
  body: Record<string, unknown>,
  context: Omit<CallContext, "expectedTokens"> & { onText?: (text: string) => void; onStart?: () => void },
) => Promise<Reply>;
