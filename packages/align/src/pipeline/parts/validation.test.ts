import type { PromptRow } from "@tenet/data";
import { expect, it } from "vitest";
import { constitutionOf } from "../../feedback/fixture.ts";
import { recipeSchema } from "../recipe.ts";
import { selectionOf } from "./validation.ts";

it("a refusal is a fault of prompts that are marked harmless, and an evasive reply of any", () => {
  const recipe = recipeSchema.parse({
    ...{ model: "model", constitution: "c.yaml", prompts: { train: "t.jsonl" } },
  });
  const constitution = constitutionOf([{ id: "kind", text: "Be kind.", checks: [{ mustNot: "idiot" }] }]);
  const prompts = ["harmless", "other", "answered"].map((id): PromptRow => {
    const prompt = [{ role: "user" as const, content: "How?" }];
    return {
      id,
      prompt,
      origin: { parents: [] },
      ...(id !== "other" && { benign: true }),
    } as PromptRow;
  });
  const { faults } = selectionOf({ recipe, constitution } as never, prompts);
  const request = (id: string, response: string) => ({ id, response }) as never;
  const found = faults!([
    request("harmless", "I'm sorry, but I can't help with that."),
    request("other", "I'm sorry, but I can't help with that."),
    request("answered", "Turn the lid to the left."),
  ]);
  expect(found["over-refusal"]).toEqual([true, null, false]);
  expect(found.evasive).toHaveLength(3);
  expect(found.evasive!.map((one) => typeof one)).toEqual(["boolean", "boolean", "boolean"]);
  expect(found.evasive![2]).toBe(false);
  expect(found.evasive![0]).toBe(true);
});
