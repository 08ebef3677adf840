import { type CheckpointPart, scorecardStage } from "./evaluation.ts";
import {
  chainsStage,
  examplesStage,
  fileStage,
  mixStage,
  type PartContext,
  responsesStage,
  roleStage,
  supervisedStage,
} from "./parts.ts";
import type { Recipe } from "./recipe.ts";
import type { Stage } from "./stages.ts";

/** What an arrangement comes to: the checkpoints that the scorecard compares, the first being what it began with. */
export interface Arrangement {
  readonly checkpoints: readonly CheckpointPart[];
  /** Every stage that is to be executed, the checkpoints' among them. */
  readonly targets: readonly Stage[];
}

/** CAI, then RLAIF: supervised learning on revisions, then reinforcement learning from labels. METHODS §6. */
export function sequential(context: PartContext): Arrangement {
  const { recipe, options } = context;
  const base = roleStage("model", recipe.model, options);
  const role = (name: keyof Recipe["roles"]) => {
    const reference = recipe.roles[name];
    return reference === undefined ? base : roleStage(name, reference, options);
  };
  const prompts = fileStage("prompts", "prompts to train on", recipe.prompts.train, "prompts");
  const { supervised } = recipe;
  const responses = responsesStage(context, {
    name: "responses",
    title: "first responses",
    prompts,
    model: role("generator"),
    sampling: supervised.response,
    system: supervised.system,
  });
  const chains = chainsStage(context, { name: "chains", responses, critic: role("critic"), reviser: role("reviser") });
  const revised = examplesStage(context, "examples", chains);
  const { helpful } = supervised;
  const examples =
    helpful === undefined
      ? revised
      : mixStage("mixture", [
          { name: "chains", rows: revised, ratio: 1 },
          {
            name: "helpful",
            rows: fileStage("helpful", "helpful examples", helpful, "examples"),
            ratio: helpful.ratio,
          },
        ]);
  const sl = supervisedStage(context, { name: "supervised", base, examples });
  const checkpoints = [
    { id: "base", label: "Base", model: base },
    { id: "sl", label: "SL-CAI", model: sl },
  ];
  const { heldOut } = recipe.prompts;
  const scorecard =
    heldOut === undefined
      ? []
      : [
          scorecardStage(context, {
            checkpoints,
            chains,
            heldOut: fileStage("held-out", "held-out prompts", heldOut, "prompts"),
          }),
        ];
  return { checkpoints, targets: [sl, ...scorecard] };
}
