import { createHash } from "node:crypto";
import { EndpointError } from "../language-model/errors.ts";
import type { Failure } from "./failures.ts";
import { type SlidingWindow, slidingWindow } from "./limits.ts";
import { addressesOf, type EndpointSettings } from "./settings.ts";

/** One of the servers that have an endpoint's model. */
export interface Server {
  /** Up to and with the version. */
  readonly address: string;
  /** Limits per minute, where there are any. */
  readonly requests: SlidingWindow | undefined;
  readonly tokens: SlidingWindow | undefined;
}

/** What came of a server up to now. */
export interface ServerUse {
  readonly address: string;
  /** Attempts that it was given. */
  readonly calls: number;
  /** Those that failed. */
  readonly failures: number;
}

/** Whether a server answered when it was asked for its models. */
export interface ServerReached {
  readonly address: string;
  /** Why it is of no use now; absent where it answered, even if by a refusal. */
  readonly dead?: string;
}

/** The servers of an endpoint, and which of them is asked next. */
export interface Servers {
  readonly all: readonly Server[];
  /**
   * Books a place at a server for a prompt, as soon as one has room. Errors: the signal's reason; EndpointError where all of them asked to be
   * left alone for longer than `retries.maxSeconds`.
   */
  take(prompt: unknown, signal: AbortSignal | undefined): Promise<Server>;
  /** Gives the place back, with what became of the attempt. */
  release(server: Server, failure?: Failure): void;
  /** Lets a server rest that did not answer. */
  rest(server: Server): void;
  /** Whether another server could be asked at once. */
  othersAwake(server: Server): boolean;
  use(): ServerUse[];
}

interface Place extends Server {
  open: number;
  calls: number;
  failures: number;
  /** Failures since it last answered. */
  inARow: number;
  /** Attempts that were under way when it failed: what comes of them is the same failure, not more of them. */
  pardoned: number;
  /** Until then it is asked only where no other can be. */
  restUntil: number;
  /** Until then it asked not to be asked (Retry-After). */
  silentUntil: number;
}

/** Milliseconds; a longer timer ends at once. */
const longestTimer = 2 ** 31 - 1;

/** How far a server's load may be above the mean before a prompt goes to the next one. */
const headroom = 1.25;

/**
 * Spreads prompts over servers with the same model.
 *
 * A prompt goes to the server that it hashes to (rendezvous hashing: Thaler and Ravishankar 1998), whose prefix cache knows it, and
 * to the next in its order while that one is full, a quarter above the mean load (Mirrokni et al. 2018, bounded loads), or rests. A
 * server rests after a failure that may pass, the longer the more there were in a row; where all rest, the one that wakes first is
 * asked. One that names a time (Retry-After) is silent until then in any case.
 */
export function createServers(settings: EndpointSettings): Servers {
  const { concurrency, requestsPerMinute, tokensPerMinute, retries } = settings;
  const places = addressesOf(settings).map(
    (address): Place => ({
      address,
      requests: requestsPerMinute ? slidingWindow(requestsPerMinute) : undefined,
      tokens: tokensPerMinute ? slidingWindow(tokensPerMinute) : undefined,
      ...{ open: 0, calls: 0, failures: 0, inARow: 0, pardoned: 0, restUntil: 0, silentUntil: 0 },
    }),
  );
  const placeOf = (server: Server) => places.find((place) => place === server)!;

  const waiting = new Set<() => void>();
  let timer: NodeJS.Timeout | undefined;
  const wake = () => {
    clearTimeout(timer);
    timer = undefined;
    const woken = [...waiting];
    waiting.clear();
    for (const one of woken) one();
  };
  /** Until a place is given back or a server's rest is over. */
  const changed = (signal: AbortSignal | undefined) =>
    new Promise<void>((resolve, reject) => {
      const abort = () => {
        waiting.delete(go);
        if (waiting.size === 0) {
          clearTimeout(timer);
          timer = undefined;
        }
        reject(signal!.reason);
      };
      const go = () => {
        signal?.removeEventListener("abort", abort);
        resolve();
      };
      if (signal?.aborted) return abort();
      signal?.addEventListener("abort", abort, { once: true });
      waiting.add(go);
      const now = Date.now();
      const ends = places.flatMap(({ restUntil, silentUntil }) => [restUntil, silentUntil]).filter((at) => at > now);
      if (ends.length > 0) timer ??= setTimeout(wake, Math.min(longestTimer, Math.min(...ends) - now));
    });

  const choose = (order: readonly Place[]): Place | undefined => {
    const now = Date.now();
    const speaking = order.filter(({ silentUntil }) => silentUntil <= now);
    const awake = speaking.filter(({ restUntil }) => restUntil <= now);
    const candidates = awake.length > 0 ? awake : speaking.toSorted((a, b) => a.restUntil - b.restUntil).slice(0, 1);
    const mean = candidates.reduce((sum, { open }) => sum + open, 0) / candidates.length;
    const most = Math.min(concurrency, Math.ceil(headroom * (mean + 1)));
    return candidates.find(({ open }) => open < most);
  };

  /** Errors: EndpointError where every server asked not to be asked for longer than a call may wait. */
  const refuseLongSilence = () => {
    const first = places.reduce((one, other) => (other.silentUntil < one.silentUntil ? other : one));
    const seconds = (first.silentUntil - Date.now()) / 1000;
    if (seconds > retries.maxSeconds)
      throw new EndpointError(
        `${first.address}: the server asked not to be asked for ${Math.ceil(seconds)} s more, more than retries.maxSeconds allows`,
        { fault: "http", status: 429 },
      );
  };

  return {
    all: places,
    async take(prompt, signal) {
      const order = preferred(places, prompt);
      let place = choose(order);
      for (; !place; place = choose(order)) {
        refuseLongSilence();
        await changed(signal);
      }
      place.open++;
      place.calls++;
      return place;
    },
    release(server, failure) {
      const place = placeOf(server);
      place.open--;
      if (failure?.retryable) {
        if (place.pardoned > 0) place.pardoned--;
        else {
          const seconds = Math.min(retries.maxSeconds, retries.baseSeconds * 2 ** place.inARow++);
          place.restUntil = Date.now() + 1000 * seconds;
          place.pardoned = place.open;
        }
        place.silentUntil = Math.max(place.silentUntil, Date.now() + (failure.retryAfterMs ?? 0));
      } else if (!failure) {
        // It is there again: nothing is to be waited for any more.
        place.inARow = place.pardoned = place.restUntil = 0;
      }
      if (failure) place.failures++;
      wake();
    },
    rest(server) {
      placeOf(server).restUntil = Date.now() + 1000 * retries.baseSeconds;
    },
    othersAwake: (server) =>
      places.some((one) => one !== server && Math.max(one.restUntil, one.silentUntil) <= Date.now()),
    use: () => places.map(({ address, calls, failures }) => ({ address, calls, failures })),
  };
}

/** The servers in a prompt's own order, which one more or one fewer leaves as it is for the others. */
function preferred(places: readonly Place[], prompt: unknown): readonly Place[] {
  if (places.length === 1) return places;
  const key = JSON.stringify(prompt);
  const weight = ({ address }: Place) => createHash("sha256").update(`${address}\0${key}`).digest().readUIntBE(0, 6);
  return places
    .map((place) => ({ place, weight: weight(place) }))
    .sort((a, b) => b.weight - a.weight)
    .map(({ place }) => place);
}
