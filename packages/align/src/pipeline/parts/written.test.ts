import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type ExampleRow, openDataset } from "@tenet/data";
import { openStore } from "@tenet/runs";
import { afterAll, expect, it, vi } from "vitest";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { type Ran, reading, runWhole, stagesThat } from "../../../test/pipeline/run.ts";
import type { Scorecard } from "../../evaluate/index.ts";
import { arrange } from "../arrangement.ts";
import { estimateRun } from "../estimate.ts";
import { exportRun } from "../export-run.ts";
import { dataWarnings } from "../look.ts";
import { openRecipe } from "../open.ts";
import { inOrder } from "../stages/index.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 300_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-written-"));
const store = join(folder, "store");
afterAll(() => rm(folder, { recursive: true }));

/** Five examples, one of them of a held-out prompt; a record without a reply, and one that is there already. */
const written = [
  ...["Rest.", "Sit.", "Wait.", "Drink."].map((completion, i) => ({ prompt: `Person ${i}: say a word.`, completion })),
  { prompt: "Held-out question 1: say a word.", completion: "Sleep." },
  { prompt: "Nobody answered this." },
  { prompt: "Person 0: say a word.", completion: "Rest." },
];

let folders = 0;
async function recipeOf(recipe: string): Promise<string> {
  const file = await writeRecipe(join(folder, String(folders++), "recipe"), { recipe });
  const lines = written.map((row) => `${JSON.stringify(row)}\n`).join("");
  await writeFile(join(dirname(file), "written.jsonl"), lines);
  return file;
}

const withoutHelpful = supervisedRecipe.replace(/^ *helpful:.*\n/m, "");
const withWritten = (keys: string, recipe = withoutHelpful) => recipe.replace("  revisions: 2\n", `  ${keys}\n`);
const alone = withWritten("revisions: 0\n  written: written.jsonl");

/** Writes a run's datasets and card into a folder, and gives the names of what was written back. */
async function exported({ id }: Ran, into: string): Promise<readonly string[]> {
  const reader = openStore(store, { readOnly: true });
  try {
    return (await exportRun(reader, id, into, { checkpoint: "sl", what: ["datasets", "card"] })).written;
  } finally {
    reader.close();
  }
}

const rowsOf = ({ id }: Ran, stage: string) =>
  reading(store, (reader) => [...reader.rows<ExampleRow>(reader.stage(id, stage)!.identity)]);

it("is all that is learnt without revisions: no model is asked for replies to learn, and every record that cannot be used is counted", async () => {
  const ran = await runWhole(await recipeOf(alone), store);
  const done = stagesThat("done", ran.events);
  expect(done).toEqual(expect.arrayContaining(["written", "supervised", "scorecard"]));
  for (const stage of ["responses", "chains", "examples", "mixture"]) expect(done).not.toContain(stage);
  const rows = rowsOf(ran, "written");
  expect(rows.map(({ completion }) => completion).sort()).toEqual(["Drink.", "Rest.", "Sit.", "Sleep.", "Wait."]);
  for (const { origin } of rows)
    expect(origin).toEqual({ parents: [], source: expect.stringMatching(/^written\.jsonl:\d$/), writtenBy: "people" });
  reading(store, (reader) => {
    const why = reader.setAsideReasons(reader.stage(ran.id, "written")!.identity).map(({ reason }) => reason);
    expect(why).toHaveLength(2);
    expect(why.join()).toMatch(/the same as row/);
    // Two epochs of five examples, four an update.
    expect(reader.metrics(ran.id, { stage: "supervised", name: "loss" })).toHaveLength(4);
    const card = reader.stage(ran.id, "scorecard")!.output as Scorecard;
    expect(card.checkpoints.map(({ label }) => label)).toEqual(["Base", "SFT"]);
    expect(card.chains).toEqual([]);
    expect(card.verdict.sentences.join(" ")).toMatch(/1 of 3 held-out prompts are also trained on/);
    const constant = card.baselines!.models.find(({ id }) => id === "constant-reply")!;
    expect(rows.map(({ completion }) => completion)).toContain(constant.reply);
  });
});

