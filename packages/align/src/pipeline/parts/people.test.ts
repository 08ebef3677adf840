import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PairRow, PreferenceRow } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { reading, run, runWhole, stagesThat } from "../../../test/pipeline/run.ts";
import type { Scorecard } from "../../evaluate/index.ts";
import { Desk, drawnSide } from "../../people/index.ts";
import { exportRun } from "../export-run.ts";
import { openRecipe } from "../open.ts";
import type { AuditReport } from "./audit.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-people-runs-"));
const store = join(folder, "store");
const noAudit = reinforcedRecipe.replace("  audit: { path: known.jsonl }\n", "");
const label = "  label: { swap: true, constitutionFirst: { by: checks, downWeight: 0.5 } }\n";
let recipe: string;
let id: string;

beforeAll(async () => {
  const people = noAudit.replace(label, "  label: { method: people }\n  people: { pairs: 6, each: 2, usd: 0.5 }\n");
  recipe = await writeRecipe(join(folder, "recipe"), { recipe: people });
});
afterAll(() => rm(folder, { recursive: true }));

/** The queue that a run waits for, and its rows. */
const queueIn = () =>
  reading(store, (reader) => {
    const [queue] = reader.queues();
    return { queue: queue!.id, rows: reader.queueItems(queue!.id).map(({ row }) => row) };
  });

/** Answers `count` of the queue's pairs as `who`, each with the reply that `prefers` names. */
function answers(who: string, prefers: (i: number) => "a" | "b" | "skip", count = Number.POSITIVE_INFINITY): void {
  const { queue, rows } = queueIn();
  const writer = openStore(store);
  const desk = new Desk(writer);
  for (const [i, row] of rows.entries()) {
    if (i >= count) break;
    const says = prefers(i);
    const choice = says === "skip" ? "skip" : says === drawnSide(queue, row, who) ? "left" : "right";
    desk.answer(queue, row, who, { choice, milliseconds: 2000 });
  }
  writer.close();
}

const statusOf = () => reading(store, (reader) => reader.run(id).status);

test("a run without words of people waits for them, says how many and by which command, and keeps what it made", async () => {
  const first = await run(recipe, store);
  id = first.id;
  expect(first.error).toMatchObject({ name: "WaitError" });
  expect((first.error as Error).message).toMatch(/^0 of 6 pairs are judged by 2 people each: tenet label \S+ --store/);
  expect((first.error as Error).message).toContain(`tenet label ${id} --store ${store}`);
  expect(statusOf()).toBe("waiting");
  expect(first.events.at(-1)).toMatchObject({ type: "run", status: "waiting" });
  expect(stagesThat("done", first.events)).toEqual(expect.arrayContaining(["supervised", "pairs"]));
  expect(queueIn().rows).toHaveLength(6);
});

test("it goes on waiting until as many as it wants have answered, and lays out no second queue", async () => {
  answers("ann", (i) => (i === 5 ? "skip" : i % 2 === 0 ? "a" : "b"));
  answers("ben", (i) => (i === 5 ? "skip" : "a"), 5);
  const again = await run(recipe, store);
  expect((again.error as Error).message).toMatch(/^5 of 6 pairs are judged/);
  expect(stagesThat("done", again.events)).toEqual([]);
  expect(reading(store, (reader) => reader.queues())).toHaveLength(1);
});

test("with the last word it goes on: the mean of the words is the label, a pair that all skipped is set aside", async () => {
  answers("cy", (i) => (i === 5 ? "skip" : "b"));
  const done = await runWhole(recipe, store);
  expect(statusOf()).toBe("done");
  const made = reading(store, (reader) => {
    const stage = reader.stage(id, "labels")!;
    return {
      stage,
      rows: [...reader.rows<PreferenceRow>(stage.identity)],
      why: reader.setAsideReasons(stage.identity),
    };
  });
  expect(made.rows).toHaveLength(5);
  expect(made.why).toEqual([{ reason: "no preference: skip, skip", count: 1 }]);
  expect(made.rows.every((row) => row.label === "human")).toBe(true);
  const { rows } = queueIn();
  // ann: a, ben: a, cy: b → ⅔; ann: b → ⅓.
  for (const [i, row] of rows.slice(0, 5).entries())
    expect(made.rows.find(({ origin }) => origin.parents[0] === row)!.p).toBeCloseTo(i % 2 === 0 ? 2 / 3 : 1 / 3);
  expect(stagesThat("done", done.events)).toEqual(expect.arrayContaining(["labels", "preference model", "policy"]));
  expect(stagesThat("done", done.events)).not.toContain("human labels");
  const card = scorecard();
  expect(card.labelsBy).toEqual({ human: 5 });
});

