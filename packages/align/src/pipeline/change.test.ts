import { cp, mkdtemp, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainRow, PreferenceRow } from "@tenet/data";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { callsOf, type Ran, reading, results, run, runWhole, stagesThat } from "../../test/pipeline/run.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

/** Two principles are drawn of three for each chain, and one of two for each label. */
const constitution = `name: letters
version: "1"
principles:
  - { id: plain, use: revision, text: Say it in plain words. }
  - { id: warm, use: revision, text: Be warm. }
  - { id: short, use: revision, text: Be brief. }
  - { id: kinder, use: preference, text: The kinder one is better. }
  - { id: clearer, use: preference, text: The clearer one is better. }
`;
const text = reinforcedRecipe
  .replace("constitutionFirst: { by: checks, downWeight: 0.5 }", "principles: 1")
  .replace("path: known.jsonl", "path: known.jsonl, override: true")
  .replace(", constitution: 0.5 }", " }");

const folder = await mkdtemp(join(tmpdir(), "tenet-change-"));
const store = join(folder, "store");
let first: Ran;

beforeAll(async () => {
  first = await runWhole(await writeRecipe(join(folder, "recipe"), { recipe: text, constitution }), store);
});
afterAll(() => rm(folder, { recursive: true }));

/** Runs the recipe with something changed, over the same store. */
async function runChanged(files: Parameters<typeof writeRecipe>[1]): Promise<Ran> {
  return runWhole(await writeRecipe(join(folder, "recipe"), { recipe: text, constitution, ...files }), store);
}

function rowsOf<Row extends ChainRow | PreferenceRow>({ id }: Ran, stage: string): Row[] {
  return reading(store, (reader) => [...reader.rows<Row>(reader.stage(id, stage)!.identity)]);
}

test("a changed principle of revisions redoes the chains that drew it", async () => {
  const changed = await runChanged({ constitution: constitution.replace("Be warm.", "Be warm and calm.") });
  expect(changed.id).not.toBe(first.id);
  expect(stagesThat("reused", changed.events)).toEqual(expect.arrayContaining(["prompts", "responses", "helpful"]));

  const [before, after] = [rowsOf<ChainRow>(first, "chains"), rowsOf<ChainRow>(changed, "chains")];
  const drew = (row: ChainRow) => row.rounds.some(({ principle }) => principle === "warm");
  expect(before.map(drew)).toEqual(after.map(drew));
  const redone = after.filter(drew);
  expect([redone.length > 0, redone.length < after.length]).toEqual([true, true]);
  expect(after.filter((row) => !drew(row))).toEqual(before.filter((row) => !drew(row)));
  // A critique a round, and a revision where one was asked for.
  const calls = redone.flatMap(({ rounds }) => rounds.map(({ revision }) => (revision === undefined ? 1 : 2)));
  expect(callsOf(store, changed.id)).toMatchObject({ chains: calls.reduce((sum, n) => sum + n, 0) });
  expect(callsOf(store, changed.id)).not.toHaveProperty("responses");
});

test("a changed principle of labels redoes the labels that drew it", async () => {
  const changed = await runChanged({ constitution: constitution.replace("kinder one", "gentler one") });
  const kept = ["responses", "chains", "examples", "mixture", "supervised", "pairs", "answers of sl"];
  expect(stagesThat("reused", changed.events)).toEqual(expect.arrayContaining(kept));

  const labels = rowsOf<PreferenceRow>(changed, "labels");
  const drew = labels.filter(({ origin }) => origin.principles?.includes("kinder"));
  expect([drew.length > 0, drew.length < labels.length]).toEqual([true, true]);
  // Each asked in both orders.
  expect(callsOf(store, changed.id)).toMatchObject({ labels: 2 * drew.length });
});

