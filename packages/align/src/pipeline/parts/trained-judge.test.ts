import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type PreferenceRow, randomStream } from "@tenet/data";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../../test/pipeline/fixture.ts";
import { reading, results, run, runWhole, stagesThat } from "../../../test/pipeline/run.ts";
import type { Scorecard } from "../../evaluate/index.ts";
import { arrange } from "../arrangement.ts";
import { estimateRun } from "../estimate.ts";
import { openRecipe } from "../open.ts";
import { GateError, inOrder } from "../stages/index.ts";
import type { AuditReport } from "./audit.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-judge-"));
});

afterAll(async () => {
  await rm(folder, { recursive: true });
});

/** Pairs of words of which the better one has an M; or, without the rule, whichever a coin chose. */
function wordPairs(count: number, { rule }: { readonly rule: boolean }): object[] {
  return Array.from({ length: count }, (_, i) => {
    const stream = randomStream({ seed: 3, stage: "words", item: String(i) });
    const word = (start: number) =>
      Array.from({ length: 4 }, (_, j) => String.fromCharCode(97 + stream.integer(start + j, 26)));
    const [one, other] = [word(0), word(4)];
    one[stream.integer(8, 4)] = "M";
    const [better, worse] = rule || stream.uniform(9) < 0.5 ? [one, other] : [other, one];
    return { prompt: `Word ${i}?`, chosen: better.join(""), rejected: worse.join("") };
  });
}

const training =
  "pairs: words.jsonl, learningRate: 0.01, lora: { rank: 8, alpha: 16 }, epochs: 5, batchSize: 8, maxLength: 600, checkpointEvery: 2";
const withJudge = (train: string) =>
  `${reinforcedRecipe.replace("  audit: { path: known.jsonl }\n", "").replace("by: checks, downWeight: 0.5", "by: off")}roles: { labeller: { train: { ${train} } } }\n`;

async function written(name: string, { rule = true, train = training, count = 96 } = {}): Promise<string> {
  const file = await writeRecipe(join(folder, name), { recipe: withJudge(train) });
  const lines = wordPairs(count, { rule }).map((row) => `${JSON.stringify(row)}\n`);
  await writeFile(join(folder, name, "words.jsonl"), lines.join(""));
  await writeFile(join(folder, name, "others.jsonl"), lines.slice(0, 8).join(""));
  return file;
}

const auditOf = (store: string, id: string) =>
  reading(store, (reader) => reader.stage(id, "labeller audit")!.output as AuditReport);
const rowsOf = (store: string, id: string, stage: string) =>
  reading(store, (reader) => [...reader.rows<PreferenceRow>(reader.stage(id, stage)!.identity)]);

test("a judge learns a planted rule, passes its audit on pairs it never saw, and labels", async () => {
  const store = join(folder, "store");
  const recipe = await written("rule");
  const { id } = await runWhole(recipe, store, { only: ["labels"] });
  const { gate, health } = auditOf(store, id);
  expect(gate).toMatchObject({ passed: true, overridden: false });
  expect(health.accuracy.value).toBeGreaterThan(0.85);
  const [learnt, asked] = ["labeller pairs to learn", "labeller pairs to audit"].map((stage) =>
    rowsOf(store, id, stage).map(({ prompt }) => prompt[0]!.content),
  );
  expect(learnt!.length + asked!.length).toBe(96);
  expect(new Set([...learnt!, ...asked!]).size).toBe(96);
  const [label] = rowsOf(store, id, "labels");
  const [digits] = results(store, id)["labeller training"]!.artifacts;
  expect(digits).toBeDefined();
  expect(label!.origin.models!.labeller).toMatch(/^model\+[0-9a-f]{8}$/);

  const again = await run(recipe, store, { only: ["labels"] });
  expect(stagesThat("done", again.events)).toEqual([]);
});

test("a judge that was taught coin tosses is refused, before anything else is spent; an override says so", async () => {
  const store = join(folder, "coins");
  const { error, events, id } = await run(await written("refused", { rule: false }), store);
  expect(error).toBeInstanceOf(GateError);
  expect((error as Error).message).toMatch(/refuses the labeller.*roles\.labeller\.train/);
  expect(stagesThat("done", events)).not.toContain("responses");
  expect(auditOf(store, id).gate).toMatchObject({ passed: false, open: false });

  const train = `${training}, audit: { override: true }`;
  const overridden = await runWhole(await written("overridden", { rule: false, train }), store, { only: ["labeller"] });
  expect(stagesThat("reused", overridden.events)).toContain("labeller training");
  expect(auditOf(store, overridden.id).gate).toMatchObject({ passed: false, overridden: true });
});

