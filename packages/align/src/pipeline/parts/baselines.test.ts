import { scriptedModel } from "@tenet/lm";
import { expect, it } from "vitest";
import type { Demonstration } from "../../constitution/index.ts";
import { constitutionOf, outcomes, promptRow } from "../../feedback/fixture.ts";
import { respond, respondDependsOn } from "../../feedback/respond.ts";
import { recipeSchema } from "../recipe.ts";
import { baselineNames, commonestSentence, constitutionPrompt, demonstrationTurns, orAside } from "./baselines.ts";

const recipe = (evaluate: object = {}) =>
  recipeSchema.parse({ constitution: "c.yaml", prompts: { train: "t", heldOut: "h" }, evaluate });
const demonstration: Demonstration = {
  prompt: [{ role: "user", content: "It hurts." }],
  response: "So what.",
  critiqueRequest: "Kind?",
  critique: "No.",
  revisionRequest: "Be kind.",
  revision: "I'm sorry. Please see a doctor.",
};

it("are all that a recipe has what it takes for, unless it says which", () => {
  const shown = { recipe: recipe(), demonstrations: [demonstration] };
  expect(baselineNames(shown, { examples: true })).toEqual(["demonstrations", "constitution", "constant"]);
  expect(baselineNames({ ...shown, demonstrations: [] }, { examples: true })).toEqual(["constitution", "constant"]);
  expect(baselineNames({ ...shown, demonstrations: [] }, { examples: false })).toEqual(["constitution"]);
  expect(baselineNames({ ...shown, recipe: recipe({ baselines: false }) }, { examples: true })).toEqual([]);
  expect(baselineNames({ ...shown, recipe: recipe({ baselines: ["constant"] }) }, { examples: true })).toEqual([
    "constant",
  ]);
  // What is not said is not written down either: a recipe's run keeps its name.
  expect(recipe().evaluate).not.toHaveProperty("baselines");
});

it("put the demonstrations between system prompt and prompt, and are no part of the row", async () => {
  const seen: string[] = [];
  const generator = scriptedModel({
    fallback: (text) => {
      seen.push(text);
      return "Rest.";
    },
  });
  const before = demonstrationTurns({ demonstrations: [demonstration] });
  const row = promptRow("My knee.");
  const system = constitutionPrompt({ constitution: constitutionOf([{ id: "kind", text: "Be kind." }]) });
  const found = await outcomes(respond([row], { generator, seed: 1, system, before }));
  expect(seen[0]).toMatch(
    /^system: .*\n- Be kind\.\nuser: It hurts\.\nassistant: I'm sorry\. Please see a doctor\.\nuser: My knee\.$/s,
  );
  expect(found.get(row.id)!.rows[0]!.prompt).toEqual(row.prompt);
  expect(respondDependsOn(row, { system: undefined, before: undefined })).toEqual({});
});

it("tell the untrained model of a default what lifts it", () => {
  const constitution = constitutionOf([
    { id: "kind", text: "Be kind." },
    { id: "brief", text: "Be brief.", authority: "user" },
  ]);
  const shown = "- Be kind.\n- Be brief.\n(unless the person or the system message asks otherwise)";
  expect(constitutionPrompt({ constitution })).toContain(shown);
});

it("set every prompt aside where the model has no room for what stands before it", async () => {
  const generator = scriptedModel({ fallback: "Rest.", contextTokens: 3 });
  const rows = [promptRow("My knee hurts."), promptRow("My head hurts.")];
  const found = await outcomes(orAside(rows, respond(rows, { generator, seed: 1 })));
  for (const { id } of rows)
    expect(found.get(id)).toMatchObject({ rows: [], aside: expect.stringMatching(/context of 3/) });
  const broken = scriptedModel({ fallback: "Rest.", fail: () => new Error("the disk is gone") });
  await expect(outcomes(orAside(rows, respond(rows, { generator: broken, seed: 1 })))).rejects.toThrow(
    "the disk is gone",
  );
});

it("find the sentence that is said most often, the first of equals", () => {
  expect(commonestSentence(["I'm sorry. See a doctor.", "That hurts.  See a\ndoctor.", "Rest."])).toBe("See a doctor.");
  expect(commonestSentence(["One. Two.", "Three."])).toBe("One.");
  expect(commonestSentence([])).toBeUndefined();
});
