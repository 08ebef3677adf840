import { existsSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { isLocked, Lock } from "./lock.ts";

test("a lock is had once, until it is released", () => {
  const path = join(temporaryFolder(), "locks", "run");
  expect(isLocked(path)).toBe(false);
  expect(existsSync(path)).toBe(false);
  const lock = Lock.acquire(path)!;
  expect(isLocked(path)).toBe(true);
  expect(Lock.acquire(path)).toBeUndefined();
  lock.release();
  expect(isLocked(path)).toBe(false);
  const next = Lock.acquire(path);
  expect(next).toBeDefined();
  lock.release();
  expect(isLocked(path)).toBe(true);
  next!.release();
});

test("locks of different names do not hinder each other", () => {
  const folder = temporaryFolder();
  const [first, second] = [Lock.acquire(join(folder, "a")), Lock.acquire(join(folder, "b"))];
  expect(first && second).toBeDefined();
  first!.release();
  expect(isLocked(join(folder, "b"))).toBe(true);
  second!.release();
});