it("is exported as a dataset that says who wrote it, beside a card that does", async () => {
  const into = join(folder, "exported");
  expect(await exported(await runWhole(await recipeOf(alone), store), into)).toEqual(["datasets/written", "README.md"]);
  const card = await readFile(join(into, "README.md"), "utf8");
  expect(card).toMatch(/with Tenet: supervised learning on examples that people wrote\./);
  expect(card).toMatch(/^All 5 examples were written by people\.$/m);
  const parquet = join(into, "datasets", "written", "data", "train-00000-of-00001.parquet");
  const by = async (as: "examples" | "prompts") => {
    const found = [];
    for await (const read of await openDataset(parquet, { as }))
      if ("row" in read) found.push(read.row.origin.writtenBy);
    return found;
  };
  expect(await by("examples")).toEqual(Array(5).fill("people"));
  // A reply to the same prompts is somebody else's.
  expect(new Set(await by("prompts"))).toEqual(new Set([undefined]));
});

it("is mixed with what is learnt of the chains: all of both, or by a ratio", async () => {
  const both = await runWhole(await recipeOf(withWritten("revisions: 2\n  written: { path: written.jsonl }")), store);
  const [chains, people, all] = ["examples", "written", "all examples"].map((stage) => rowsOf(both, stage));
  expect(chains!.length).toBeGreaterThan(0);
  expect(all!.map(({ id }) => id).sort()).toEqual([...chains!, ...people!].map(({ id }) => id).sort());
  const label = reading(
    store,
    (reader) => (reader.stage(both.id, "scorecard")!.output as Scorecard).checkpoints[1]!.label,
  );
  expect(label).toBe("SL-CAI");
  expect(await exported(both, join(folder, "mixed"))).toContain("datasets/all-examples");
  const card = await readFile(join(folder, "mixed", "README.md"), "utf8");
  expect(card).toContain(`Of ${all!.length} examples 5 were written by people.`);
  expect(card).toContain("criticised and revised under the principles, and on examples that people wrote.");

  const ratio = withWritten("revisions: 2\n  written: { path: written.jsonl, ratio: 0.25 }", supervisedRecipe);
  const some = await runWhole(await recipeOf(ratio), store);
  expect(stagesThat("reused", some.events)).toEqual(expect.arrayContaining(["chains", "examples", "written"]));
  const mixed = rowsOf(some, "all examples");
  const ofPeople = mixed.filter(({ origin }) => origin.writtenBy === "people").length;
  expect(Math.abs(ofPeople - mixed.length / 5)).toBeLessThan(1);
  // What keeps the model helpful comes to both: half as many, as far as there are.
  expect(rowsOf(some, "mixture").length).toBeGreaterThan(mixed.length);
});

it("is what a policy imitates, in an arrangement without the supervised step too", async () => {
  const policy = reinforcedRecipe
    .slice(supervisedRecipe.length)
    .replace("  audit: { path: known.jsonl }\n", "")
    .replace("iterations: 4", "iterations: 1")
    .replace("  algorithm: ppo\n", "  algorithm: ppo\n  imitate: { weight: 0.2, batchSize: 2 }\n");
  const without = alone.replace(/, heldOut: .*/, " }").replace(/^evaluate.*\n/m, "");
  const ran = await runWhole(await recipeOf(`${without}${policy}arrangement: joint\n`), store);
  expect(stagesThat("done", ran.events)).toContain("policy");
  for (const stage of ["supervised", "responses to imitate", "chains to imitate"])
    expect(stagesThat("done", ran.events)).not.toContain(stage);
  const metrics = reading(store, (reader) => reader.metrics(ran.id, { stage: "policy", name: "loss/imitate" }));
  expect(metrics.length).toBeGreaterThan(0);
  const both = await openRecipe(await recipeOf(`${withWritten("revisions: 1\n  written: written.jsonl")}${policy}`));
  const led = inOrder(arrange({ ...both, options: {} }).targets);
  const imitated = led.find(({ name }) => name === "policy")!.inputs.map(({ name }) => name);
  expect(imitated).toContain("all examples");
});

