import { expect, it } from "vitest";
import { constitutionOf } from "../feedback/fixture.ts";
import { recipeSchema } from "./recipe.ts";
import { warningsOf } from "./warnings.ts";

const constitution = constitutionOf([{ id: "kind", text: "Be kind.", checks: [{ mustNot: "stupid" }] }]);

/** What is to be thought over in a recipe whose labels are the checks' and whose trainings are watched. */
function warnings(given: { readonly [key: string]: object }): string[] {
  const recipe = recipeSchema.parse({
    constitution: "c.yaml",
    prompts: { train: "t.jsonl", heldOut: "h.jsonl", validation: { share: 0.2 } },
    feedback: { label: { method: "checks" } },
    ...given,
  });
  return warningsOf({ recipe, constitution });
}

const seeing = { label: { method: "judge", judge: { format: "prometheus-vision" } } };
const train = (pairs: string) => ({ train: { pairs } });
const bounded = (constitution: unknown, cost = "checks") => ({
  policy: { algorithm: "ppo", reward: { constitution }, constraint: { cost, bound: 0.1 } },
});

it.each<[string, Parameters<typeof warnings>[0], RegExp]>([
  [
    "labels of which nobody knows what they are worth",
    { policy: { algorithm: "ppo" }, feedback: {} },
    /nobody knows what they are worth: give feedback\.audit pairs/,
  ],
  [
    "a judge that learns what the labeller learns",
    { policy: { algorithm: "ppo" }, feedback: {}, roles: { labeller: train("p.jsonl"), judge: train("p.jsonl") } },
    /judge learns from the pairs of its labeller.*roles\.judge a model that nothing learns from/,
  ],
  [
    "trainings that nobody watches",
    { policy: { algorithm: "ppo" }, prompts: { train: "t.jsonl" } },
    /return their last checkpoint, whatever it does: prompts\.validation/,
  ],
  [
    "checks that reward and bound",
    bounded(1),
    /checks both reward the policy and are what its constraint bounds: one signal pulls twice/,
  ],
  [
    "a labeller of images alone whose labels are learnt",
    { policy: { algorithm: "ppo" }, feedback: { ...seeing, audit: { path: "k.jsonl" } } },
    /prometheus-vision judges replies to an image.*a run needs another labeller/,
  ],
  ["checks that reward beside a critic, and bound", bounded({ weight: 1, by: "both" }), /one signal pulls twice/],
])("warns of %s", (_, given, says) => {
  expect(warnings(given)).toEqual([expect.stringMatching(says)]);
});

it.each<[string, Parameters<typeof warnings>[0]]>([
  ["checks that reward where a critic's word is bounded", bounded(1, "critic")],
  ["a critic that rewards where the checks bound", bounded({ weight: 1, by: "critic" })],
  ["a bound alone", bounded(0)],
  ["a labeller of images alone that is only audited", { feedback: { ...seeing, audit: { path: "k.jsonl" } } }],
])("says nothing of %s", (_, given) => {
  expect(warnings(given)).toEqual([]);
});
