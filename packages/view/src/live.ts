import type { RunEvent, Store } from "@tenet/runs";

/** How often the store is asked whether anything changed. */
const lookMilliseconds = 250;
/** How often runs that are under way are asked whether their process lives: its death writes nothing. */
const pulseMilliseconds = 1_000;
/** How often a silent stream says that it is still there. */
const heartbeatMilliseconds = 15_000;
/** Events read at once. */
const page = 500;

/** What a stream tells. `cursor` names all that the stream has told, so that a later one goes on behind it. */
export type Told =
  | { readonly kind: "event"; readonly run: string; readonly event: RunEvent; readonly cursor: string }
  | { readonly kind: "change" }
  | { readonly kind: "heartbeat" };

/**
 * One look at the store for all who listen: whether another process, or this server, wrote something. A look costs a tenth of a
 * millisecond; what changed is asked only then.
 */
export class Live {
  readonly #store: Store;
  readonly #listeners = new Set<() => void>();
  #timers: NodeJS.Timeout[] = [];
  #seen = -1;
  #running = "";
  #own = 0;
  #closed = false;

  constructor(store: Store) {
    this.#store = store;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Listeners at this moment. */
  get size(): number {
    return this.#listeners.size;
  }

  /** What this server wrote itself, which the store does not count among changes. */
  touch(): void {
    this.#own++;
    for (const wake of this.#listeners) wake();
  }

  /** A number that changes with whatever is written. */
  version(): string {
    return `${this.#store.changes()}.${this.#own}`;
  }

  close(): void {
    this.#closed = true;
    this.#rest();
    for (const wake of this.#listeners) wake();
  }

  /**
   * Events of some runs behind a cursor, each once and in order, and between them "change" where anything else was written.
   * Ends with the signal, or as the server closes.
   */
  async *follow(runs: readonly string[], cursor: string | undefined, signal: AbortSignal): AsyncGenerator<Told> {
    const at = parseCursor(cursor, runs);
    let woken = true;
    let wake = () => {};
    const listener = () => {
      woken = true;
      wake();
    };
    this.#listeners.add(listener);
    signal.addEventListener("abort", listener);
    this.#watch();
    try {
      while (!signal.aborted && !this.#closed) {
        if (woken) {
          woken = false;
          for (const run of runs) {
            for (;;) {
              const events = this.#store.eventsBehind(run, at.get(run) ?? 0, page);
              for (const event of events) {
                at.set(run, event.sequence);
                yield { kind: "event", run, event, cursor: cursorOf(at) };
              }
              if (events.length < page) break;
            }
          }
          yield { kind: "change" };
        }
        if (woken) continue;
        const quiet = await new Promise<boolean>((resolve) => {
          const timer = setTimeout(() => resolve(true), heartbeatMilliseconds);
          wake = () => {
            clearTimeout(timer);
            resolve(false);
          };
        });
        if (quiet) yield { kind: "heartbeat" };
      }
    } finally {
      this.#listeners.delete(listener);
      signal.removeEventListener("abort", listener);
      if (this.#listeners.size === 0) this.#rest();
    }
  }

  #watch(): void {
    if (this.#timers.length > 0 || this.#closed) return;
    this.#seen = this.#store.changes();
    this.#running = this.#alive();
    const wakeAll = () => {
      for (const wake of this.#listeners) wake();
    };
    const look = () => {
      const now = this.#store.changes();
      if (now === this.#seen) return;
      this.#seen = now;
      wakeAll();
    };
    const feelPulse = () => {
      const now = this.#alive();
      if (now === this.#running) return;
      this.#running = now;
      wakeAll();
    };
    this.#timers = [setInterval(look, lookMilliseconds), setInterval(feelPulse, pulseMilliseconds)];
  }

  #alive(): string {
    return this.#store.running().join(",");
  }

  #rest(): void {
    for (const timer of this.#timers) clearInterval(timer);
    this.#timers = [];
  }
}

/** "run:sequence" of each run, with commas between. */
function cursorOf(at: ReadonlyMap<string, number>): string {
  return [...at].map(([run, sequence]) => `${run}:${sequence}`).join(",");
}

function parseCursor(cursor: string | undefined, runs: readonly string[]): Map<string, number> {
  const at = new Map<string, number>();
  for (const part of (cursor ?? "").split(",")) {
    const [run, sequence] = part.split(":");
    if (run !== undefined && runs.includes(run) && /^\d{1,12}$/.test(sequence ?? "")) at.set(run, Number(sequence));
  }
  return at;
}
