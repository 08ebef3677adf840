import { sleep } from "../language-model/work.ts";

/** A limit of so many units per window. */
export interface SlidingWindow {
  /** Waits until `units` fit into the last window, in the order of asking, and books them. */
  take(units: number, signal?: AbortSignal): Promise<Booking>;
}

/** What was taken; `settle` corrects it once the true amount is known. */
export interface Booking {
  settle(units: number): void;
}

/**
 * A sliding window: at no time do the units taken in the last `windowMs` exceed `limit`, except for a single taking larger than
 * the limit itself, which waits for an empty window.
 */
export function slidingWindow(limit: number, windowMs = 60_000): SlidingWindow {
  const taken: { at: number; units: number }[] = [];
  let line: Promise<unknown> = Promise.resolve();

  const wait = async (units: number, signal: AbortSignal | undefined): Promise<Booking> => {
    for (;;) {
      const now = Date.now();
      while (taken[0] && taken[0].at + windowMs <= now) taken.shift();
      const used = taken.reduce((sum, one) => sum + one.units, 0);
      if (taken.length === 0 || used + units <= limit) {
        const booking = { at: now, units };
        taken.push(booking);
        return {
          settle(actual) {
            booking.units = actual;
          },
        };
      }
      await sleep(taken[0]!.at + windowMs - now, signal);
    }
  };

  return {
    take(units, signal) {
      const turn = line.then(() => wait(units, signal));
      line = turn.catch(() => {}); // one that gave up does not hold the line
      return turn;
    },
  };
}
