import PQueue from "p-queue";
import { EndpointError, UsageError } from "../language-model/errors.ts";
import type { Prompt, Usage } from "../language-model/types.ts";
import { sleep, untilAborted } from "../language-model/work.ts";
import { backOff, type Failure, understand } from "./failures.ts";
import type { Ledger } from "./ledger.ts";
import type { Server, Servers } from "./servers.ts";
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
  /** What is asked; the same goes to the same server where it can. */
  prompt?: unknown;
  /** A probe takes a few failures with status 500 for its answer: some servers say so that they cannot do a thing. */
  probe?: boolean;
  onRetry?: ((retry: { attempt: number; waitMs: number; reason: string }) => void) | undefined;
}

/** One attempt, at the server that it is given. Errors: a UsageError is final, whatever else could be tried. */
type Work<T> = (signal: AbortSignal, server: Server) => Promise<Outcome<T>>;

export type Attempts = <T>(work: Work<T>, context: CallContext) => Promise<T>;

/**
 * Makes calls that survive a bad network: limits, time-outs, retries with back-off, accounts.
 *
 * A call is tried until it brings a value, fails for good (a refusal, or retries used up), or the signal aborts. Each
 * attempt passes the limits anew, at the server that then has room; a wait between attempts holds no place among the concurrent ones. A
 * server that names a time (Retry-After) is not asked by any call until then, not only by the one that was told.
 */
export function createAttempts(
  settings: EndpointSettings,
  servers: Servers,
  ledger: Ledger,
  redact: (text: string) => string,
): Attempts {
  const queue = new PQueue({ concurrency: settings.concurrency * servers.all.length });
  const { perRequest, total, baseSeconds, maxSeconds } = settings.retries;
  let retries = 0;

  const attempt = async <T>(
    work: Work<T>,
    { signal, expectedTokens, prompt, account = ledger }: CallContext,
  ): Promise<{ value: T } | { failure: Failure; server: Server }> => {
    const server = await servers.take(prompt, signal);
    let failure: Failure | undefined;
    try {
      ledger.admit();
      await server.requests?.take(1, signal);
      const booking = await server.tokens?.take(expectedTokens, signal);
      ledger.admit();
      const timeout = AbortSignal.timeout(settings.timeoutSeconds * 1000);
      try {
        const outcome = await work(signal ? AbortSignal.any([signal, timeout]) : timeout, server);
        if (outcome.usage) {
          account.book(outcome.usage);
          booking?.settle(outcome.usage.promptTokens + outcome.usage.completionTokens);
        }
        return { value: outcome.value };
      } catch (error) {
        if (signal?.aborted) throw signal.reason;
        if (error instanceof UsageError) throw error;
        account.totals.failedAttempts++;
        failure = understand(error, timeout.aborted, redact);
        return { failure, server };
      }
    } finally {
      servers.release(server, failure);
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

      const { failure, server } = result;
      const fail = (why: string) =>
        new EndpointError(redact(`${server.address}: ${failure.reason}${why}`), {
          fault: failure.fault,
          status: failure.status,
          request,
        });
      if (!failure.retryable) throw fail("");
      if (tried > (context.probe && failure.status === 500 ? Math.min(2, perRequest) : perRequest))
        throw fail(` (after ${tried} attempts)`);
      if (retries >= total) throw fail(` (and the ${total} retries allowed in all are used up)`);
      // Others may be free at once: the wait that was asked for is this server's.
      const asked = servers.othersAwake(server) ? 0 : (failure.retryAfterMs ?? 0);
      if (asked > maxSeconds * 1000)
        throw fail(` (the server asks to wait ${Math.ceil(asked / 1000)} s, more than retries.maxSeconds allows)`);
      retries++;
      const waitMs = Math.max(asked, backOff(tried, baseSeconds * 1000, maxSeconds * 1000, Math.random()));
      const where = servers.all.length > 1 ? `${new URL(server.address).host}: ` : "";
      onRetry?.({ attempt: tried, waitMs, reason: redact(`${where}${failure.reason}`) });
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
