import type { RunEvent, Store } from "@tenet/runs";

/** Runs whose events are kept at once. */
const mostKept = 5_000;

/**
 * The last event of a kind of each run, kept: what was looked through once is not looked through again, so that a run with a
 * hundred thousand events costs as much as one with ten.
 */
export class LastEvents<Made> {
  readonly #store: Store;
  readonly #kind: string;
  readonly #make: (event: RunEvent) => Made;
  readonly #kept = new Map<string, { upTo: number; first: string | undefined; made: Made | undefined }>();

  /** `make`: what is kept of an event. */
  constructor(store: Store, kind: string, make: (event: RunEvent) => Made) {
    this.#store = store;
    this.#kind = kind;
    this.#make = make;
  }

  of(run: string): Made | undefined {
    const last = this.#store.lastSequence(run);
    const first = this.#store.eventsBehind(run, 0, 1)[0]?.time;
    const kept = this.#kept.get(run);
    // A run that was removed and made anew counts from 1 again.
    const known = kept && kept.first === first && kept.upTo <= last ? kept : undefined;
    if (known?.upTo === last) return known.made;
    const event = this.#store.lastEvent(run, this.#kind, { after: known?.upTo ?? 0 });
    const made = event ? this.#make(event) : known?.made;
    if (this.#kept.size >= mostKept) this.#kept.clear();
    this.#kept.set(run, { upTo: last, first, made });
    return made;
  }
}
