import { expect, test } from "vitest";
import { countLine } from "./count-tests.mjs";

const file = (status: string, ...tests: string[]) => ({
  status,
  assertionResults: tests.map((one) => ({ status: one })),
});

test.each([
  ["1 passed, 0 failed", true, [file("passed", "passed")]],
  ["2 passed, 1 failed", false, [file("passed", "passed"), file("failed", "passed", "failed")]],
  ["1 passed, 0 failed, 3 skipped", true, [file("passed", "passed", "skipped", "todo", "pending")]],
  ["0 passed, 1 failed", false, [file("failed")]],
  ["0 passed, 2 failed", false, [file("failed"), file("failed")]],
  ["1 passed, 1 failed", false, [file("failed", "passed")]],
  ["1 passed, 1 failed", false, [file("passed", "passed")]],
])("%s", (line, success, testResults) => {
  expect(countLine({ success, testResults })).toBe(line);
});
