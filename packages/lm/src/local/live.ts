import type { CallOptions, GenerateRequest, GenerateResult, LanguageModel } from "../language-model/index.ts";
import type { Job } from "./generate.ts";

export interface LiveDependencies {
  /** A request that passed all checks, under a position that no other has. Throws UsageError, CapabilityError. */
  job(request: GenerateRequest, position: number): Job;
  /** Decodes what arrives, until there is nothing more. */
  run(arrivals: () => readonly Job[]): AsyncIterable<GenerateResult>;
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
 * there are none. What fails in the decoder fails for all that are under way, and the next caller begins anew.
 */
export function liveGeneration({ job, run }: LiveDependencies): LanguageModel["generate"] {
  const callers = new Map<number, Caller>();
  let arrived: Job[] = [];
  let running = false;
  let next = 0;

  const decode = async () => {
    running = true;
    let failure: Caller["failure"];
    try {
      const arrivals = () => arrived.splice(0);
      while (arrived.length > 0)
        for await (const result of run(arrivals)) {
          const caller = callers.get(result.request);
          if (!caller) continue;
          caller.results.push({ ...result, request: caller.places.get(result.request)! });
          caller.left--;
          caller.wake();
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

  return async function* generate(requests: readonly GenerateRequest[], options: CallOptions = {}) {
    const { signal, onEvent, stream } = options;
    const left = new AbortController();
    const both = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const caller: Caller = { places: new Map(), results: [], left: 0, failure: undefined, wake: () => {} };
    const first = next;
    const jobs = requests.map((request, place): Job => {
      const made = job(request, first + place);
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