test("a run that stops while a judge is trained ends as one that did not", async () => {
  const recipe = await written("stopped", {
    train: training.replace("epochs: 5", "epochs: 1, warmup: 16, audit: { override: true }"),
  });
  const only = ["labeller"];
  const whole = await runWhole(recipe, join(folder, "whole"), { only });
  const store = join(folder, "parts");
  const stop = new AbortController();
  const stopped = await run(recipe, store, {
    only,
    signal: stop.signal,
    onEvent: (event) => {
      if (event.type === "metrics" && event.stage === "labeller training" && event.step === 3) stop.abort();
    },
  });
  expect(stopped.error).toBeDefined();
  const rest = await runWhole(recipe, store, { only });
  const steps = rest.events.flatMap((event) => (event.type === "metrics" ? [event.step] : []));
  expect(Math.min(...steps)).toBeGreaterThan(1);
  expect(results(store, rest.id)).toEqual(results(join(folder, "whole"), whole.id));
});

test("with pairs of its own for the audit, those to learn that begin alike are left out", async () => {
  const store = join(folder, "apart");
  const train = `${training.replace("epochs: 5", "epochs: 1")}, audit: { path: others.jsonl, override: true }`;
  const { id } = await runWhole(await written("apart", { train, count: 24 }), store, { only: ["labeller"] });
  expect(rowsOf(store, id, "labeller pairs to learn")).toHaveLength(16);
  expect(auditOf(store, id).health.accuracy.n).toBe(8);
});

test("pairs to learn from are made under principles and under their opposites", async () => {
  const store = join(folder, "contrast");
  const pairs = "{ from: contrast, sampling: { maxTokens: 1 } }";
  const train = training
    .replace("words.jsonl", pairs)
    .replace("epochs: 5", "epochs: 1, audit: { path: others.jsonl, override: true }");
  const recipe = await written("contrast", { train });
  const { id } = await runWhole(recipe, store, { only: ["labeller"] });
  const made = rowsOf(store, id, "labeller pairs");
  expect(made.length).toBeGreaterThan(4);
  for (const { label, origin, p } of made) {
    expect([label, p === 0 || p === 1]).toEqual(["contrast", true]);
    expect(["plain", "no-q", "short"]).toContain(origin.principles![0]);
  }
  expect(new Set(made.map(({ p }) => p))).toEqual(new Set([0, 1]));
  const { stages } = await estimateRun(await openRecipe(recipe));
  // Two replies of a token to each of twelve prompts.
  const estimate = stages.find(({ stage }) => stage === "labeller pairs")!;
  expect(estimate).toMatchObject({ rows: 12, roles: [{ role: "generator", completionTokens: 2 * 12 }] });
});

test("pairs to learn from are replies that the checks tell apart", async () => {
  const store = join(folder, "checked");
  const pairs = "{ from: checks, samples: 6, sampling: { maxTokens: 12 } }";
  const train = training
    .replace("words.jsonl", pairs)
    .replace("epochs: 5", "epochs: 1, audit: { path: others.jsonl, override: true }");
  const recipe = await written("checked", { train });
  const { id } = await runWhole(recipe, store, { only: ["labeller"] });
  const made = rowsOf(store, id, "labeller pairs");
  expect(made.length).toBeGreaterThan(4);
  for (const { a, b, p, label } of made) {
    expect(label).toBe("check");
    expect(p === 1 ? b : a).toMatch(/[q7]|.{15}/is);
  }
  const { stages } = await estimateRun(await openRecipe(recipe));
  // Every two of six replies to each of twelve prompts.
  expect(stages.find(({ stage }) => stage === "labeller pairs untold")).toMatchObject({ rows: 180 });
});

test("a trained judge compares checkpoints by the question that it was taught", async () => {
  const store = join(folder, "compared");
  const file = await written("compared");
  const text = `${supervisedRecipe.replace("evaluate: {", "evaluate: { divergence: false,")}roles: { judge: { train: { ${training} } } }\n`;
  await writeFile(file, text);
  const { id } = await runWhole(file, store);
  const scorecard = reading(store, (reader) => reader.stage(id, "scorecard")!.output as Scorecard);
  expect(scorecard.labelHealth!.map(({ gate }) => gate.passed)).toEqual([true]);
  const [rate] = scorecard.rows.filter(({ metric }) => metric === "win-rate");
  expect(rate).toMatchObject({ checkpoint: "sl" });
  expect(rate!.n).toBeGreaterThan(0);
  const open = await openRecipe(file);
  const { stages } = await estimateRun(open);
  const names = inOrder(arrange({ ...open, options: {} }).targets).map(({ name }) => name);
  expect(stages.map(({ stage }) => stage)).toEqual(names.filter((name) => !["model", "judge"].includes(name)));
});

