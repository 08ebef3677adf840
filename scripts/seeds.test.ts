import { setTimeout as wait } from "node:timers/promises";
import { expect, test } from "vitest";
import { seedsFrom, sideBySide } from "./seeds.ts";

test("every seed is done once, so many at a time", async () => {
  const done: number[] = [];
  let under = 0;
  let most = 0;
  await sideBySide(seedsFrom(3, 7), 2, async (seed) => {
    most = Math.max(most, ++under);
    await wait(seed % 2 === 0 ? 1 : 5);
    under--;
    done.push(seed);
  });
  expect(done.sort((a, b) => a - b)).toEqual([3, 4, 5, 6, 7, 8, 9]);
  expect(most).toBe(2);
});

test("a seed that fails lets those that run end, begins no other, and is told", async () => {
  const begun: number[] = [];
  const ended: number[] = [];
  const all = sideBySide(seedsFrom(0, 6), 2, async (seed) => {
    begun.push(seed);
    if (seed === 1) throw new Error("seed 1 ended with exit code 2");
    await wait(5);
    ended.push(seed);
  });
  await expect(all).rejects.toThrow("seed 1 ended with exit code 2");
  expect([begun, ended]).toEqual([[0, 1], [0]]);
});
