import { expect, it } from "vitest";
import { constitutionOf } from "../feedback/fixture.ts";
import { heardByPolicy } from "./heard.ts";
import { independenceOf } from "./independence.ts";
import type { OpenRecipe } from "./open.ts";
import { recipeSchema } from "./recipe.ts";
import { warningsOf } from "./warnings.ts";

const checked = constitutionOf([{ id: "kind", text: "Be kind.", checks: [{ mustNot: "stupid" }] }]);
const unchecked = constitutionOf([{ id: "kind", text: "Be kind." }]);
const server = "http://localhost:8000/v1";

function recipeOf(given: object) {
  return recipeSchema.parse({ constitution: "c.yaml", prompts: { train: "t.jsonl", heldOut: "h.jsonl" }, ...given });
}
function of(given: object, constitution = checked) {
  return independenceOf({ recipe: recipeOf(given), constitution });
}
const policy = { algorithm: "ppo" };
/** Fine-tuning to which no model says what is wrong. */
const supervised = { critique: { critiques: "checks" } };

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
  expect(of({ policy, roles, supervised })).toMatchObject({ kind: "judge" });
  const byChecks = { algorithm: "ppo", reward: { preference: 0, constitution: 1 } };
  expect(of({ policy: byChecks, roles, supervised })?.kind).toBe("judge");
});

it("is no judge's whose word is learnt some other way", () => {
  const roles = { judge: "one", labeller: "two", critic: "one" };
  const heard = (given: object) => of({ policy, roles, supervised, ...given })?.why;
  expect(heard({})).toMatch(/neither the labeller nor a critic/);
  // As the critic of a cost model's pairs, of what is avoided, of replies that are revised, and of reasoning that is kept.
  const constraint = { cost: "model", bound: 0 };
  expect(heard({ policy: { ...policy, constraint }, costModel: { by: "critic" } })).toMatch(/judge is its critic/);
  expect(heard({ policy: { ...policy, avoid: { by: "critic" } } })).toMatch(/judge is its critic/);
  expect(heard({ supervised: {} })).toMatch(/judge is its critic/);
  expect(heard({ supervised: { revisions: 0 } })).toMatch(/neither/);
  expect(heard({ supervised: {}, arrangement: { steps: ["policy"] } })).toMatch(/neither/);
  const imitating = { ...policy, imitate: {} };
  expect(heard({ supervised: {}, arrangement: "joint", policy: imitating })).toMatch(/judge is its critic/);
  const keep = { judge: 0.5 };
  expect(heard({ supervised: { deliberate: { by: "model", keep } } })).toMatch(/judge is its critic/);
  expect(heard({ supervised: { deliberate: { by: "model" } } })).toMatch(/neither/);
  // Where nothing is reinforced too: there is no other word then.
  expect(of({ roles, supervised: {} })).toEqual({
    kind: "none",
    why: "The recipe's judge is its critic too, which training heard.",
  });
  // In a later round.
  const schedule = { "feedback.label.constitutionFirst.by": ["off", "critic"] };
  expect(heard({ arrangement: { rounds: 2, schedule } })).toMatch(/judge is its critic/);
  // By a preference model that only stands for what was trained against.
  const own = {
    policy: { ...policy, reward: { preference: 0, constitution: 1 } },
    roles: { judge: "a", labeller: "a" },
  };
  expect(of({ ...own, supervised })?.kind).toBe("judge");
  expect(of({ ...own, supervised, evaluate: { proxy: true } })?.why).toMatch(/judge is its labeller/);
});

it("is no judge's who learns what training hears", () => {
  const train = (pairs: unknown, epochs = 1) => ({ train: { pairs, epochs } });
  const byChecks = train({ from: "checks" });
  const revised = { critique: { critiques: "none" } };
  expect(of({ policy, supervised: revised, roles: { judge: byChecks } })?.kind).toBe("judge");
  expect(of({ policy, supervised, roles: { judge: byChecks } })?.kind).toBe("checks");
  expect(of({ policy: { ...policy, avoid: {} }, supervised: revised, roles: { judge: byChecks } })?.why).toMatch(
    /judge learns from the checks .* and the checks are part/,
  );
  const roles = { judge: train("p.jsonl"), labeller: train({ path: "p.jsonl" }, 2) };
  expect(of({ policy, supervised, roles })?.why).toMatch(/judge learns from the pairs of its labeller/);
  expect(of({ policy, supervised, roles: { ...roles, judge: train("q.jsonl") } })?.kind).toBe("judge");
});