test("demonstrations for the labeller redo every label and nothing before them", async () => {
  const question = "Which one is kinder?";
  const shown = [
    { prompt: "Hi.", question, better: "Hello, dear.", worse: "What?" },
    { prompt: "Bye.", question, better: "Take care.", worse: "At last." },
  ];
  await writeFile(join(folder, "recipe", "shown.json"), JSON.stringify(shown));
  const changed = await runChanged({
    recipe: text.replace("feedback:\n", "feedback:\n  demonstrations: shown.json\n"),
  });
  expect(stagesThat("reused", changed.events)).toEqual(expect.arrayContaining(["supervised", "pairs"]));
  const calls = callsOf(store, first.id);
  expect(callsOf(store, changed.id)).toMatchObject({ labels: calls.labels, "audit labels": calls["audit labels"] });
  const read = (run: Ran) => rowsOf<PreferenceRow>(run, "labels").map(({ p }) => p);
  expect(read(changed)).toHaveLength(read(first).length);
  for (const [i, p] of read(changed).entries()) expect(p).not.toBe(read(first)[i]);
});

test("changed settings of training redo no generation before it", async () => {
  const sft = await runChanged({ recipe: text.replace("learningRate: 0.005", "learningRate: 0.004") });
  const supervised = ["responses", "chains", "examples", "helpful", "mixture"];
  expect(stagesThat("reused", sft.events)).toEqual(expect.arrayContaining(supervised));
  for (const stage of supervised) expect(callsOf(store, sft.id)).not.toHaveProperty(stage);

  const rl = await runChanged({ recipe: text.replace("iterations: 4", "iterations: 3") });
  expect(stagesThat("done", rl.events)).toEqual([
    ...["policy", "answers of rl", "texts under rl", "answers of rl under rl", "answers of rl under base", "scorecard"],
  ]);
});

test("another seed redoes everything", async () => {
  const recipe = await writeRecipe(join(folder, "recipe"), { recipe: text, constitution });
  const { id, events } = await runWhole(recipe, store, { changes: { seed: 6 } });
  expect(id).not.toBe(first.id);
  expect(stagesThat("reused", events)).toEqual([]);
  expect(Object.keys(callsOf(store, id)).sort()).toEqual(Object.keys(callsOf(store, first.id)).sort());
});

test("a model that is moved while it is trained on is trained on from where that stopped", async () => {
  const [here, there] = [join(folder, "here"), join(folder, "there")];
  const supervised = text.split("feedback:\n")[0]!;
  const whole = await runChanged({ recipe: supervised });
  const recipe = await writeRecipe(here, { recipe: supervised, constitution });
  const moved = join(folder, "moved store");
  const stop = new AbortController();
  const stopped = await run(recipe, moved, {
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === "metrics" && event.stage === "supervised" && event.step === 2) stop.abort();
    },
  });
  expect(stopped.error).toBeDefined();
  await rename(here, there);
  const { id, events } = await runWhole(join(there, "recipe.yaml"), moved);
  expect(id).toBe(whole.id);
  expect(stagesThat("continued", events)).toEqual(["supervised"]);
  const steps = events.flatMap((event) =>
    event.type === "metrics" && event.stage === "supervised" ? [event.step] : [],
  );
  expect(steps[0]).toBeGreaterThan(2);
  expect(results(moved, id)).toEqual(results(store, whole.id));
});

test("files under other names in another folder redo nothing", async () => {
  const moved = join(folder, "moved");
  await writeRecipe(join(folder, "recipe"), { recipe: text, constitution });
  await cp(join(folder, "recipe"), moved, { recursive: true });
  let renamed = await readFile(join(moved, "recipe.yaml"), "utf8");
  for (const name of [
    "constitution.yaml",
    "prompts.jsonl",
    "held-out.jsonl",
    "helpful.jsonl",
    "known.jsonl",
    "neutral.yaml",
  ]) {
    await rename(join(moved, name), join(moved, `my ${name}`));
    renamed = renamed.replace(new RegExp(`(: )${name.replace(".", "\\.")}`), `$1my ${name}`);
  }
  expect(renamed.match(/: my /g)).toHaveLength(6);
  await writeFile(join(moved, "another.yaml"), renamed);
  const { id, events } = await runWhole(join(moved, "another.yaml"), store);
  expect(id).toMatch(/^another-/);
  expect(stagesThat("reused", events)).toEqual(stagesThat("done", first.events));
  for (const status of ["started", "continued", "done"]) expect(stagesThat(status, events)).toEqual([]);
  expect(callsOf(store, id)).toEqual({});
});
