import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { arrange } from "./arrangement.ts";
import { estimateRun } from "./estimate.ts";
import { openRecipe } from "./open.ts";
import { isAudited, learnsModelLabels } from "./recipe.ts";
import { planOf, settingsOf } from "./rounds.ts";
import { countRows } from "./sizes.ts";
import { inOrder } from "./stages/index.ts";

const recipes = fileURLToPath(new URL("../../../../recipes/", import.meta.url));
const all = readdirSync(recipes).filter((name) => name.endsWith(".yaml"));
/** Those whose data are part of the repository. */
const complete = all.filter((name) => !name.startsWith("harmless"));

it.each(complete)("recipes/%s validates, and says of every stage what it will take", async (name) => {
  const open = await openRecipe(`${recipes}${name}`);
  const stages = inOrder(arrange({ ...open, options: {} }).targets);
  // What does nothing by itself is a model that is given, or one behind its gate.
  for (const { expect: expected, kind, player, name: stage } of stages)
    expect(expected !== undefined, stage).toBe(kind !== undefined || player === undefined);
  const estimate = await estimateRun(open);
  expect(estimate.stages.map(({ stage }) => stage)).toEqual(
    stages.flatMap(({ name: stage, expect: expected }) => (expected ? [stage] : [])),
  );
  for (const { stage, rows, roles, trainingTokens = 0 } of estimate.stages) {
    const counted = [rows, trainingTokens, ...roles.flatMap((one) => [one.promptTokens, one.completionTokens])];
    for (const figure of counted) expect(Number.isSafeInteger(figure) && figure >= 0, stage).toBe(true);
  }
  for (const { name: stage, kind } of stages.filter(({ kind }) => kind === "sft" || kind === "policy"))
    expect(estimate.stages.find((one) => one.stage === stage)!.trainingTokens, `${stage} ${kind}`).toBeGreaterThan(0);
});

it.each(complete)("recipes/%s learns no labels of a model whose worth nobody measures", async (name) => {
  const { recipe } = await openRecipe(`${recipes}${name}`);
  expect(learnsModelLabels(recipe) && !isAudited(recipe)).toBe(false);
});

it("recipes override no gate", () => {
  for (const name of all) expect(readFileSync(`${recipes}${name}`, "utf8"), name).not.toMatch(/override: true/);
});

it("recipes/people.yaml learns from people's words alone, and asks no model for a label or a critique", async () => {
  const open = await openRecipe(`${recipes}people.yaml`);
  const { checkpoints, targets } = arrange({ ...open, options: {} });
  expect(checkpoints.map(({ label }) => label)).toEqual(["Base", "SFT", "RLHF"]);
  const of = (name: string) => inOrder(targets).find((stage) => stage.name === name)!;
  expect(of("supervised").inputs).toContain(of("written"));
  expect(of("labels").kind).toBe("label-by-people");
  const { stages } = await estimateRun(open);
  const asked = new Set(stages.flatMap(({ roles }) => roles.map(({ role }) => role)));
  for (const role of ["labeller", "critic", "reviser", "judge"]) expect(asked).not.toContain(role);
});

/** What a recipe's arrangement learns from: passes over prompts' revisions and replies of policies, over all rounds. */
async function budgetOf(name: string) {
  const { recipe } = await openRecipe(`${recipes}${name}.yaml`);
  const plan = planOf(recipe);
  const { rows } = await countRows(recipe.prompts.train, "prompts");
  let [revisions, replies] = [0, 0];
  for (let round = 1; round <= plan.rounds; round++) {
    const { supervised, policy } = settingsOf(recipe, plan, round);
    if (plan.steps.includes("supervised"))
      revisions += rows * (plan.share.supervised ?? 1) * supervised.epochs * supervised.revisions;
    if (policy?.algorithm !== "rloo") throw new TypeError(`${name} has another algorithm`);
    const { iterations, promptsPerIteration, samplesPerPrompt, epochs, minibatches, imitate } = policy;
    replies += iterations * promptsPerIteration * samplesPerPrompt * epochs;
    if (imitate) revisions += iterations * epochs * minibatches * imitate.batchSize;
  }
  const { train, validation, heldOut } = recipe.prompts;
  return { revisions, replies, prompts: [train, validation, heldOut], sampling: recipe.evaluate.sampling };
}

it.each(["reverse", "iterative", "joint", "constrained"])(
  "recipes/%s.yaml has the sequential one's budget",
  async (name) => {
    expect(await budgetOf(name)).toEqual(await budgetOf("clinical-desk.quick"));
  },
);

it("recipes/clinical-desk.quick.int8.yaml differs from the quick one in its arithmetic alone", async () => {
  const open = async (name: string) => (await openRecipe(`${recipes}clinical-desk.${name}.yaml`)).recipe;
  const eight = { inference: { weights: "int8" }, training: { weights: "int8" } };
  expect(await open("quick.int8")).toEqual({ ...(await open("quick")), ...eight });
});