/** Words of four letters, one of each pair with a q, and a reward that asks a critic; the checks write the critiques. */
async function withCritic(name: string, { rule = true, train = training, count = 64 } = {}): Promise<string> {
  const recipe = reinforcedRecipe
    .replace("  audit: { path: known.jsonl }\n", "")
    .replace("by: checks, downWeight: 0.5", "by: off")
    .replace("critique: { critique:", "critique: { critiques: checks, critique:")
    .replace("constitution: 0.5", "constitution: { weight: 0.5, by: critic }");
  const file = await writeRecipe(join(folder, name), {
    recipe: `${recipe}roles: { critic: { train: { ${train} } } }\n`,
  });
  const rows = Array.from({ length: count }, (_, i) => {
    const stream = randomStream({ seed: 4, stage: "verdicts", item: String(i) });
    const word = (start: number) =>
      Array.from({ length: 4 }, (_, j) => "abcdefghijklmnoprstuvwxyz"[stream.integer(start + j, 25)]!);
    const [better, worse] = [word(0), word(4)];
    worse.fill("q");
    return { prompt: `Word ${i}?`, chosen: better.join(""), rejected: worse.join("") };
  });
  const text = (some: readonly object[]) => some.map((row) => `${JSON.stringify(row)}\n`).join("");
  await writeFile(join(folder, name, "words.jsonl"), text(rows));
  // The checks say otherwise than these do: nothing is known of them.
  const turned = rows.map(({ prompt, chosen, rejected }) => ({
    ...{ prompt: `Another ${prompt}`, chosen: rejected, rejected: chosen },
  }));
  await writeFile(join(folder, name, "others.jsonl"), text(rule ? rows.slice(0, 8) : turned));
  return file;
}

test("a critic learns when a reply breaks a principle, passes its audit on replies it never saw, and is the one that is asked", async () => {
  const store = join(folder, "critic");
  const recipe = await withCritic("critic", { train: training.replace("epochs: 5", "epochs: 12") });
  const { id, events } = await runWhole(recipe, store, { only: ["policy"] });
  const { gate, health } = reading(store, (reader) => reader.stage(id, "critic audit")!.output as AuditReport);
  expect(gate).toMatchObject({ passed: true, overridden: false });
  expect(health.accuracy.value).toBeGreaterThan(0.85);
  const labels = rowsOf(store, id, "critic audit labels");
  expect(labels).toHaveLength(health.accuracy.n);
  for (const { origin, explanation } of labels) {
    expect(origin.principles).toEqual(["no-q"]);
    expect(explanation[0]).toMatchObject({ step: "verdicts", principle: "no-q", a: expect.any(Number) });
  }
  expect(stagesThat("done", events).indexOf("critic audit")).toBeLessThan(stagesThat("done", events).indexOf("policy"));
  const critics = rowsOf(store, id, "policy").map(({ origin }) => origin.models?.critic);
  expect(critics.length).toBeGreaterThan(0);
  for (const critic of critics) expect(critic).toMatch(/^model\+[0-9a-f]{8}$/);
});

test("a critic of whose pairs nothing is known is refused, with what to do", async () => {
  const train = `${training.replace("epochs: 5", "epochs: 1")}, audit: { path: others.jsonl }`;
  const { error } = await run(await withCritic("unknown", { rule: false, train, count: 8 }), join(folder, "unknown"), {
    only: ["policy"],
  });
  expect(error).toBeInstanceOf(GateError);
  expect((error as Error).message).toMatch(/refuses the critic.*roles\.critic\.train/);
});

test.each<[string, (recipe: string) => string, RegExp]>([
  [
    "critiques that it should write",
    (recipe) => recipe.replace("critiques: checks, ", ""),
    /roles\.critic\.train: expected supervised\.critique\.critiques: checks/,
  ],
  [
    "nothing that asks it",
    (recipe) => recipe.replace("constitution: { weight: 0.5, by: critic }", "constitution: 0.5"),
    /roles\.critic\.train: expected something that asks it/,
  ],
  [
    "easy pairs to begin with",
    (recipe) => recipe.replace("pairs: words.jsonl,", "pairs: words.jsonl, warmup: 4,"),
    /roles\.critic\.train\.warmup: expected none/,
  ],
])("a critic with %s is refused", async (_, change, says) => {
  const file = await withCritic("refused-critic");
  await expect(openRecipe(file, { text: change(await readFile(file, "utf8")) })).rejects.toThrow(says);
});

test("an estimate counts a judge's training and its audit", async () => {
  const open = await openRecipe(await written("estimated"));
  const { stages } = await estimateRun(open);
  const names = inOrder(arrange({ ...open, options: {} }).targets).map(({ name }) => name);
  expect(stages.map(({ stage }) => stage)).toEqual(names.filter((name) => !["model", "labeller"].includes(name)));
  const of = (name: string) => stages.find(({ stage }) => stage === `labeller ${name}`)!;
  expect(of("pairs to learn").rows).toBe(72);
  expect(of("audit labels")).toMatchObject({ rows: 24, roles: [{ role: "labeller", completionTokens: 0 }] });
  // Both orders, in every epoch.
  const { promptTokens } = of("audit labels").roles[0]!;
  expect(of("training").trainingTokens! / (5 * 3 * promptTokens)).toBeCloseTo(1, 0);
});
