import { expect, it } from "vitest";
import { constitutionOf } from "../feedback/fixture.ts";
import { independenceOf } from "./independence.ts";
import { recipeSchema } from "./recipe.ts";

const checked = constitutionOf([{ id: "kind", text: "Be kind.", checks: [{ mustNot: "stupid" }] }]);
const unchecked = constitutionOf([{ id: "kind", text: "Be kind." }]);
const server = "http://localhost:8000/v1";

function of(given: object, constitution = checked) {
  const recipe = recipeSchema.parse({
    constitution: "c.yaml",
    prompts: { train: "t.jsonl", heldOut: "h.jsonl" },
    ...given,
  });
  return independenceOf({ recipe, constitution });
}
const policy = { algorithm: "ppo" };

it("is a judge's who is neither labeller nor critic of what was trained against", () => {
  expect(of({ policy, roles: { judge: "other" } })).toMatchObject({ kind: "judge" });
  expect(of({ roles: { judge: "other" } })).toMatchObject({ kind: "judge" });
  expect(of({ policy, roles: { judge: "one", labeller: "one" } })).toMatchObject({ kind: "checks" });
  // The recipe's model labels where nobody is named, and is the same one however it is written.
  const model = { model: "m", policy };
  expect(of({ ...model, roles: { judge: { model: "m" } } })?.why).toMatch(/judge is its labeller/);
  const label = { label: { constitutionFirst: { by: "critic" } } };
  const roles = { judge: "one", labeller: "two", critic: "one" };
  expect(of({ policy, roles, feedback: label })?.why).toMatch(/judge is its critic/);
  expect(of({ policy, roles })).toMatchObject({ kind: "judge" });
  expect(of({ policy: { algorithm: "ppo", reward: { preference: 0, constitution: 1 } }, roles })?.kind).toBe("judge");
});

it("is nobody's who was asked while the policy learnt", () => {
  const roles = { judge: "one", labeller: "two", critic: "one" };
  const by = (by: string) => ({ ...policy, reward: { preference: 0, constitution: { weight: 1, by } } });
  expect(of({ policy: by("critic"), roles })?.why).toMatch(/judge is its critic/);
  expect(of({ policy: by("checks"), roles })?.kind).toBe("judge");
  // The checks are no part of what a critic alone rewards; of a bound on them they are.
  expect(of({ policy: { ...by("critic"), reward: { constitution: { weight: 1, by: "critic" } } } })?.kind).toBe(
    "checks",
  );
  expect(of({ policy: { ...policy, constraint: { bound: 0.1 } } })?.why).toMatch(/checks are part/);
  expect(of({ policy: { ...policy, avoid: {} } })?.why).toMatch(/checks are part/);
  expect(of({ policy, feedback: { weigh: {} } })?.why).toMatch(/checks are part/);
  const rated = { ...policy, reward: { judge: { weight: 1 } } };
  expect(of({ policy: rated, roles: { judge: "two", labeller: "two" } })?.why).toMatch(/judge is its labeller/);
});

it("knows a server's model by its name, whatever it is asked with", () => {
  const labeller = { endpoint: server, model: "qwen", concurrency: 2 };
  expect(of({ policy, roles: { labeller, judge: { endpoint: server, model: "qwen", concurrency: 9 } } })?.kind).toBe(
    "checks",
  );
  expect(of({ policy, roles: { labeller, judge: { endpoint: server, model: "llama" } } })?.kind).toBe("judge");
});

it("is the checks' where they are no part of the reward, and else nobody's", () => {
  expect(of({ policy })).toMatchObject({ kind: "checks" });
  expect(of({ policy: { ...policy, reward: { constitution: 0.5 } } })).toMatchObject({ kind: "none" });
  const feedback = { label: { constitutionFirst: { by: "checks" } } };
  expect(of({ policy, feedback })).toMatchObject({ kind: "none", why: expect.stringMatching(/checks are part/) });
  expect(of({ policy: { algorithm: "dpo" }, feedback })).toMatchObject({ kind: "none" });
  expect(of({ policy }, unchecked)).toMatchObject({ kind: "none", why: expect.stringMatching(/has no checks/) });
  expect(of({ policy, evaluate: { proxy: false } })).toMatchObject({
    kind: "none",
    why: expect.stringMatching(/evaluate.proxy/),
  });
  expect(of({})).toBeUndefined();
});
