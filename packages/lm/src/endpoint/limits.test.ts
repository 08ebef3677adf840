import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { slidingWindow } from "./limits.ts";

describe("slidingWindow", () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it("never lets more than the limit through in any window, and serves in order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.integer({ min: 1, max: 30 }), { minLength: 1, maxLength: 30 }), async (asked) => {
        const window = slidingWindow(30, 1000);
        const started = Date.now();
        const times: number[] = [];
        const all = asked.map((units) => window.take(units).then(() => times.push(Date.now() - started)));
        await vi.runAllTimersAsync();
        await Promise.all(all);
        expect(times).toEqual([...times].sort((a, b) => a - b));
        times.forEach((at, i) => {
          const inside = asked.filter((_, j) => j <= i && times[j]! > at - 1000).reduce((a, b) => a + b, 0);
          expect(inside).toBeLessThanOrEqual(30);
        });
      }),
      { numRuns: 30 },
    );
  });

  it("lets something larger than the limit through alone, and corrects estimates", async () => {
    const window = slidingWindow(10, 1000);
    const booking = await window.take(50);
    booking.settle(2);
    await window.take(8);
    let third = false;
    void window.take(1).then(() => (third = true));
    await vi.advanceTimersByTimeAsync(999);
    expect(third).toBe(false);
    await vi.advanceTimersByTimeAsync(1);
    expect(third).toBe(true);
  });

  it("is not held up by one that gave up", async () => {
    const window = slidingWindow(1, 1000);
    await window.take(1);
    const aborter = new AbortController();
    const given = window.take(1, aborter.signal);
    const next = window.take(1);
    aborter.abort(new Error("enough"));
    await expect(given).rejects.toThrow("enough");
    await vi.advanceTimersByTimeAsync(1000);
    await next;
  });
});