it("is read once, as the same file, in every round", async () => {
  const rounds = `${alone}policy: { algorithm: rloo }\nfeedback: { label: { method: people } }\narrangement: { rounds: 2, schedule: { supervised.revisions: [0, 1] } }\n`;
  const { checkpoints, targets } = arrange({ ...(await openRecipe(await recipeOf(rounds))), options: {} });
  expect(checkpoints.map(({ label }) => label)).toEqual(["Base", "SFT 1", "RLHF 1", "SL-CAI 2", "RL-CAI 2"]);
  const names = inOrder(targets).map(({ name }) => name);
  expect(names.filter((name) => name.startsWith("written"))).toEqual(["written"]);
  expect(names).toContain("all examples 2");
});

it("is priced by its rows, limited as other files are, and looked at before a run", async () => {
  const file = await recipeOf(alone);
  const { stages } = await estimateRun(await openRecipe(file));
  const of = (name: string) => stages.find(({ stage }) => stage === name);
  expect(of("written")!.rows).toBe(5);
  expect(of("supervised")).toMatchObject({ rows: 5, roles: [] });
  expect(of("responses")).toBeUndefined();
  const { recipe, written: asWritten } = await openRecipe(file, { limit: 2 });
  expect(recipe.supervised.written).toEqual({ path: join(dirname(file), "written.jsonl"), limit: 2 });
  expect(asWritten.supervised.written).toEqual({ path: "written.jsonl", limit: 2 });
  const warnings = (await dataWarnings(await openRecipe(file))).join("\n");
  expect(warnings).toMatch(/written\.jsonl: 1 of 7 records cannot be used; the first is written\.jsonl:6/);
  expect(warnings).toMatch(/1 of 3 held-out prompts are also trained on.*written\.jsonl:5/);
});

const ppo = "policy: { algorithm: ppo }\n";
it.each<[string, string, RegExp]>([
  [
    "a file that is none",
    withWritten("revisions: 0\n  written: writen.jsonl"),
    /supervised\.written: .*got writen\.jsonl/,
  ],
  [
    "a share of no one",
    withWritten("revisions: 2\n  written: { path: written.jsonl, ratio: 0 }"),
    /supervised\.written\.ratio: expected .*0/,
  ],
  [
    "examples that no step learns",
    `${alone}${ppo}arrangement: { steps: [policy] }\n`,
    /recipe\.yaml:\d+:\d+ supervised\.written: expected supervised among arrangement\.steps, or policy\.imitate/,
  ],
  [
    "reasoning before what people wrote",
    alone.replace("  written", "  deliberate: { by: checks }\n  written"),
    /supervised\.deliberate: expected supervised\.revisions of at least 1 beside it/,
  ],
  [
    "another file in another round",
    `${alone}${ppo}arrangement: { rounds: 2, schedule: { supervised.written: [a.jsonl] } }\n`,
    /schedule\["supervised\.written"\]: .*files are the same in every round/,
  ],
  [
    "other helpful examples in another round",
    `${supervisedRecipe}${ppo}arrangement: { rounds: 2, schedule: { supervised.helpful: [{ path: a.jsonl }] } }\n`,
    /schedule\["supervised\.helpful"\]: .*files are the same in every round/,
  ],
  [
    "people's words alone for something constitutional",
    `${alone}policy: { algorithm: ppo, imitate: {} }\narrangement: joint\n`,
    /arrangement: expected something constitutional beside it/,
  ],
])("refuses %s", async (_, recipe, message) => {
  await expect(openRecipe(await recipeOf(recipe))).rejects.toThrow(message);
});