test("the scorecard tells what people took, what they cost, and how far they agree", () => {
  const { labelling, people, humanLabelUsd } = scorecard();
  // Seventeen judgements of two seconds at half a dollar, for five labels.
  expect(labelling).toMatchObject({ labels: 5, total: { tokens: 0, seconds: 34 / 5, usd: (17 * 0.5) / 5 } });
  expect(labelling!.roles).toEqual([{ role: "people", tokens: 0, seconds: 34 / 5, usd: (17 * 0.5) / 5 }]);
  expect(humanLabelUsd).toEqual([0.5, 0.5]);
  expect(people).toMatchObject({ pairs: 6, judgements: 17, single: 0 });
  expect(people!.alpha!.n).toBe(5);
  // Numbered: names stay in the store.
  expect(people!.each.map(({ person, answers }) => [person, answers])).toEqual([
    [1, 6],
    [2, 5],
    [3, 6],
  ]);
  expect(JSON.stringify(people)).not.toMatch(/ann|ben/);
});

test("what people prefer is exported with what was learnt", async () => {
  const reader = openStore(store, { readOnly: true });
  try {
    const { written } = await exportRun(reader, id, join(folder, "exported"), { checkpoint: "rl", what: ["datasets"] });
    expect(written).toContain("datasets/labels");
  } finally {
    reader.close();
  }
});

test("who changes their mind has it learnt again, and the former scorecard is still there", async () => {
  const before = reading(store, (reader) => reader.stage(id, "scorecard")!.output);
  answers("ben", () => "b", 1);
  const { events } = await runWhole(recipe, store);
  expect(stagesThat("done", events)).toEqual(expect.arrayContaining(["labels", "preference model", "scorecard"]));
  expect(stagesThat("reused", events)).toEqual(expect.arrayContaining(["supervised", "pairs"]));
  const former = reading(store, (reader) => reader.superseded(id)).filter(({ name }) => name === "scorecard");
  expect(former.map(({ output }) => output)).toEqual([before]);
});

test("what people say of a run's own pairs is what its labeller is audited on", async () => {
  const audited = noAudit.replace(
    label,
    "  label: { swap: true }\n  people: { pairs: 4 }\n  audit: { people: true, override: true }\n",
  );
  const other = await writeRecipe(join(folder, "audited"), { recipe: audited });
  const waiting = await run(other, join(folder, "audited-store"));
  expect((waiting.error as Error).message).toMatch(/^0 of 4 pairs/);
  expect(stagesThat("done", waiting.events)).not.toContain("labels");
  const writer = openStore(join(folder, "audited-store"));
  const [queue] = writer.queues();
  for (const { row } of writer.queueItems(queue!.id))
    new Desk(writer).answer(queue!.id, row, "ann", { choice: "left" });
  const pairs = new Set([...writer.rows<PairRow>(writer.stage(waiting.id, "pairs")!.identity)].map((pair) => pair.id));
  for (const { row } of writer.queueItems(queue!.id)) expect(pairs).toContain(row);
  writer.close();
  const done = await runWhole(other, join(folder, "audited-store"));
  const report = reading(
    join(folder, "audited-store"),
    (reader) => reader.stage(done.id, "audit")!.output as AuditReport,
  );
  expect(report.health.accuracy.n).toBe(4);
});

test.each([
  ["label: { method: people, constitutionFirst: { by: checks } }", /feedback\.label\.constitutionFirst/],
  ["label: { method: people }\n  audit: { path: known.jsonl }", /feedback\.audit/],
  ["people: { each: 2 }", /feedback\.people/],
  ["label: { swap: true }\n  audit: { path: known.jsonl, people: true }", /feedback\.audit/],
])("%s is refused at its line", async (written, where) => {
  const text = noAudit.replace(label, `  ${written}\n`);
  const file = await writeRecipe(join(folder, `wrong-${written.length}`), { recipe: text });
  await expect(openRecipe(file)).rejects.toThrow(where);
});

function scorecard(): Scorecard {
  return reading(store, (reader) => reader.stage(id, "scorecard")!.output as Scorecard);
}
