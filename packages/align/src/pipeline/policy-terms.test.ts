import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { afterAll, expect, it, vi } from "vitest";
import { documentedMetrics } from "../../test/metric-names.ts";
import { constitutionText, reinforcedRecipe, writeRecipe } from "../../test/pipeline/fixture.ts";
import { reading, runWhole, stagesThat } from "../../test/pipeline/run.ts";
import { ratingQuestion, type Scorecard } from "../evaluate/index.ts";
import { generalRubric } from "../judge/index.ts";
import { estimateRun } from "./estimate.ts";
import { openRecipe } from "./open.ts";
import { size } from "./sizes.ts";

vi.setConfig({ testTimeout: 240_000, hookTimeout: 240_000 });

const folder = await mkdtemp(join(tmpdir(), "tenet-policy-terms-"));
afterAll(() => rm(folder, { recursive: true }));

/** A letter that about half of the replies have. */
const common = constitutionText.replace("[q7]", "[a-e]");

const measured = reinforcedRecipe
  .replace("  audit: { path: known.jsonl }\n", "")
  .replace("iterations: 4", "iterations: 2");
const plain = measured.replace(/, heldOut: .*/, " }").replace(/^evaluate.*\n/m, "");
const policyWith = (keys: string, recipe = plain) => recipe.replace("  algorithm: ppo\n", `  algorithm: ppo\n${keys}`);

/** What the scorecard of a run says of its bound. */
const saidOfBound = (store: string, id: string) =>
  reading(store, (reader) => {
    const { verdict } = reader.stage(id, "scorecard")!.output as Scorecard;
    return verdict.sentences.find((sentence) => sentence.includes("bound of"));
  });

it("imitates, avoids, weighs and keeps to a bound where its recipe says so, and redoes nothing else", async () => {
  const recipe = await writeRecipe(join(folder, "recipe"), { recipe: plain, prompts: 8, constitution: common });
  const store = join(folder, "store");
  await runWhole(recipe, store);
  const keys = `  imitate: { weight: 0.2, batchSize: 2 }
  avoid: { weight: 0.1, batchSize: 2 }
  constraint: { bound: 0.3 }
`;
  await writeFile(recipe, policyWith(keys).replace("  pairs: {", "  weigh: { reweight: 1 }\n  pairs: {"));
  const { events, id } = await runWhole(recipe, store);
  expect(stagesThat("done", events).sort()).toEqual(
    [
      "verdicts on labels",
      "weighed labels",
      "verdicts on pairs",
      "flagged",
      "preference model",
      "preference gate",
      "policy",
    ].sort(),
  );
  reading(store, (reader) => {
    const metrics = new Set(reader.metrics(id).flatMap(({ stage, name }) => (stage === "policy" ? [name] : [])));
    for (const name of ["loss/imitate", "loss/avoid", "policy/gradient_cosine", "constraint/lambda", "cost/violations"])
      expect(metrics).toContain(name);
    const all = reader.metrics(id).map(({ name }) => name);
    expect([...new Set(all)].filter((name) => !documentedMetrics.has(name))).toEqual([]);
    const stage = (name: string) => reader.stages(id).find((one) => one.name === name)!;
    const weights = [...reader.rows<PreferenceRow>(stage("weighed labels").identity)].map(({ weight }) => weight);
    expect(new Set(weights).size).toBeGreaterThan(1);
    expect(stage("flagged").dataset!.rows).toBeGreaterThan(0);
  });
  const told = events.flatMap((event) =>
    event.type === "message" && event.stage === "weighed labels" ? [event.message] : [],
  );
  expect(told).toEqual([expect.stringMatching(/labels agree.*contradicted by it.*violate on both sides/)]);
});

