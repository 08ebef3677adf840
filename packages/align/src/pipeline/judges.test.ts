import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainRow, ExampleRow, PreferenceRow, PromptRow } from "@tenet/data";
import { readReply } from "@tenet/lm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { openJudgeServer } from "../../test/pipeline/judge-server.ts";
import { reading, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import type { Scorecard } from "../evaluate/index.ts";

/*
 * Whole runs of a small model in which a judge of the literature labels, compares and rates, and in which reasoning and pairs by contrast
 * are learnt.
 */

let folder: string;
let judge: Awaited<ReturnType<typeof openJudgeServer>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-judges-"));
  judge = await openJudgeServer();
});
afterAll(async () => {
  judge.close();
  await rm(folder, { recursive: true, force: true });
});

const store = () => join(folder, "store");

test("a judge in its own format labels, is audited, compares and rates", async () => {
  const server = (model: string) => `{ endpoint: "${judge.url}", model: ${model}, retries: { baseSeconds: 0.001 } }`;
  const recipe = await writeRecipe(join(folder, "prometheus"), {
    recipe: `${reinforcedRecipe}roles: { labeller: ${server("one")}, judge: ${server("another")} }\n`
      .replace("label: { swap: true,", "label: { method: judge, judge: { format: prometheus-2 },")
      .replace("neutral: neutral.yaml", "neutral: neutral.yaml, judge: { format: prometheus-2, retries: 1 }"),
  });
  const { id } = await runWhole(recipe, store());
  reading(store(), (reader) => {
    const labels = [...reader.rows<PreferenceRow>(reader.stage(id, "labels")!.identity)];
    const judged = labels.flatMap(({ explanation }) => explanation.filter(({ step }) => step === "reading"));
    expect(judged.length).toBeGreaterThan(0);
    for (const { judged: said } of judged) expect(said).toMatchObject([{ format: "prometheus-2" }]);
    const card = reader.stage(id, "scorecard")!.output as Scorecard;
    expect(card.labelHealth[0]!.accuracy).toMatchObject({ value: 1, n: 8 });
    expect(card.independence).toMatchObject({ kind: "judge" });
    expect(card.overoptimisation!.judgeName).toBe("prometheus-2 by another");
    const scores = card.rows.filter(({ metric }) => metric === "judge");
    expect(scores.map(({ checkpoint }) => checkpoint)).toEqual(expect.arrayContaining(["base", "sl", "rl"]));
    expect(card.rows.some(({ metric }) => metric === "win-rate")).toBe(true);
  });
  expect(judge.asked.some((question) => question.includes("###Response to evaluate"))).toBe(true);
}, 300_000);

test("reasoning by the checks is learnt before replies, and read off them again", async () => {
  const recipe = await writeRecipe(join(folder, "deliberate"), {
    recipe: supervisedRecipe.replace(
      "  revisions: 2\n",
      "  revisions: 2\n  deliberate: { by: checks, principles: 2 }\n  examples: { unchanged: keep }\n",
    ),
    prompts: 24,
  });
  const { id, events } = await runWhole(recipe, store());
  expect(stagesThat("done", events)).toContain("supervised");
  reading(store(), (reader) => {
    const examples = [...reader.rows<ExampleRow>(reader.stage(id, "examples")!.identity)];
    expect(examples.length).toBeGreaterThan(0);
    for (const { completion } of examples) expect(readReply(completion).thoughts).toMatch(/\[(no-q|short)\]/);
  });
}, 300_000);

test("pairs by contrast are labelled by how they were made, and nobody is asked", async () => {
  const recipe = await writeRecipe(join(folder, "contrast"), {
    recipe: reinforcedRecipe
      .replace("pairs: { sampling:", "pairs: { contrast: principle, sampling:")
      .replace(/ {2}label: .*\n {2}audit: .*\n/, "  label: { method: contrast }\n"),
  });
  const { id } = await runWhole(recipe, store());
  reading(store(), (reader) => {
    const labels = [...reader.rows<PreferenceRow>(reader.stage(id, "labels")!.identity)];
    expect(labels.length).toBeGreaterThan(0);
    for (const { label, p, origin } of labels) {
      expect([label, Math.abs(p - 0.5)]).toEqual(["contrast", 0.5]);
      expect(origin.principles).toHaveLength(1);
    }
    expect(reader.usage(id).filter(({ role }) => role === "labeller")).toEqual([]);
  });
}, 300_000);

test("prompts are gone on with as dialogues, whose chains criticise the last turn", async () => {
  const recipe = await writeRecipe(join(folder, "dialogue"), {
    recipe: supervisedRecipe.replace(
      "prompts: { train: prompts.jsonl,",
      "prompts: { dialogue: { personas: personas.yaml, turns: 2, sampling: { maxTokens: 16 } }, train: prompts.jsonl,",
    ),
    prompts: 6,
  });
  await writeFile(join(folder, "dialogue", "personas.yaml"), "- You are in a hurry.\n- You are afraid.\n");
  const { id } = await runWhole(recipe, store());
  reading(store(), (reader) => {
    const prompts = [...reader.rows<PromptRow>(reader.stage(id, "dialogues")!.identity)];
    const turns = prompts.map(({ prompt }) => prompt.map(({ role }) => role).join());
    expect(turns.filter((roles) => roles === "user")).toHaveLength(6);
    const later = turns.filter((roles) => roles === "user,assistant,user").length;
    expect(later).toBeGreaterThan(0);
    expect(later).toBe(prompts.length - 6);
    const chains = [...reader.rows<ChainRow>(reader.stage(id, "chains")!.identity)];
    expect(chains.some(({ prompt }) => prompt.length === 3)).toBe(true);
  });
}, 300_000);
