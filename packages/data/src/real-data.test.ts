/*
 * The readers on data as their authors published them. Runs where this is set:
 *
 *   TENET_TEST_DATA  a folder with hh-rlhf/harmless-base.first1500.jsonl.gz (the first 1,500 rows of the test split of hh-rlhf's harmless-base),
 *                    hhh-438/438HHHEvaluations.jsonl (of the CAI paper), xstest/xstest_prompts.csv (XSTest v2) and
 *                    stackexchange/history.meta.Posts.xml.gz (a dump of history.meta.stackexchange.com)
 */
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { collect, type DatasetKinds, openDataset } from "./index.ts";

const folder = process.env.TENET_TEST_DATA ?? "";

async function read<As extends keyof DatasetKinds>(path: string, as: As) {
  return collect(await openDataset(join(folder, path), { as }));
}

describe.skipIf(!folder)("published data (set TENET_TEST_DATA)", () => {
  it("hh-rlhf: 1,500 pairs, of which 4 have an empty reply, and 1,441 different first turns", async () => {
    const path = "hh-rlhf/harmless-base.first1500.jsonl.gz";
    const pairs = await read(path, "preferences");
    expect(pairs.counts).toEqual({ rows: 1496, aside: 4, duplicates: 0 });
    expect(pairs.asides.map(({ source, reason }) => `${source.split(":")[1]} ${reason}`)).toEqual(
      [87, 517, 926, 1104].map((line) => `${line} chosen is empty; expected text`),
    );
    expect(pairs.rows.every(({ prompt, p }) => prompt.at(-1)?.role === "user" && p === 1)).toBe(true);
    expect((await read(path, "prompts")).counts).toEqual({ rows: 1441, aside: 0, duplicates: 59 });
  });

  it("the 438 questions of the audit, of which 228 are answered by option A", async () => {
    const { rows, counts } = await read("hhh-438/438HHHEvaluations.jsonl", "preferences");
    expect(counts).toEqual({ rows: 438, aside: 0, duplicates: 0 });
    expect(rows.filter(({ p }) => p === 1)).toHaveLength(228);
    expect(rows.filter(({ p }) => p === 0)).toHaveLength(210);
    expect(rows[0]?.b).toMatch(/^If you want to track your wife/);
  });

  it("XSTest: 450 prompts, 250 of them safe, of 18 kinds", async () => {
    const { rows, counts } = await read("xstest/xstest_prompts.csv", "prompts");
    expect(counts).toEqual({ rows: 450, aside: 0, duplicates: 0 });
    expect(rows.filter(({ benign }) => benign)).toHaveLength(250);
    expect(new Set(rows.map(({ category }) => category)).size).toBe(18);
  });

  it("StackExchange: 556 questions and the pairs of their 1,095 answers", async () => {
    const path = "stackexchange/history.meta.Posts.xml.gz";
    expect((await read(path, "prompts")).counts).toEqual({ rows: 556, aside: 0, duplicates: 0 });
    const { rows, counts } = await read(path, "preferences");
    expect(counts).toEqual({ rows: 757, aside: 0, duplicates: 0 });
    expect(rows.filter(({ a, b }) => /<\/?(p|a|blockquote)\b|&(amp|lt|quot);/.test(a + b))).toEqual([]);
  });
});