it("bounds the score of a cost model that it learns, behind its gate, and imitates what it revises itself", async () => {
  const recipe = await writeRecipe(join(folder, "cost"), { recipe: plain, prompts: 8, constitution: common });
  const keys = `  imitate: { batchSize: 2 }
  constraint: { cost: model, bound: 0 }
`;
  const safety = ["Yes.", "No.", "Perhaps."].map((response, i) => ({ prompt: "Shall I?", response, is_safe: i === 0 }));
  await writeFile(join(folder, "cost", "safety.jsonl"), safety.map((row) => `${JSON.stringify(row)}\n`).join(""));
  const cost =
    "costModel: { human: { path: safety.jsonl }, gate: { override: true }, batchSize: 4, maxLength: 512, lora: { rank: 2, alpha: 4 } }\n";
  const rewarded = (policy: string) =>
    policyWith(policy, measured).replace("reward: { preference: 1,", "reward: { preference: 0,");
  await writeFile(recipe, `arrangement: joint\n${cost}${rewarded(keys)}`);
  const store = join(folder, "cost-store");
  const { events, id } = await runWhole(recipe, store);
  expect(stagesThat("done", events)).toEqual(
    expect.arrayContaining([
      "verdicts for costs",
      "costs",
      "human costs",
      "all costs",
      "cost model",
      "cost gate",
      "examples to imitate",
      "policy",
    ]),
  );
  expect(stagesThat("done", events)).not.toContain("supervised");
  reading(store, (reader) => {
    const metrics = new Set(reader.metrics(id).flatMap(({ stage, name }) => (stage === "policy" ? [name] : [])));
    for (const name of ["cost/model", "constraint/window", "loss/imitate"]) expect(metrics).toContain(name);
    const [own, human, all] = ["costs", "human costs", "all costs"].map((name) => reader.stage(id, name)!);
    expect([human!.rows, human!.aside]).toEqual([1, 1]);
    expect(all!.rows).toBe(own!.rows + 1);
  });
  const asked = await estimateRun(await openRecipe(recipe));
  expect(asked.stages.map(({ stage }) => stage)).toEqual(expect.arrayContaining(["cost model", "examples to imitate"]));
  // The cost model scores the replies to held-out prompts, and its word is held against the bound.
  expect(saidOfBound(store, id)).toMatch(/^The bound of 0 is .*: RLAIF's replies cost −?\d.* by the cost model/);

  // A critic's word is asked for there too; the bound is that of the last round.
  const byCritic = "  constraint: { cost: critic, bound: 0.3 }\n";
  const schedule = 'arrangement: { steps: [policy], schedule: { "policy.constraint.bound": [0.99] } }\n';
  await writeFile(recipe, `${schedule}${rewarded(byCritic)}`);
  const critic = await runWhole(recipe, store);
  expect(stagesThat("done", critic.events)).toEqual(expect.arrayContaining(["policy", "costs of rl", "scorecard"]));
  expect(saidOfBound(store, critic.id)).toMatch(
    /^The bound of 99% is .*: \d+(\.\d)?% .* replies violate by the critic's word\.$/,
  );
  const { stages } = await estimateRun(await openRecipe(recipe));
  expect(stages.find(({ stage }) => stage === "costs of rl")!.roles.map(({ role }) => role)).toEqual(["critic"]);
});

it("has an estimate of all that is asked", async () => {
  const path = join(folder, "recipe", "asked.yaml");
  const keys = `  avoid: { by: critic }
  constraint: { cost: critic, bound: 0.3 }
`;
  const reward =
    "reward: { preference: 1, constitution: { weight: 0.5, by: both, principles: 1 }, judge: { weight: 0.2 } }";
  await writeFile(
    path,
    policyWith(keys)
      .replace("reward: { preference: 1, constitution: 0.5 }", reward)
      .replace("  pairs: {", "  weigh: { by: both, principles: 2 }\n  pairs: {"),
  );
  const { stages } = await estimateRun(await openRecipe(path));
  const asked = (name: string) => stages.find(({ stage }) => stage === name)!.roles.map(({ role }) => role);
  expect(asked("policy")).toEqual(expect.arrayContaining(["policy", "critic", "labeller"]));
  expect(asked("verdicts on labels")).toEqual(["critic"]);
  expect(asked("verdicts on pairs")).toEqual(["critic"]);
  expect(stages.map(({ stage }) => stage)).toEqual(expect.arrayContaining(["weighed labels", "flagged"]));
});

it("tests a preference model by labels that are held against the constitution as those are that it learns", async () => {
  const path = await writeRecipe(join(folder, "held"), { recipe: plain, prompts: 8, constitution: common });
  const text = plain.replace("  pairs: {", "  weigh: { reweight: 1 }\n  pairs: {");
  await writeFile(path, text.replace("prompts: {", "prompts: { validation: { share: 0.3 },"));
  const { stages } = await estimateRun(await openRecipe(path));
  expect(stages.map(({ stage }) => stage)).toEqual(
    expect.arrayContaining(["validation labels", "verdicts on validation labels", "weighed validation labels"]),
  );
});

it("has an estimate of what a judge writes who rates", async () => {
  const ratedBy = async (judge: string) => {
    const reward = `reward: { preference: 1, judge: { weight: 0.2${judge} } }`;
    const recipe = policyWith("").replace("reward: { preference: 1, constitution: 0.5 }", reward);
    // Neither is drawn.
    const undrawn = `  - id: never\n    text: Say all.\n    weight: 0\n  - id: later\n    text: Mend it.\n    use: revision\n`;
    const path = await writeRecipe(join(folder, "rated"), { recipe, constitution: `${constitutionText}${undrawn}` });
    const { stages } = await estimateRun(await openRecipe(path));
    return stages.find(({ stage }) => stage === "policy")!.roles.find(({ role }) => role === "labeller")!;
  };
  const [plain, worded, two, all, named] = [
    await ratedBy(""),
    await ratedBy(", asking: { format: prometheus-2, samples: 2, maxTokens: 100 }"),
    await ratedBy(", principles: 2, asking: { format: rating, maxTokens: 50 }"),
    await ratedBy(", principles: 9, asking: { format: rating, maxTokens: 50 }"),
    await ratedBy(", principles: [plain, no-q, short]"),
  ];
  const { promptTokens } = plain;
  const requests = worded.completionTokens / 200;
  expect(requests).toBeGreaterThan(1);
  expect(plain.completionTokens).toBe(0);
  const { criterion, scores } = generalRubric;
  const more = size([criterion, ...scores].join("\n")) - size(ratingQuestion);
  expect(worded.promptTokens - promptTokens).toBeCloseTo(requests * more, -1);
  expect(two.completionTokens).toBe(2 * 50 * requests);
  expect(all.completionTokens).toBe(3 * 50 * requests);
  expect(all.promptTokens / two.promptTokens).toBeCloseTo(3 / 2, 2);
  // Scores are described, each in a sentence.
  expect(two.promptTokens / requests).toBeGreaterThan(2 * (promptTokens / requests + 20));
  expect(named.completionTokens).toBe(0);
  const texts = ["Say it in plain words.", "Do not use the letter q.", "Be brief."];
  const asked = texts.map((text) => size(`Does the response keep to this principle: ${text}`) - size(ratingQuestion));
  const longer = asked.reduce((sum, one) => sum + one, 0);
  expect(named.promptTokens).toBeCloseTo(3 * promptTokens + requests * longer, -1);
});

it.each([
  ["  constraint: { bound: 1.5 }\n", /policy.constraint.bound: expected a share from 0 to 1/],
  [
    "  constraint: { bound: 0.1, multiplier: { start: 9 } }\n",
    /policy.constraint.multiplier.start: expected start of at most most/,
  ],
  ["  constraint: { cost: model, bound: 0 }\n", /policy.constraint.cost: expected costModel beside it/],
  ["  reward: { preference: 0, constitution: 1, shape: sigmoid }\n", /policy.reward.shape: expected "linear"/],
])("refuses %s", async (keys, message) => {
  const path = join(folder, "recipe", "refused.yaml");
  const text = policyWith(keys);
  await writeFile(
    path,
    keys.includes("reward") ? text.replace("  reward: { preference: 1, constitution: 0.5 }\n", "") : text,
  );
  await expect(openRecipe(path)).rejects.toThrow(message);
});

it("refuses to imitate where nothing is revised", async () => {
  const path = join(folder, "recipe", "refused.yaml");
  const unrevised = policyWith("  imitate: {}\n").replace(
    "revisions: 2",
    "revisions: 0\n  examples: { unchanged: keep }",
  );
  await writeFile(path, unrevised);
  await expect(openRecipe(path)).rejects.toThrow(/policy.imitate: expected supervised.revisions of at least 1/);
});
