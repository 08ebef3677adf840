import { expect, it } from "vitest";
import { fuzz } from "../../test/checkpoint/fuzz.ts";

it("reads or refuses damaged files, for two seconds", async () => {
  const report = await fuzz({ seconds: 2, seed: 7 });
  expect(report.cases).toBeGreaterThan(50);
  expect(report.read).toBeGreaterThan(0);
  expect(report.complaints.size).toBeGreaterThan(10);
});
