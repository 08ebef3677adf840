import { expect, it } from "vitest";
import { constitutionOf } from "../../feedback/fixture.ts";
import type { PartContext } from "../context.ts";
import { recipeSchema } from "../recipe.ts";
import { boundPart } from "./bound.ts";

const everywhere = { mustNot: "mg" };
const somewhere = { mustNot: "mg", when: "pills" };

/** The bound on the policy of the second round of a recipe, under a constitution of such checks. */
function boundOf(checks: readonly object[], schedule: Record<string, unknown[]> = {}) {
  const recipe = recipeSchema.parse({
    ...{ constitution: "c.yaml", prompts: { train: "t.jsonl" }, arrangement: { rounds: 2, schedule } },
    policy: { algorithm: "ppo", constraint: { bound: 0.1 } },
  });
  const constitution = constitutionOf([{ id: "no-dose", text: "Name no dose.", checks: [...checks] }]);
  const checkpoint = (id: string, step?: "supervised" | "policy", round?: number) => ({
    ...{ id, label: id, model: {} as never, ...(step && { step }), ...(round && { round }) },
  });
  return boundPart({ recipe, constitution } as unknown as PartContext, {
    checkpoints: [checkpoint("base"), checkpoint("rl-1", "policy", 1), checkpoint("rl-2", "policy", 2)],
    looked: [{}, {}, {}] as never,
    costedBy: undefined,
  })!;
}

it("is that of the last policy's own round", () => {
  expect(boundOf([everywhere]).bound).toEqual({ checkpoint: "rl-2", bound: 0.1, cost: "checks" });
  const schedule = { "policy.constraint.bound": [0.3, 0.2] };
  expect(boundOf([everywhere], schedule).bound).toEqual({ checkpoint: "rl-2", bound: 0.2, cost: "checks" });
});

it("leaves scorecards of before as they are where every reply counts in both shares alike", () => {
  const known = { checkpoint: "rl-2", bound: 0.1, cost: "checks" };
  expect(boundOf([everywhere, somewhere]).settings).toEqual(known);
  const other = { ...known, of: "all replies" };
  expect(boundOf([somewhere]).settings).toEqual(other);
  expect(boundOf([{ ...everywhere, unlessCategory: "small-talk" }]).settings).toEqual(other);
  expect(boundOf([everywhere, { ...somewhere, severity: 0 }]).settings).toEqual(other);
});
