import type { Arrangement } from "./arrangement.ts";
import type { PartContext } from "./context.ts";
import { scorecardStage } from "./parts/evaluation.ts";
import { fileStage } from "./parts/files.ts";
import type { CheckpointPart } from "./parts/looks.ts";
import { roleStage } from "./parts/roles.ts";
import { trainedJudge } from "./parts/trained-judge.ts";
import { promptStages } from "./parts/validation.ts";
import { isTrained, type TrainableRole } from "./recipe.ts";

/** The scorecard of the recipe's model and of adapters on it, by name; nothing is trained. */
export function evaluationOnly(context: PartContext, adapters: Readonly<Record<string, string>>): Arrangement {
  const { recipe, options } = context;
  const { heldOut } = recipe.prompts;
  if (heldOut === undefined) throw new TypeError("an evaluation needs held-out prompts");
  const checkpoints: CheckpointPart[] = [
    { id: "base", label: "Base", model: roleStage("model", recipe.model, options) },
    ...Object.entries(adapters).map(([id, adapter]) => {
      return { id, label: id, model: roleStage(`adapter ${id}`, { model: recipe.model, adapter }, options) };
    }),
  ];
  const prompts = fileStage(context, {
    name: "held-out",
    title: "held-out prompts",
    reference: heldOut,
    as: "prompts",
  });
  const { judge } = recipe.roles;
  const judged = judge === undefined ? {} : judgedBy(context, judge);
  const targets = [scorecardStage(context, { checkpoints, heldOut: prompts, ...judged })];
  return { checkpoints, targets, refused: () => [] };
}

function judgedBy(context: PartContext, role: TrainableRole) {
  const { recipe, options } = context;
  if (!isTrained(role)) return { judge: roleStage("judge", role, options) };
  const { train: prompts } = promptStages(context);
  const base = roleStage("judge's base", recipe.model, options);
  const { model, audit } = trainedJudge(context, { name: "judge", base, prompts, train: role.train });
  return { judge: model, audits: [audit] };
}
