import type { CallOptions, GenerateRequest, GenerateResult, Prompt, Tokens } from "../language-model/index.ts";
import type { Job } from "./generate.ts";
import type { TokenModel } from "./token-model.ts";

export interface LiveDependencies {
  /** A request that passed all checks, under a position that no other has; `place` is its own among the caller's. Throws UsageError, CapabilityError. */
  job(request: GenerateRequest<Prompt | Tokens>, position: number, place: number): Job;
  /** How many samples of so many positions are decoded together, and up to how many positions each could then have. */
  room(positions: number): Room;
  /** Decodes what arrives, so many samples together, until there is nothing more. */
  run(arrivals: () => readonly Job[], slots: number): AsyncIterable<GenerateResult>;
}

export interface Room {
  readonly slots: number;
  readonly positions: number;
}

/** What is under way for one caller. */
interface Caller {
  /** Positions of its requests, by those of the jobs. */
  readonly places: Map<number, number>;
  readonly results: GenerateResult[];
  /** Samples that are still to come. */
  left: number;
  failure: { readonly error: unknown } | undefined;
  wake: () => void;
}

/**
 * `generate` for callers that come and go: their jobs meet in one run of the decoder, which begins with the first and ends when
 * there are none. Memory is shared out for jobs as long as the first may become: one that may become longer, and whoever comes
 * behind it, waits until the others are done, and is shared out anew. What fails in the decoder fails for all that are under way,
 * and the next caller begins anew.
 */
export function liveGeneration({ job, room, run }: LiveDependencies): TokenModel["generate"] {
  const callers = new Map<number, Caller>();
  let arrived: Job[] = [];
  let running = false;
  let next = 0;

  const decode = async () => {
    running = true;
    let failure: Caller["failure"];
    try {
      await companyOf(() => arrived.length);
      while (arrived.length > 0) {
        const { slots, positions } = room(positionsOf(arrived[0]!));
        const arrivals = () => {
          arrived = arrived.filter(({ options }) => !options?.signal?.aborted);
          const long = arrived.findIndex((job) => positionsOf(job) > positions);
          return arrived.splice(0, long < 0 ? arrived.length : long);
        };
        for await (const result of run(arrivals, slots)) {
          const caller = callers.get(result.request);
          if (!caller) continue;
          caller.results.push({ ...result, request: caller.places.get(result.request)! });
          caller.left--;
          caller.wake();
        }
      }
    } catch (error) {
      failure = { error };
    }
    running = false;
    if (!failure) return;
    arrived = [];
    for (const caller of new Set(callers.values())) {
      caller.failure = failure;
      caller.wake();
    }
  };

  return async function* generate(requests: readonly GenerateRequest<Prompt | Tokens>[], options: CallOptions = {}) {
    const { signal, onEvent, stream } = options;
    const left = new AbortController();
    const both = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const caller: Caller = { places: new Map(), results: [], left: 0, failure: undefined, wake: () => {} };
    const first = next;
    const jobs = requests.map((request, place): Job => {
      const made = job(request, first + place, place);
      caller.places.set(made.position, place);
      caller.left += made.sampling.n;
      const events = onEvent && ((event: Parameters<typeof onEvent>[0]) => onEvent({ ...event, request: place }));
      return { ...made, options: { signal: both, ...(events && { onEvent: events }), ...(stream && { stream }) } };
    });
    next += jobs.length;
    if (jobs.length === 0) return;
    signal?.throwIfAborted();
    for (const { position } of jobs) callers.set(position, caller);
    const aborted = () => caller.wake();
    signal?.addEventListener("abort", aborted);
    arrived.push(...jobs);
    if (!running) void decode();
    try {
      for (;;) {
        while (caller.results.length > 0) yield caller.results.shift()!;
        if (caller.left === 0) return;
        if (caller.failure) throw caller.failure.error;
        if (signal?.aborted) throw signal.reason;
        await new Promise<void>((resolve) => {
          caller.wake = resolve;
        });
      }
    } finally {
      signal?.removeEventListener("abort", aborted);
      left.abort(new Error("the consumer has left"));
      for (const { position } of jobs) callers.delete(position);
    }
  };
}

function positionsOf({ tokens, room }: Job): number {
  return tokens.length + room;
}

/** Turns of the program's loop at most in which those who come with the first are waited for. */
const longestWait = 16;

/** Waits as long as each turn brings more. */
async function companyOf(count: () => number): Promise<void> {
  for (let turn = 0, before = 0; turn < longestWait && count() > before; turn++) {
    before = count();
    await new Promise((resolve) => setImmediate(resolve));
  }
}
