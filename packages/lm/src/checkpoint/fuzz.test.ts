import { expect, it } from "vitest";
import { fuzz } from "../../test/checkpoint/fuzz.ts";

it("reads or refuses damaged files", { timeout: 60_000 }, async () => {
  const report = await fuzz({ cases: 150, seed: 7 });
  expect(report.cases).toBe(150);
  expect(report.read).toBeGreaterThan(0);
  expect(report.complaints.size).toBeGreaterThan(10);
});
