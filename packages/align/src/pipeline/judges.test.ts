import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ChainRow, ExampleRow, PreferenceRow, PromptRow } from "@tenet/data";
import { readReply } from "@tenet/lm";
import { afterAll, beforeAll, expect, test } from "vitest";
import { constitutionText, reinforcedRecipe, supervisedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
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

test("a judge in its own format rewards a policy by principles, and replies that it does not judge are left out", async () => {
  const retries = "retries: { baseSeconds: 0.001 }";
  const before = judge.asked.length;
  const rated = (term: string) =>
    `${supervisedRecipe.replace(/, heldOut: .*/, " }").replace(/^evaluate.*\n/m, "")}roles: { labeller: { endpoint: "${judge.url}", model: one, ${retries} } }
arrangement: { steps: [policy] }
policy:
  algorithm: rloo
  reward: { preference: 0, judge: { weight: 1${term} }, failures: { most: 0.9 } }
  iterations: 2
  promptsPerIteration: 3
  samplesPerPrompt: 4
  maxTokens: 8
  microBatchTokens: 512
`;
  const byPrinciple = rated(", principles: [short], asking: { format: prometheus-2, retries: 0 }");
  const recipe = await writeRecipe(join(folder, "rated"), { recipe: byPrinciple });
  const { id } = await runWhole(recipe, store());
  // Every fifth verdict of this judge is none.
  const asked = judge.asked
    .map((question, i) => ({ question, read: (i + 1) % 5 !== 0 }))
    .slice(before)
    .filter(({ question }) => question.includes("###Response to evaluate"));
  expect(asked.length).toBeGreaterThan(10);
  for (const { question } of asked) expect(question).toContain("Does the response keep to this principle: Be brief.");
  const identity = reading(store(), (reader) => {
    const policy = reader.stage(id, "policy")!;
    const metrics = reader.metrics(id).filter(({ stage }) => stage === "policy");
    const of = (name: string) => metrics.filter((metric) => metric.name === name).map(({ value }) => value);
    const rows = [...reader.rows<{ id: string; origin: never; score: number; said: unknown }>(policy.identity)];
    // What cannot be read has no row and no reward, and is counted.
    expect(rows).toHaveLength(asked.filter(({ read }) => read).length);
    expect(rows.length).toBeLessThan(asked.length);
    expect(of("reward/unanswered").length).toBeGreaterThan(0);
    expect(of("reward/judge")).toHaveLength(2);
    for (const { score, said } of rows) {
      expect([0, 0.5, 1]).toContain(score);
      expect(said).toMatchObject([{ format: "prometheus-2", unread: 0 }]);
    }
    const usage = reader.usage(id).find(({ stage, role }) => stage === "policy" && role === "labeller");
    expect(usage!.calls).toBe(asked.length);
    return policy.identity;
  });

  // What a principle says is part of what the policy is; in general it is not.
  const policyOf = async (name: string, text: string, constitution?: string) => {
    const path = await writeRecipe(join(folder, name), { recipe: text, ...(constitution && { constitution }) });
    const { id: other } = await runWhole(path, store());
    return reading(store(), (reader) => reader.stage(other, "policy")!.identity);
  };
  const changed = constitutionText.replace("Say it in plain words.", "Say it plainly.");
  expect(await policyOf("rated", byPrinciple)).toBe(identity);
  expect(await policyOf("rated", byPrinciple, changed)).not.toBe(identity);
  const general = rated(", asking: { format: prometheus-2, retries: 0 }");
  expect(await policyOf("rated", general)).toBe(await policyOf("rated", general, changed));
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
