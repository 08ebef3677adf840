import { type PromptRow, randomStream } from "@tenet/data";
import { hashOf } from "@tenet/runs";
import { type Recipe, recipeSchema } from "./recipe.ts";
import type { ArrangementName, ArrangementSettings, StepName } from "./schema/arrangement.ts";
import { rowsStage, type Stage } from "./stages/index.ts";
import type { StoredRows } from "./values.ts";

/*
 * What tells the rounds of an arrangement apart: settings, seed and prompts. No part knows that there are rounds.
 */

type Written = Exclude<ArrangementSettings, string>;

/** What an arrangement is made of, with everything said. */
export interface Plan {
  readonly steps: readonly StepName[];
  readonly rounds: number;
  readonly share: NonNullable<Written["share"]>;
  readonly prompts: "same" | "fresh";
  readonly pairs: "all" | "round";
  readonly preferenceModel: "again" | "continue" | "once";
  readonly schedule: NonNullable<Written["schedule"]>;
}

/** METHODS §6. */
const named: Readonly<Record<ArrangementName, Written>> = {
  sequential: {},
  reverse: { steps: ["policy", "supervised"] },
  iterative: { steps: ["supervised", "policy"], rounds: 3, share: { supervised: 0.5, policy: 0.5 } },
  joint: { steps: ["policy"] },
};

/** The arrangement of a recipe: CAI, then RLAIF where there is a policy and nothing else is said. */
export function planOf({ arrangement, policy }: Pick<Recipe, "arrangement" | "policy">): Plan {
  const written: Written = typeof arrangement === "object" ? arrangement : named[arrangement ?? "sequential"];
  const { steps, rounds = 1, share = {}, prompts = "same", pairs = "all", preferenceModel = "again" } = written;
  const { schedule = {} } = written;
  const all = steps ?? (policy === undefined ? ["supervised"] : ["supervised", "policy"]);
  return { steps: all, rounds, share, prompts, pairs, preferenceModel, schedule };
}

/** The seed of a round's draws: the recipe's in the first, so that one round is what it was before there were several. */
export function roundSeed(seed: number, round: number): number {
  return round === 1 ? seed : Number.parseInt(hashOf([seed, "round", round]).slice(0, 8), 16);
}

/**
 * A recipe's settings in a round: what the schedule says put at its path, and read by the recipe's own schema again. Errors: ZodError
 * for a value that the schema does not have, which rules/arrangement.ts finds before anything runs.
 */
export function settingsOf(recipe: Recipe, { schedule }: Pick<Plan, "schedule">, round: number): Recipe {
  if (Object.keys(schedule).length === 0) return recipe;
  return recipeSchema.parse(scheduled(recipe, schedule, round));
}

/** A recipe's settings in each of its rounds. Errors: those of `settingsOf`. */
export function roundsOf(recipe: Recipe): Recipe[] {
  const plan = planOf(recipe);
  return Array.from({ length: plan.rounds }, (_, i) => settingsOf(recipe, plan, i + 1));
}

/** The same, not read by a schema: of a recipe that an older Tenet wrote. */
export function scheduled<Some extends object>(recipe: Some, schedule: Plan["schedule"], round: number): Some {
  const changed = structuredClone(recipe);
  for (const [path, values] of Object.entries(schedule))
    setAt(changed, path.split("."), values[Math.min(round, values.length) - 1]);
  return changed;
}

/** Puts a value at a path, in mappings that are there. Whether they were. */
export function setAt(holder: object, [key, ...rest]: readonly string[], value: unknown): boolean {
  const inside = holder as Record<string, unknown>;
  if (rest.length === 0) {
    inside[key!] = value;
    return true;
  }
  const next = Object.hasOwn(inside, key!) ? inside[key!] : undefined;
  return typeof next === "object" && next !== null && !Array.isArray(next) && setAt(next, rest, value);
}

/** The prompts that a step of a round works on. */
export function promptsOf(
  { recipe: { seed } }: { readonly recipe: Pick<Recipe, "seed"> },
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly plan: Plan;
    readonly round: number;
    readonly step: StepName;
  },
): Stage<StoredRows<PromptRow>> {
  const { name, prompts, plan, round, step } = part;
  const { rounds, share, steps } = plan;
  const mine = share[step];
  const fresh = plan.prompts === "fresh" && rounds > 1;
  if (!fresh && mine === undefined) return prompts;
  const before = steps.slice(0, steps.indexOf(step)).reduce((sum, other) => sum + (share[other] ?? 0), 0);
  const drawn = {
    ...(fresh && { round, of: rounds }),
    ...(mine !== undefined && { share: [before, mine], turn: round }),
  };
  return rowsStage<PromptRow>({
    name,
    title: "the prompts of this step",
    kind: "share",
    version: 1,
    seed,
    inputs: [prompts],
    expect: (sized) => ({ ...sized(prompts), rows: (sized(prompts).rows * (mine ?? 1)) / (fresh ? rounds : 1) }),
    settings: () => drawn,
    *make(context) {
      for (const row of context.value(prompts).rows()) {
        if (fresh && drawOf(seed, "round", row.id).integer(0, rounds) !== round - 1) continue;
        const place = drawOf(seed, "share", row.id, round).uniform(0);
        if (mine === undefined || (place >= before && place < before + mine)) yield { row };
      }
    },
  });
}

/** A prompt's own draw, which no other prompt changes. */
function drawOf(seed: number, stage: string, item: string, sample = 0) {
  return randomStream({ seed, stage, item, sample });
}
