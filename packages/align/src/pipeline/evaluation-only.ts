import { checkpointNames } from "./checkpoints.ts";
import type { PartContext } from "./context.ts";
import { type CheckpointPart, scorecardStage } from "./evaluation.ts";
import { fileStage } from "./files.ts";
import { roleStage } from "./parts.ts";
import type { Arrangement } from "./sequential.ts";

/** The scorecard of the recipe's model and of adapters on it, by name; nothing is trained. */
export function evaluationOnly(context: PartContext, adapters: Readonly<Record<string, string>>): Arrangement {
  const { recipe, options } = context;
  const { heldOut } = recipe.prompts;
  if (heldOut === undefined) throw new TypeError("an evaluation needs held-out prompts");
  const checkpoints: CheckpointPart[] = [
    { id: "base", label: checkpointNames.base.label, model: roleStage("model", recipe.model, options) },
    ...Object.entries(adapters).map(([id, adapter]) => {
      return { id, label: id, model: roleStage(`adapter ${id}`, { model: recipe.model, adapter }, options) };
    }),
  ];
  const prompts = fileStage("held-out", "held-out prompts", heldOut, "prompts");
  const { judge } = recipe.roles;
  const judged = judge === undefined ? {} : { judge: roleStage("judge", judge, options) };
  const targets = [scorecardStage(context, { checkpoints, heldOut: prompts, ...judged })];
  return { checkpoints, targets, refused: () => [] };
}
