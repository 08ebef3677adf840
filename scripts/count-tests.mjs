// Prints "N passed, N failed" (and ", N skipped" where some were) from the file of vitest's JSON reporter.
import { readFileSync } from "node:fs";

/**
 * A file that failed as a whole (it does not load, or a hook of it broke) counts as one failed test even where none of
 * its tests failed; an error outside every file does as well.
 *
 * @typedef {{ status: string, assertionResults: { status: string }[] }} FileResult
 * @param {{ success: boolean, testResults: FileResult[] }} report
 * @returns {string}
 */
export function countLine(report) {
  const tests = report.testResults.flatMap((file) => file.assertionResults);
  const passed = tests.filter((test) => test.status === "passed").length;
  const skipped = tests.filter((test) => ["skipped", "pending", "todo", "disabled"].includes(test.status)).length;
  const brokenFiles = report.testResults.filter(
    (file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"),
  ).length;
  let failed = tests.length - passed - skipped + brokenFiles;
  if (!report.success && failed === 0) failed = 1;
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ""}`;
}

const path = process.argv[2];
if (path && process.argv[1]?.endsWith("count-tests.mjs"))
  console.log(countLine(JSON.parse(readFileSync(path, "utf8"))));
