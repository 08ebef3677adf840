import { hashOf } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { RowPage, RunPage } from "./api.ts";

const asking = new Asking({ prompts: 24, done: 1 });
afterAll(() => asking.close());
const [first] = asking.written.done as [string];

test("a result that a later one replaced is listed with its figures, and read as it was", async () => {
  const again = new Asking({ prompts: 6, done: 1 });
  const [id] = again.written.done as [string];
  const { store: own } = again.written;
  const info = own.run(id);
  const before = own.stage(id, "scorecard")!;
  const rows = own.page(own.stage(id, "labels")!.identity, { after: -1, limit: 50 }).rows;
  const run = own.begin({ name: info.name, recipe: info.recipe, versions: {} });
  expect(run.id).toBe(id);
  run.stage({ name: "labels", kind: "label", identity: hashOf("other labels") }).finish();
  const card = { ...(before.output as object), title: "After people spoke" };
  run.stage({ name: "scorecard", kind: "scorecard", identity: hashOf("other card") }).finish({ output: card });
  run.end("done");
  const page = await again.get<RunPage>(`/api/runs/${id}`);
  expect(page.superseded.map(({ stage, title }) => [stage, title])).toEqual([
    ["labels", "labels"],
    ["scorecard", "scorecard on held-out prompts"],
  ]);
  const [labels, former] = page.superseded;
  expect(former!.violations).toEqual(page.run.violations);
  const read = await again.get<RowPage>(
    `/api/runs/${id}/stages/labels/rows?limit=50&result=${encodeURIComponent(labels!.identity)}`,
  );
  expect(read.rows.map(({ row }) => row.id)).toEqual(rows.map(({ row }) => row.id));
  expect(read.replaced).toBe(labels!.replaced);
  const report = async (search: string) => (await again.request(`/reports/${id}${search}`)).text();
  expect(await report("")).toContain("After people spoke");
  expect(await report(`?result=${former!.identity}`)).toContain("Small desk 1 (invented)");
  expect((await again.request(`/reports/${id}?result=none`)).status).toBe(404);
  again.close();
});

test("a run's page leads to what people are asked of it", async () => {
  expect((await asking.get<RunPage>(`/api/runs/${first}`)).queues).toEqual([]);
  const { id } = await asking.post<{ id: string }>("/api/queues", { name: "q", run: first, size: 4, who: "ann" });
  const { queues } = await asking.get<RunPage>(`/api/runs/${first}`);
  expect(queues).toMatchObject([{ id, name: "q", items: 4, answers: 0 }]);
});

test("what a label cost stands beside what people ask", async () => {
  const { verdict } = await asking.get<RunPage>(`/api/runs/${first}`);
  expect(verdict!.labelling).toMatchObject({
    labels: 20,
    total: { tokens: 100, seconds: 0.1, usd: 0.002 },
    breakEven: { atHigh: 1, atLow: 1 },
  });
  expect(verdict!.humanLabelUsd).toEqual([1, 10]);
});