it("is said before anything runs where the recipe's judge has none", () => {
  const said = (roles: object) =>
    warningsOf({ recipe: recipeOf({ policy, roles }), constitution: checked } as OpenRecipe).join("\n");
  expect(said({ judge: "one", critic: "one" })).toMatch(/the recipe's judge is its critic too, .*give roles.judge/);
  expect(said({ judge: "one", critic: "two" })).not.toMatch(/judge/);
  expect(said({})).not.toMatch(/judge/);
});

it("is nobody's who was asked while the policy learnt", () => {
  const roles = { judge: "one", labeller: "two", critic: "one" };
  const by = (by: string) => ({ ...policy, reward: { preference: 0, constitution: { weight: 1, by } } });
  expect(of({ policy: by("critic"), roles })?.why).toMatch(/judge is its critic/);
  expect(of({ policy: by("checks"), roles, supervised })?.kind).toBe("judge");
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

it("is not the checks' where a policy learns by them, however they come into it", () => {
  const labeller = (from: string) => ({ roles: { labeller: { train: { pairs: { from } } } } });
  const critic = { roles: { critic: { train: { pairs: "p.jsonl" } } } };
  const cost = (by: string) => ({
    policy: { ...policy, constraint: { cost: "model", bound: 0 } },
    costModel: { by, ...(by === "people" && { human: { path: "h.jsonl" } }) },
  });
  const imitate = { ...policy, imitate: {} };
  const schedule = { "policy.reward.constitution": [0, 0.5] };
  const heard: readonly (readonly [object, boolean])[] = [
    [{}, false],
    [cost("checks"), true],
    [cost("both"), true],
    [cost("critic"), false],
    [cost("people"), false],
    // Who learnt what the checks say repeats it.
    [labeller("checks"), true],
    [labeller("contrast"), false],
    [{ ...labeller("checks"), policy: { ...policy, reward: { preference: 0, constitution: 0.5 } } }, true],
    [{ ...labeller("checks"), feedback: { label: { method: "contrast" } } }, false],
    [{ ...critic, ...cost("critic") }, true],
    [critic, false],
    // What is imitated was revised, taken or kept by them.
    [{ policy: imitate }, false],
    [{ policy: imitate, supervised }, true],
    [{ supervised }, false],
    ...[{ accept: "no-worse-by-checks" }, { candidates: 2 }, { endWhen: "checks-pass" }].map(
      (critique) => [{ policy: imitate, supervised: { critique } }, true] as const,
    ),
    [{ policy: imitate, supervised: { examples: { keep: "improved" } } }, true],
    [{ policy: imitate, supervised: { deliberate: { by: "checks" } } }, true],
    [{ arrangement: { rounds: 2, schedule } }, true],
    [{ arrangement: { rounds: 2, schedule: { "policy.reward.constitution": [0, 0] } } }, false],
  ];
  for (const [given, hears] of heard) {
    const recipe = recipeOf({ policy, ...given });
    expect(heardByPolicy(recipe).has("checks"), JSON.stringify(given)).toBe(hears);
    expect(independenceOf({ recipe, constitution: checked })!.kind, JSON.stringify(given)).toBe(
      hears ? "none" : "checks",
    );
  }
});

it("is the checks' with what else they had a say in", () => {
  const prompts = { train: "t.jsonl", heldOut: "h.jsonl", validation: { share: 0.2 } };
  expect(of({ policy })!.why).toMatch(/stand for one\.$/);
  expect(of({ policy, supervised })!.why).toMatch(/stand for one, though fine-tuning on revisions heard them\.$/);
  expect(of({ policy, supervised, prompts })!.why).toMatch(/heard them and they chose which checkpoint/);
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

it("is that of checks which nothing but the scorecard runs, where no judge is independent", () => {
  const unseen = constitutionOf([{ id: "kind", text: "Be kind.", checks: [{ mustNot: "idiot" }] }]);
  const by = (given: object) => independenceOf({ recipe: recipeOf(given), constitution: checked, unseen });
  const byChecks = { algorithm: "ppo", reward: { preference: 0, constitution: 1 } };
  expect(by({ policy: byChecks })).toEqual({
    kind: "unseen",
    why: "Checks of 1 of 1 principles, which training, labels and the choice of checkpoints never saw (evaluate.unseen: kind).",
  });
  expect(by({ policy, roles: { judge: "one", labeller: "one" } })?.kind).toBe("unseen");
  // Of principles that have no checks nothing was to be confirmed by one.
  const more = (checks: object[]) => ({
    ...checked,
    principles: [...checked.principles, ...constitutionOf([{ id: "brief", text: "Be brief.", checks }]).principles],
  });
  const among = (constitution: typeof checked) =>
    independenceOf({ recipe: recipeOf({ policy: byChecks }), constitution, unseen });
  expect(among(more([]))).not.toHaveProperty("partial");
  expect(among(more([{ words: { max: 9 } }]))).toMatchObject({
    why: expect.stringContaining("Checks of 1 of 2 principles"),
    partial: true,
  });
  expect(by({ policy, roles: { judge: "other" } })?.kind).toBe("judge");
});
