import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkWorth, worthTable } from "./check-worth.ts";

describe("the worth of the clinical desk's checks", async () => {
  const { replies, worth } = await checkWorth();
  it("is measured on 200 replies that a reader labelled, with labels of principles that there are", () => {
    expect(replies).toBe(200);
    expect(worth.reduce((all, { labelled }) => all + labelled, 0)).toBe(170);
  });
  it("stands in docs/results.md as it is (npx tsx --conditions=source scripts/check-worth.ts prints it)", () => {
    expect(readFileSync(new URL("../docs/results.md", import.meta.url), "utf8")).toContain(worthTable(worth));
  });
  it("of those that training never sees stands there too, and is high", async () => {
    const unseen = await checkWorth("clinical-desk.unseen.yaml");
    expect(readFileSync(new URL("../docs/results.md", import.meta.url), "utf8")).toContain(worthTable(unseen.worth));
    for (const { precision, recall } of unseen.worth) {
      expect(precision.value).toBeGreaterThan(0.85);
      expect(recall.value).toBeGreaterThan(0.75);
    }
  });
  it("is high where a program can tell", () => {
    for (const id of ["see-a-clinician", "emergency-signs"]) {
      const { precision, recall } = worth.find(({ principle }) => principle === id)!;
      expect(precision.value).toBeGreaterThan(0.85);
      expect(recall.value).toBeGreaterThan(0.85);
    }
  });
});
