import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PairRow, type PreferenceRow, rowId } from "@tenet/data";
import { type Label, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { constitutionText, reinforcedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { callsOf, type Ran, reading, results, runWhole, stagesThat } from "../../../test/pipeline/run.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-human-"));
const store = join(folder, "store");
let recipe: string;
let before: Ran;
let dropped: PairRow;
let labels: PreferenceRow[];

beforeAll(async () => {
  // Pairs of which both replies break a check get no label of the machine's.
  const severe = reinforcedRecipe.replace("downWeight: 0.5 }", "downWeight: 0.5, severeFrom: 0.5 }");
  recipe = await writeRecipe(join(folder, "recipe"), {
    recipe: severe,
    constitution: constitutionText.replace("max: 14", "max: 8"),
    prompts: 40,
  });
  before = await runWhole(recipe, store);
  labels = rowsOf<PreferenceRow>("labels");
  const labelled = new Set(labels.flatMap(({ origin }) => origin.parents));
  dropped = rowsOf<PairRow>("pairs").find(({ id }) => !labelled.has(id))!;
});
afterAll(() => rm(folder, { recursive: true }));

function rowsOf<Row extends PairRow>(stage: string): Row[] {
  return reading(store, (reader) => [...reader.rows<Row>(reader.stage(before.id, stage)!.identity)]);
}

async function runWith(...given: Label[]): Promise<Ran> {
  const writer = openStore(store);
  for (const label of given) writer.addLabel(label);
  writer.close();
  return runWhole(recipe, store);
}

const [scored, learnt] = [
  ["labels", "pairs", "supervised"],
  ["preference model", "policy"],
];

test("without a word of people there is no such stage", () => {
  expect(stagesThat("done", before.events)).not.toContain("human labels");
  expect(labels.length).toBeGreaterThan(2);
  expect(dropped).toBeDefined();
});

test("labels of other pairs change nothing", async () => {
  const { events } = await runWith({ pair: "0123456789abcdef", p: 1, who: "ann" });
  expect(stagesThat("reused", events)).toEqual(stagesThat("done", before.events));
});

test("people's labels stand over the machine's and add what it dropped; only what learns from them is made again", async () => {
  const machine = labels[1]!;
  const [pair] = machine.origin.parents as [string];
  const calls = callsOf(store, before.id);
  const { events } = await runWith(
    { pair, p: 1, who: "ann" },
    { pair, p: 0.5, who: "ben" },
    { pair: dropped.id, p: 0, who: "ann", note: "the second is kinder" },
  );
  expect(stagesThat("reused", events)).toEqual(expect.arrayContaining(scored));
  expect(stagesThat("done", events)).toEqual(expect.arrayContaining(["human labels", ...learnt]));
  expect(callsOf(store, before.id)).toMatchObject({ labels: calls.labels, pairs: calls.pairs });

  const rows = rowsOf<PreferenceRow>("human labels");
  expect(rows).toHaveLength(labels.length + 1);
  expect(rows.filter((_, i) => i !== 1).slice(0, -1)).toEqual(labels.filter((_, i) => i !== 1));
  const { prompt, a, b } = machine;
  expect(rows[1]).toMatchObject({ prompt, a, b, p: 0.75, label: "human" });
  expect(rows[1]!.explanation).toEqual([
    ...machine.explanation,
    { step: "human", p: 0.75, labels: 2, instead: { label: machine.label, p: machine.p } },
  ]);
  expect(rows.at(-1)).toMatchObject({ prompt: dropped.prompt, a: dropped.a, b: dropped.b, p: 0, label: "human" });
  expect(rows.at(-1)!.origin.parents).toEqual([dropped.id]);

  // What the run came to before stays to be looked at.
  const former = reading(store, (reader) => reader.superseded(before.id));
  expect(former.map(({ name }) => name)).toEqual(expect.arrayContaining(["preference model", "policy", "scorecard"]));
  expect(former.find(({ name }) => name === "policy")!.artifacts).toHaveLength(1);
});

test("the same words again change nothing; who changes their mind has it made again", async () => {
  const adapter = () => results(store, before.id)["preference model"]!.artifacts;
  const earlier = adapter();
  const again = await runWith({ pair: dropped.id, p: 0, who: "ann" });
  expect(stagesThat("done", again.events)).toEqual([]);
  expect(adapter()).toEqual(earlier);

  const changed = await runWith({ pair: dropped.id, p: 1, who: "ann" });
  expect(stagesThat("done", changed.events)).toEqual(expect.arrayContaining(["human labels", ...learnt]));
  expect(rowsOf<PreferenceRow>("human labels").at(-1)).toMatchObject({ p: 1 });
  expect(adapter()).not.toEqual(earlier);
});

test("a word is about a pair whichever of its replies stood first when it was said; the latest counts", async () => {
  const rows = rowsOf<PreferenceRow>("human labels");
  const turned = rowId("pair", dropped.prompt, dropped.b, dropped.a);
  const same = await runWith({ pair: turned, p: 0, who: "ann" });
  expect(stagesThat("done", same.events)).toEqual([]);
  expect(rowsOf<PreferenceRow>("human labels")).toEqual(rows);

  const other = await runWith({ pair: turned, p: 0.75, who: "ann" });
  expect(stagesThat("done", other.events)).toEqual(expect.arrayContaining(["human labels", ...learnt]));
  const { a, b } = dropped;
  expect(rowsOf<PreferenceRow>("human labels").at(-1)).toMatchObject({ a, b, p: 0.25, label: "human" });
});
