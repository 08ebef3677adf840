import { hashOf, openStore } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { RowPage, Runs, Samples } from "./api.ts";

const asking = new Asking({ prompts: 6, done: 1 });
afterAll(() => asking.close());

/** A hundred thousand replies to as many prompts would take minutes to write and minutes to judge; a page must do with its own. */
test("a page of a long dataset reads and judges its own rows and no others, wherever it stands", async () => {
  const store = openStore(asking.folder);
  const run = store.begin({ name: "long", recipe: {} });
  run.event({ kind: "opened", data: store.lastEvent(asking.written.done[0]!, "opened")!.data });
  const stage = run.stage({ name: "answers of base", kind: "respond", identity: hashOf("long") });
  const count = 20_000;
  for (let from = 0; from < count; from += 2000)
    stage.append(
      Array.from({ length: 2000 }, (_, i) => {
        const ordinal = from + i;
        const row = {
          id: `reply ${ordinal}`,
          origin: { parents: [`prompt ${ordinal}`] },
          prompt: [{ role: "user", content: `question ${ordinal}` }],
          response: ordinal % 1000 === 999 ? "Take 5 mg." : "See a doctor.",
          finishReason: "stop",
        };
        return { key: hashOf(row.id), input: `prompt ${ordinal}`, ordinal, rows: [row] };
      }),
    );
  stage.finish();
  run.end("done");
  store.close();

  const first = await asking.get<Samples>(`/api/runs/${run.id}/samples?limit=40`);
  expect([first.samples.length, first.scanned, first.next]).toEqual([40, 40, 39]);
  const last = await asking.get<Samples>(`/api/runs/${run.id}/samples?limit=40&after=${count - 11}`);
  expect(last.samples.map(({ ordinal }) => ordinal)).toEqual(Array.from({ length: 10 }, (_, i) => count - 10 + i));
  expect(last.next).toBeUndefined();
  // What is rare is looked for in portions, each of which says where the next begins.
  const found: number[] = [];
  let portions = 0;
  for (let after: number | undefined = -1; after !== undefined; portions++) {
    const page: Samples = await asking.get<Samples>(`/api/runs/${run.id}/samples?principle=no-dose&after=${after}`);
    expect(page.scanned).toBeLessThanOrEqual(2048);
    found.push(...page.samples.map(({ ordinal }) => ordinal));
    after = page.next;
  }
  expect(found).toEqual(Array.from({ length: 20 }, (_, i) => 1000 * i + 999));
  expect(portions).toBeGreaterThanOrEqual(10);
  const rows = await asking.get<RowPage>(
    `/api/runs/${run.id}/stages/answers%20of%20base/rows?after=${count - 3}&limit=5`,
  );
  expect(rows.rows.map(({ ordinal }) => ordinal)).toEqual([count - 2, count - 1]);
}, 240_000);

test("a list of many runs does not wait for all their scorecards, and has them the next time", async () => {
  const store = openStore(asking.folder);
  const card = store.stage(asking.written.done[0]!, "scorecard")!.output;
  for (let i = 0; i < 200; i++) {
    const run = store.begin({ name: "many", recipe: { i } });
    run.stage({ name: "scorecard", kind: "scorecard", identity: hashOf(["card", i]) }).finish({ output: card });
    run.end("done");
  }
  store.close();
  const judged = ({ runs }: Runs) => runs.filter(({ name, tone }) => name === "many" && tone !== undefined).length;
  const first = await asking.get<Runs>("/api/runs");
  expect(first.runs.filter(({ name }) => name === "many")).toHaveLength(200);
  // The latest are summed up at once; of the others stands there what the store says by itself, and that more is read.
  expect(first.runs.map(({ pending = false }) => pending).indexOf(true)).toBeGreaterThanOrEqual(25);
  expect(first.runs.filter(({ pending }) => pending).length).toBeGreaterThan(100);
  let second = judged(first);
  for (let i = 0; i < 600 && second < 200; i++) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    second = judged(await asking.get<Runs>("/api/runs"));
  }
  expect(second).toBe(200);
  const last = await asking.get<Runs>("/api/runs");
  expect(last.runs.filter(({ pending }) => pending)).toEqual([]);
  // What is kept gives way where a run was written since: begun again, it says so.
  const again = openStore(asking.folder);
  const run = again.begin({ name: "many", recipe: { i: 7 } });
  const of = async () => (await asking.get<Runs>("/api/runs")).runs.find(({ id }) => id === run.id)!;
  expect((await of()).status).toBe("running");
  run.stage({ name: "extra", kind: "respond", identity: hashOf("extra") }).finish();
  run.end("failed", "the disk is full");
  expect(await of()).toMatchObject({ status: "failed", error: "the disk is full", stages: { done: 2, begun: 2 } });
  again.close();
}, 240_000);
