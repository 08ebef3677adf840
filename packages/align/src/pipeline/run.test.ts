import { cp, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ExampleRow } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { ArtifactChangedError, openStore } from "@tenet/runs";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { constitutionText, reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { callsOf, type Ran, reading, results, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import type { Scorecard } from "../evaluate/index.ts";
import { storedCheckpoints } from "./checkpoints.ts";
import { exportRun } from "./export-run.ts";
import { modelCard } from "./model-card.ts";

// Whole runs, which take seconds, and much longer on a busy machine.
vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let folder: string;
let recipe: string;
let store: string;
let first: Ran;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-pipeline-"));
  recipe = await writeRecipe(join(folder, "recipe"), { recipe: reinforcedRecipe });
  store = join(folder, "store");
  first = await runWhole(recipe, store);
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

const made = [
  ...["prompts", "responses", "chains", "examples", "helpful", "mixture", "supervised"],
  ...["pairs", "known", "audit pairs", "audit labels", "audit", "labels", "preference model", "policy"],
  ...["held-out", "neutral texts", "scorecard"],
];
const trained = ["supervised", "preference model", "policy"];

test("a recipe becomes a policy and a scorecard, with every stage in the store", () => {
  expect(stagesThat("done", first.events)).toEqual(expect.arrayContaining(made));
  const found = results(store, first.id);
  for (const { status } of Object.values(found)) expect(status).toBe("done");
  for (const name of trained) expect(found[name]!.artifacts, name).toHaveLength(1);
  expect(new Set(trained.flatMap((name) => found[name]!.artifacts)).size).toBe(3);

  reading(store, (reader) => {
    expect(reader.run(first.id).status).toBe("done");
    const scorecard = reader.stage(first.id, "scorecard")!.output as Scorecard;
    expect(scorecard.checkpoints.map(({ id }) => id)).toEqual(["base", "sl", "rl"]);
    expect(scorecard.labelHealth?.[0]?.gate).toMatchObject({ passed: true, overridden: false });
    const steps = (stage: string, name: string) =>
      reader.metrics(first.id, { stage, name }).map(({ step, value }) => [step, Number.isFinite(value)]);
    expect(steps("supervised", "loss").length).toBeGreaterThan(2);
    expect(steps("policy", "objective/scores")).toEqual([1, 2, 3, 4].map((step) => [step, true]));
  });
});

test("the plan names every stage before it begins, each behind its inputs; progress ends where the work does", async () => {
  const store = openStore(join(folder, "store"), { readOnly: true });
  const events = [];
  for await (const event of store.events(first.id)) events.push(event);
  const planned = events.findIndex(({ kind }) => kind === "plan");
  expect(planned).toBeLessThan(events.findIndex(({ kind }) => kind === "stage"));
  const plan = events[planned]!.data as { stage: string; title: string; inputs: string[] }[];
  const names = plan.map(({ stage }) => stage);
  expect(names).toEqual(expect.arrayContaining(store.stages(first.id).map(({ name }) => name)));
  expect(names).not.toContain("model");
  for (const [i, { inputs, title }] of plan.entries()) {
    expect(title).not.toBe("");
    for (const input of inputs) expect(names.slice(0, i)).toContain(input);
  }
  const told = new Map(store.progress(first.id).map((one) => [one.stage, one]));
  for (const name of ["responses", "chains", "supervised", "policy"])
    expect(told.get(name), name).toMatchObject({ done: told.get(name)!.total, begun: expect.any(Number) });
  expect(store.stepTimes(first.id, "policy").map(({ step }) => step)).toEqual([1, 2, 3, 4]);
  store.close();
});

test("the scorecard tells how far the preference model has come with the replies", () => {
  const told = first.events.filter((event) => event.type === "progress" && event.stage === "scorecard");
  const answers = Object.entries(results(store, first.id)).filter(([name]) => /^answers of (?!.* under )/.test(name));
  // Three checkpoints, the untrained model under the constitution, and the constant reply.
  expect(answers).toHaveLength(5);
  const total = answers.reduce((sum, [, { dataset }]) => sum + dataset!.rows, 0);
  expect(told).toHaveLength(5);
  for (const event of told) expect(event).toMatchObject({ total, unit: "replies" });
  expect(told.at(-1)).toMatchObject({ done: total });
});

test("what a policy samples while it learns counts as cost, by the lengths that training reports", () => {
  reading(store, (reader) => {
    const [usage] = reader.usage(first.id).filter(({ stage }) => stage === "policy");
    const lengths = reader.metrics(first.id, { stage: "policy", name: "val/response_length" });
    const ends = reader.metrics(first.id, { stage: "policy", name: "val/num_eos_tokens" });
    // Four replies an iteration; training appends the token that ended one, which the engine does not report as said.
    const sum = (all: typeof lengths) => all.reduce((total, { value }) => total + value, 0);
    expect(usage).toMatchObject({ role: "policy", calls: 16, completionTokens: 4 * sum(lengths) - sum(ends) });
    expect(usage!.promptTokens).toBeGreaterThan(16);
    expect(usage!.seconds).toBeGreaterThan(0);
    const { costs } = reader.stage(first.id, "scorecard")!.output as Scorecard;
    const { promptTokens, completionTokens } = usage!;
    expect(costs.find(({ name }) => name === "policy")).toMatchObject({ promptTokens, completionTokens });
  });
});

test("the rows of a store name no folder of this machine, and lead back to their prompts", () => {
  reading(store, (reader) => {
    for (const { identity, name } of reader.stages(first.id))
      for (const row of reader.rows(identity)) expect(JSON.stringify(row), name).not.toContain(folder);
    const [label] = reader.rows(reader.stage(first.id, "labels")!.identity);
    const kinds = reader.lineage(label!.id).flatMap(({ stages }) => stages.map(({ kind }) => kind));
    expect(kinds).toEqual(expect.arrayContaining(["label", "pairs", "read-prompts"]));
  });
});

test("another store and other folders: the same datasets and the same adapters", async () => {
  const other = join(folder, "other store");
  await cp(join(folder, "recipe"), join(folder, "other recipe"), { recursive: true });
  const { id } = await runWhole(join(folder, "other recipe", "recipe.yaml"), other);
  expect(id).toBe(first.id);
  expect(results(other, id)).toEqual(results(store, id));
});

test("an adapter of which one byte was changed is named by whoever opens it, and made again by the next run", async () => {
  const damaged = join(folder, "damaged store");
  await cp(store, damaged, { recursive: true });
  const [hash] = results(store, first.id).supervised!.artifacts;
  const file = join(damaged, "artifacts", hash!, "adapter_model.safetensors");
  const bytes = await readFile(file);
  bytes[bytes.length - 5]! ^= 1;
  await writeFile(file, bytes);
  const reader = openStore(damaged, { readOnly: true });
  await expect(storedCheckpoints(reader, first.id)).rejects.toThrow(ArtifactChangedError);
  await expect(exportRun(reader, first.id, join(folder, "exported"))).rejects.toThrow(ArtifactChangedError);
  expect(await reader.verify()).toEqual([`artifact ${hash} of stage ${first.id} supervised was changed`]);
  reader.close();

  const { events } = await runWhole(recipe, damaged);
  expect(events).toContainEqual({
    type: "message",
    level: "warning",
    message: expect.stringMatching(new RegExp(`${hash} was changed since it was made; .* is done again`)),
  });
  expect(stagesThat("started", events).concat(stagesThat("continued", events))).toEqual(["supervised"]);
  expect(results(damaged, first.id)).toEqual(results(store, first.id));
  const again = openStore(damaged, { readOnly: true });
  expect(await again.verify()).toEqual([]);
  again.close();
});

test("a second run over the same store reuses every stage and asks no model anything", async () => {
  const before = callsOf(store, first.id);
  const { id, events } = await runWhole(recipe, store);
  expect(id).toBe(first.id);
  expect(stagesThat("reused", events)).toEqual(stagesThat("done", first.events));
  for (const status of ["started", "continued", "done"]) expect(stagesThat(status, events)).toEqual([]);
  expect(callsOf(store, id)).toEqual(before);
});

test("the scorecard says what the same prompts give without training, and whose labels were learnt from", () => {
  reading(store, (reader) => {
    const card = reader.stage(first.id, "scorecard")!.output as Scorecard;
    const [constitution, constant] = card.baselines!.models;
    expect(card.baselines!.models).toHaveLength(2);
    expect(constitution).toMatchObject({ id: "with-constitution", model: expect.stringContaining("model") });
    expect(constant).toMatchObject({ id: "constant-reply", model: "none" });
    const examples = [...reader.rows<ExampleRow>(reader.stage(first.id, "examples")!.identity)];
    expect(examples.map(({ completion }) => completion)).toContain(constant!.reply);
    for (const { id } of card.baselines!.models) {
      const of = card.rows.filter(({ checkpoint }) => checkpoint === id).map(({ metric }) => metric);
      expect(of).toEqual(expect.arrayContaining(["violations", "openings", "self-overlap"]));
      expect(of).not.toContain("perplexity");
    }
    for (const checkpoint of ["sl", "rl"])
      expect(card.differences).toContainEqual(
        expect.objectContaining({ checkpoint, against: "constant-reply", metric: "violations" }),
      );
    expect(
      card.rows.find(({ checkpoint, metric }) => checkpoint === "constant-reply" && metric === "self-overlap"),
    ).toMatchObject({ value: 1 });
    // The checks are in the reward and in the labels, and there is no judge.
    expect(card.independence).toMatchObject({ kind: "none", why: expect.stringMatching(/no judge.*checks are part/) });
    expect(card.overoptimisation).toBeUndefined();
    const { labelsBy, preferenceModel } = card;
    expect(Object.values(labelsBy!).reduce((a, b) => a + b, 0)).toBe(reader.stage(first.id, "labels")!.rows);
    expect(preferenceModel!.pairs).toBeGreaterThan(0);
    // The labeller is local, and nobody said what an hour of this machine costs.
    expect(card.labelling).toMatchObject({
      labels: reader.stage(first.id, "labels")!.rows,
      roles: [{ role: "labeller" }],
    });
    expect(card.labelling).not.toHaveProperty("breakEven");
    expect(card.metrics.find(({ name }) => name === "unfinished")).toMatchObject({
      madeByLimit: true,
      about: expect.stringContaining("limit of 16 tokens"),
    });
    const rows = card.replies!.flatMap(({ replies }) => replies.map(({ row }) => row));
    const answered = ["base", "sl", "rl"].map((id) => reader.stage(first.id, `answers of ${id}`)!.rows);
    expect(rows).toHaveLength(answered.reduce((a, b) => a + b, 0));
    for (const row of rows) expect(reader.lineage(row).length, row).toBeGreaterThan(0);
    for (const { row } of card.chains) expect(reader.lineage(row!).length).toBeGreaterThan(0);
  });
});

test("a model's card tells what it was trained on from what it was measured on, and whose labels they were", async () => {
  const opened = openStore(store, { readOnly: true });
  try {
    const card = async (id: "sl" | "rl") => {
      const checkpoint = (await storedCheckpoints(opened, first.id)).find((one) => one.id === id)!;
      const text = await modelCard(opened, first.id, {
        checkpoint,
        base: { reference: "model" },
        written: ["adapter"],
      });
      const of = (title: string) => text.split(`## ${title}\n`)[1]!.split("\n## ")[0]!;
      return { text, trained: of("Trained on"), measured: of("Measured on") };
    };
    const rl = await card("rl");
    for (const stage of ["held-out", "neutral texts", "answers of rl", "known", "audit", "scorecard"]) {
      expect(rl.trained, stage).not.toMatch(new RegExp(`^\\| ${stage} `, "m"));
      expect(rl.measured, stage).toMatch(new RegExp(`^\\| ${stage} `, "m"));
    }
    for (const stage of ["prompts", "mixture", "labels", "policy"])
      expect(rl.trained).toMatch(new RegExp(`^\\| ${stage} `, "m"));
    expect(rl.trained).toMatch(/Labelled pairs: \d+ by /);
    expect(rl.text).toMatch(/against a preference model of labelled pairs and the constitution's checks/);
    expect(rl.text).toMatch(/No independent judge: .*no judge/);
    expect(rl.text).toMatch(/The same prompts without training:/);
    const { trained } = await card("sl");
    expect(trained).not.toMatch(/^\| (labels|policy|preference model) /m);
  } finally {
    opened.close();
  }
});

test("a judge compares each checkpoint with the first and with the one before it, and nothing else is done again", async () => {
  const judged = await writeRecipe(join(folder, "judged"), {
    recipe: `${reinforcedRecipe}roles: { judge: ./model }\n`,
  });
  const { id, events } = await runWhole(judged, store);
  const compared = ["sl and base", "rl and base", "rl and sl"].map((pair) => `answers of ${pair}`);
  const against = ["sl against base", "rl against base", "rl against sl"];
  expect(stagesThat("done", events).sort()).toEqual([...compared, ...against, "scorecard"].sort());
  reading(store, (reader) => {
    const { rows, independence } = reader.stage(id, "scorecard")!.output as Scorecard;
    // It is the labeller too: it says who wins, and is no witness against what it taught.
    expect(independence).toMatchObject({ kind: "none", why: expect.stringMatching(/judge is its labeller/) });
    const rates = rows.filter(({ metric }) => metric === "win-rate");
    expect(rates.map(({ checkpoint }) => checkpoint)).toEqual(["sl", "rl"]);
    for (const { value, n } of rates) expect(n > 0 && value! >= 0 && value! <= 1).toBe(true);
  });
});

test("a judge that training never heard rates every reply, and the alarm's rule is held against it", async () => {
  const judged = await writeRecipe(join(folder, "independent"), {
    recipe: `${reinforcedRecipe}roles: { judge: ./other }\n`.replace(
      "neutral: neutral.yaml",
      "neutral: neutral.yaml, choices: questions.jsonl",
    ),
  });
  const questions = ["Is ice cold?", "Is fire cold?", "Is it?"];
  await writeFile(
    join(folder, "independent", "questions.jsonl"),
    questions
      .map((question, i) => `${JSON.stringify({ question, choices: ["Yes.", "No."], answer: i % 2 })}\n`)
      .join(""),
  );
  await writeTalkingModel(join(folder, "independent", "other"), { endBias: 0.25 });
  const { id, events } = await runWhole(judged, store);
  const ids = ["base", "sl", "rl", "with-constitution", "constant-reply"];
  expect(stagesThat("done", events)).toEqual(expect.arrayContaining(ids.map((one) => `rating of ${one}`)));
  expect(stagesThat("reused", events)).toContain("answers of base with constitution");
  reading(store, (reader) => {
    const card = reader.stage(id, "scorecard")!.output as Scorecard;
    expect(card.independence).toMatchObject({ kind: "judge" });
    const scores = card.rows.filter(({ metric }) => metric === "judge");
    expect(scores.map(({ checkpoint }) => checkpoint)).toEqual(ids);
    for (const { value } of scores) expect(Math.abs(value)).toBeLessThanOrEqual(1);
    expect(card.overoptimisation!.points.map(({ name }) => name).sort()).toEqual(["base", "rl", "sl"]);
    const right = card.rows.filter(({ metric }) => metric === "choices");
    expect(right.map(({ checkpoint, n }) => [checkpoint, n])).toEqual(["base", "sl", "rl"].map((one) => [one, 3]));
    // What they cost the run that asked for them is not known here.
    expect(card).not.toHaveProperty("labelling");
  });
});

test("checks that training never sees change the scorecard alone", async () => {
  const path = await writeRecipe(join(folder, "unseen"), {
    recipe: reinforcedRecipe.replace("neutral: neutral.yaml", "neutral: neutral.yaml, unseen: unseen.yaml"),
  });
  const other =
    "name: other\nversion: '1'\nprinciples:\n  - { id: short, text: Be brief., checks: [{ mustNot: '[a-m]' }] }\n";
  await writeFile(join(folder, "unseen", "unseen.yaml"), other);
  const { id, events } = await runWhole(path, store);
  expect(id).not.toBe(first.id);
  const [before, after] = [results(store, first.id), results(store, id)];
  for (const name of made.filter((one) => one !== "scorecard"))
    expect(after[name]!.identity, name).toBe(before[name]!.identity);
  expect(after.scorecard!.identity).not.toBe(before.scorecard!.identity);
  expect(stagesThat("reused", events)).toEqual(expect.arrayContaining(trained));
  reading(store, (reader) => {
    const card = reader.stage(id, "scorecard")!.output as Scorecard;
    expect(card.independence).toMatchObject({ kind: "unseen" });
    expect(card.overoptimisation).toMatchObject({ judgeName: "share of replies that break no unseen check" });
    const rates = card.rows.filter(({ metric }) => metric === "unseen-violations");
    expect(rates.map(({ checkpoint }) => checkpoint)).toEqual(expect.arrayContaining(["base", "sl", "rl"]));
    const without = reader.stage(first.id, "scorecard")!.output as Scorecard;
    const others = (whole: Scorecard) => whole.rows.filter(({ metric }) => metric === "violations");
    expect(others(card)).toEqual(others(without));
  });
});

test("a policy that needs no preference model is trained without one", async () => {
  const policies = {
    dpo: "  algorithm: dpo\n  batchSize: 4\n  maxLength: 512\n  microBatchTokens: 512\n",
    checks: reinforcedRecipe.split("policy:\n")[1]!.replace("preference: 1", "preference: 0"),
  };
  const ran: Record<string, string[]> = {};
  for (const [name, policy] of Object.entries(policies)) {
    const text = `${reinforcedRecipe.split("preferenceModel:\n")[0]}policy:\n${policy}`;
    const { id } = await runWhole(await writeRecipe(join(folder, name), { recipe: text }), store);
    const found = results(store, id);
    expect(found.policy!.artifacts).toHaveLength(1);
    reading(store, (reader) => {
      const { rows, checkpoints } = reader.stage(id, "scorecard")!.output as Scorecard;
      expect(checkpoints.map(({ id: own }) => own)).toEqual(["base", "sl", "rl"]);
      expect(rows.some(({ metric }) => metric === "proxy")).toBe(false);
    });
    ran[name] = ["pairs", "labels", "preference model"].filter((stage) => stage in found);
  }
  expect(ran).toEqual({ dpo: ["pairs", "labels"], checks: [] });
});

test("a check that only the reward knows has the policy trained again, and nothing before it", async () => {
  const graded = (severity: number) =>
    `${constitutionText}  - id: calm\n    use: preference\n    text: Be calm.\n    checks:\n      - mustNot: "!"\n        severity: ${severity}\n`;
  const text = `${reinforcedRecipe.split("preferenceModel:\n")[0]!.replace(/^ *audit:.*\n/m, "")}policy:\n${reinforcedRecipe.split("policy:\n")[1]!.replace("preference: 1", "preference: 0")}`;
  const ran = (severity: number) =>
    writeRecipe(join(folder, "graded"), { recipe: text, constitution: graded(severity) }).then((file) =>
      runWhole(file, store),
    );
  await ran(0.5);
  const { events } = await ran(0.25);
  expect(stagesThat("reused", events)).toContain("supervised");
  expect(stagesThat("done", events)).toEqual(expect.arrayContaining(["policy", "scorecard"]));
});
