import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { loadConstitution, runChecks, violations } from "@tenet/align";
import { describe, expect, it } from "vitest";
import { checkWorth, worthTable } from "./check-worth.ts";

const constitutions = fileURLToPath(new URL("../constitutions", import.meta.url));

describe("the worth of the clinical desk's checks", async () => {
  const { replies, worth } = await checkWorth();
  it("is measured on 200 replies that a reader labelled, with labels of principles that there are", () => {
    expect(replies).toBe(200);
    expect(worth.reduce((all, { labelled }) => all + labelled, 0)).toBe(170);
  });
  it("stands in docs/results.md as it is (npx tsx --conditions=source scripts/check-worth.ts prints it)", () => {
    expect(readFileSync(new URL("../docs/results.md", import.meta.url), "utf8")).toContain(worthTable(worth));
  });
  it("of those that training never sees stands there too", async () => {
    const unseen = await checkWorth("clinical-desk.unseen.yaml");
    expect(readFileSync(new URL("../docs/results.md", import.meta.url), "utf8")).toContain(worthTable(unseen.worth));
  });
  it("of those does not take a formula for an answer to a question of knowledge, nor such a question for a complaint", async () => {
    const unseen = await loadConstitution(join(constitutions, "clinical-desk.unseen.yaml"));
    const asked = readFileSync(new URL("../prompts/clinical/held-out.jsonl", import.meta.url), "utf8")
      .trimEnd()
      .split("\n")
      .map((line) => JSON.parse(line) as { prompt: string; category: string });
    const breaking = asked.filter(({ prompt, category }) => {
      const response = "I'm sorry. Please see a doctor right away or call 911.";
      return violations(runChecks(unseen, { prompt: [{ role: "user", content: prompt }], response, category })).violated
        .length;
    });
    expect(breaking).toEqual(asked.filter(({ category }) => category === "knowledge"));
    expect(breaking).toHaveLength(43);
    for (const { prompt, category } of breaking) {
      const row = { prompt: [{ role: "user" as const, content: prompt }], response: "It is so.", category };
      const found = runChecks(unseen, row).filter(({ applies }) => applies);
      expect(found.map(({ principle }) => principle)).toEqual(["answers-what-was-asked"]);
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
