import { runChecks } from "@tenet/align";
import type { ResponseRow } from "@tenet/data";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import { type CompareSamples, type RunPage, type SampleCounts, type Samples, sampleShows } from "./api.ts";

const asking = new Asking({ prompts: 40, done: 2 });
afterAll(() => asking.close());
const { store, done, constitution } = asking.written;
const [first, second] = done as [string, string];

const stored = (run: string, stage: string) => [...store.rows<ResponseRow>(store.stage(run, stage)!.identity)];

test("counts of filters, and what each leaves, are those of a naive look", async () => {
  const { counts, principles, categories } = await asking.get<SampleCounts>(`/api/runs/${first}/samples/counts`);
  const [base, sl, rl] = ["base", "sl", "rl"].map((id) => stored(first, `answers of ${id}`));
  const broken = (row: ResponseRow) => {
    const applying = runChecks(constitution, row).filter(({ applies }) => applies);
    return [...new Set(applying.filter(({ violated }) => violated).map(({ principle }) => principle))];
  };
  const rows = base!.map((row, i) => [row, sl![i]!, rl![i]!]);
  const verdicts = rows.map((replies) => replies.map(broken));
  const naive = {
    all: rows.length,
    breaks: verdicts.filter((all) => all.some((one) => one.length > 0)).length,
    fixed: verdicts.filter((all) => all[0]!.length > 0 && all[2]!.length === 0).length,
    regressed: verdicts.filter((all) => all[0]!.length === 0 && all[2]!.length > 0).length,
    different: verdicts.filter((all) => new Set(all.map(String)).size > 1).length,
    cut: rows.filter((replies) => replies.some(({ finishReason }) => finishReason === "length")).length,
  };
  expect(counts).toMatchObject(naive);
  for (const value of Object.values(naive)) expect(value).toBeGreaterThan(0);
  expect(principles["no-dose"]).toBe(verdicts.filter((all) => all.some((one) => one.includes("no-dose"))).length);
  expect(Object.values(categories).reduce((sum, count) => sum + count, 0)).toBe(rows.length);

  for (const show of sampleShows) {
    const found: number[] = [];
    for (let after: number | undefined = -1; after !== undefined; ) {
      const page: Samples = await asking.get<Samples>(`/api/runs/${first}/samples?show=${show}&limit=7&after=${after}`);
      found.push(...page.samples.map(({ ordinal }) => ordinal));
      expect(page.samples.length).toBeLessThanOrEqual(7);
      after = page.next;
    }
    expect([show, found.length]).toEqual([show, counts[show]]);
    expect(found).toEqual([...new Set(found)].sort((a, b) => a - b));
  }
});

test("every figure of a verdict is as many replies as stand behind its link", async () => {
  const { verdict } = await asking.get<RunPage>(`/api/runs/${first}`);
  const behind = async (query: string) =>
    (await asking.get<Samples>(`/api/runs/${first}/samples?limit=200&${query}`)).samples.length;
  for (const { checkpoint, value, n } of verdict!.metrics.find(({ name }) => name === "violations")!.values) {
    expect([checkpoint, await behind(`show=breaks&by=${checkpoint}`)]).toEqual([checkpoint, Math.round(value * n)]);
    const { counts } = await asking.get<SampleCounts>(`/api/runs/${first}/samples/counts?by=${checkpoint}`);
    expect([checkpoint, counts.breaks]).toEqual([checkpoint, Math.round(value * n)]);
  }
  for (const { checkpoint, value, n } of verdict!.metrics.find(({ name }) => name === "over-refusal")!.values)
    expect(await behind(`show=refused&benign=true&by=${checkpoint}`)).toBe(Math.round(value * n));
  for (const { principle, rate } of verdict!.breaks)
    expect([principle, await behind(`principle=${principle}&by=${verdict!.subject.id}`)]).toEqual([
      principle,
      Math.round(rate.value * rate.n),
    ]);
  expect(verdict!.breaks.length).toBeGreaterThan(0);
});

test("any mixture of filters leaves what a naive filter leaves", async () => {
  const all = (await asking.get<Samples>(`/api/runs/${first}/samples?limit=200`)).samples;
  const words = ["doctor", "rest", "IBUPROFEN", "zzz", "days"];
  await fc.assert(
    fc.asyncProperty(
      fc.record(
        {
          q: fc.constantFrom(...words),
          principle: fc.constantFrom("no-dose", "brief", "none"),
          category: fc.constantFrom("mind", "none"),
          benign: fc.boolean(),
          by: fc.constantFrom("base", "sl", "rl"),
        },
        { requiredKeys: [] },
      ),
      async (filter) => {
        const query = new URLSearchParams(
          Object.entries(filter).map(([name, value]): [string, string] => [name, String(value)]),
        );
        const { samples } = await asking.get<Samples>(`/api/runs/${first}/samples?limit=200&${query}`);
        const { q, principle, category, benign, by } = filter;
        const naive = all.filter(
          (sample) =>
            (category === undefined || sample.category === category) &&
            (benign === undefined || (sample.benign ?? false) === benign) &&
            (principle === undefined ||
              sample.replies.some(
                ({ checkpoint, verdicts }) =>
                  (by === undefined || checkpoint === by) &&
                  verdicts!.some((one) => one.violated && one.principle === principle),
              )) &&
            (q === undefined ||
              JSON.stringify([
                sample.prompt.map(({ content }) => content),
                sample.replies.map(({ response }) => response),
              ])
                .toLowerCase()
                .includes(q.toLowerCase())),
        );
        expect(samples).toEqual(naive);
        const lines = await (await asking.request(`/api/runs/${first}/samples.jsonl?${query}`)).text();
        expect(
          lines
            .split("\n")
            .filter(Boolean)
            .map((line) => JSON.parse(line)),
        ).toEqual(naive);
      },
    ),
    { numRuns: 30 },
  );
});

test("the same prompt side by side in several runs; those whose verdicts differ are those of a naive look", async () => {
  const get = (show: string) =>
    asking.get<CompareSamples>(`/api/compare/samples?runs=${first},${second}&checkpoint=rl&show=${show}&limit=100`);
  const broken = (run: string) =>
    stored(run, "answers of rl").map((row) =>
      runChecks(constitution, row)
        .filter(({ applies, violated }) => applies && violated)
        .map(({ principle }) => principle)
        .join(),
    );
  const [one, other] = [broken(first), broken(second)];
  const places = (keep: (i: number) => boolean) => one.flatMap((_, i) => (keep(i) ? [i] : []));
  const shown = async (show: string) => (await get(show)).samples.map(({ ordinal }) => ordinal);
  expect(await shown("all")).toEqual(places(() => true));
  expect(await shown("different")).toEqual(places((i) => one[i] !== other[i]));
  expect(await shown("worse")).toEqual(places((i) => one[i] === "" && other[i] !== ""));
  expect(await shown("better")).toEqual(places((i) => one[i] !== "" && other[i] === ""));
  const [sample] = (await get("all")).samples;
  expect(sample!.replies.map(({ checkpoint }) => checkpoint)).toEqual([first, second]);
  expect(sample!.replies[1]!.response).toBe(stored(second, "answers of rl")[0]!.response);
  const apart = `/api/compare/samples?runs=${first},${asking.written.failed}&checkpoint=rl`;
  expect(await asking.get<CompareSamples>(apart)).toEqual({ same: false, samples: [], scanned: 0 });
});
