import type { PromptRow } from "@tenet/data";
import { checkpointNames } from "./checkpoints.ts";
import type { PartContext } from "./context.ts";
import { type CheckpointPart, scorecardStage } from "./evaluation.ts";
import { fileStage } from "./files.ts";
import { preferenceGateStage } from "./gates.ts";
import { type AuditReport, auditStage, humanLabelsStage, labelsStage, pairsStage } from "./labels.ts";
import {
  chainsStage,
  examplesStage,
  helpfulStage,
  mixStage,
  policyStage,
  preferenceModelStage,
  responsesStage,
  roleStage,
  supervisedStage,
} from "./parts.ts";
import { isTrained, type Recipe, rewardsPreference, showsProxy } from "./recipe.ts";
import type { Stage } from "./stages.ts";
import { trainedJudge } from "./trained-judge.ts";
import { promptStages } from "./validation.ts";
import type { ModelValue, Report, StoredRows } from "./values.ts";

/** What an arrangement comes to: the checkpoints that the scorecard compares, the first being what it began with. */
export interface Arrangement {
  readonly checkpoints: readonly CheckpointPart[];
  /** Every stage that is to be executed, the checkpoints' among them. */
  readonly targets: readonly Stage[];
  /** Stages that are worth executing where this one refused to go on. */
  readonly refused: (gate: Stage) => readonly Stage[];
}

/** CAI, then RLAIF: supervised learning on revisions, then reinforcement learning from labels. METHODS §6. */
export function sequential(context: PartContext): Arrangement {
  const { recipe, options } = context;
  const base = roleStage("model", recipe.model, options);
  const { train: prompts, validation } = promptStages(context);
  const roles = new Map<string, Stage<ModelValue>>();
  const audits: Stage<Report<AuditReport>>[] = [];
  const role = (name: keyof Recipe["roles"]) => {
    const reference = recipe.roles[name];
    if (reference === undefined) return base;
    const known = roles.get(name);
    if (known) return known;
    if (isTrained(reference)) {
      const { model, audit } = trainedJudge(context, { name, base, prompts, train: reference.train });
      roles.set(name, model);
      audits.push(audit);
      return model;
    }
    const given = roleStage(name, reference, options);
    roles.set(name, given);
    return given;
  };
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
            rows: helpfulStage(context, { name: "helpful", model: base }),
            ratio: helpful.ratio,
          },
        ]);
  const sl = supervisedStage(context, { name: checkpointNames.sl.stage, base, examples, validation });
  const checkpoints: CheckpointPart[] = [
    { id: "base", label: checkpointNames.base.label, model: base },
    { id: "sl", label: checkpointNames.sl.label, model: sl },
  ];
  const rl = recipe.policy === undefined ? undefined : reinforced(context, { base, sl, prompts, validation, role });
  if (rl) checkpoints.push({ id: "rl", label: checkpointNames.rl.label, model: rl.policy });
  const { heldOut } = recipe.prompts;
  const scorecard = (some: readonly CheckpointPart[]) =>
    heldOut === undefined
      ? []
      : [
          scorecardStage(context, {
            checkpoints: some,
            chains,
            heldOut: fileStage("held-out", "held-out prompts", heldOut, "prompts"),
            ...(recipe.roles.judge !== undefined && { judge: role("judge") }),
            audits: [...(rl?.audit ? [rl.audit] : []), ...audits],
            ...(rl && showsProxy(recipe) && { preferenceModel: rl.preferenceModel }),
            ...(rl && rewardsPreference(recipe.policy) && { gates: [rl.gate] }),
          }),
        ];
  // The audit needs nothing that was trained: a labeller that is refused is refused before anything is spent.
  const gates = [...audits, ...(rl?.audit ? [rl.audit] : [])];
  return {
    checkpoints,
    targets: [...gates, ...checkpoints.map(({ model }) => model), ...scorecard(checkpoints)],
    // What was learnt before the preference model was refused is measured all the same.
    refused: (gate) => (gate === rl?.gate ? scorecard(checkpoints.slice(0, 2)) : []),
  };
}

/**
 * RLAIF from the supervised model: pairs of its replies, labels, the preference model, and the policy. What neither the policy
 * nor the scorecard needs of these is joined to nothing, and so not executed.
 */
function reinforced(
  context: PartContext,
  {
    base,
    sl,
    prompts,
    validation,
    role,
  }: {
    base: Stage<ModelValue>;
    sl: Stage<ModelValue>;
    prompts: Stage<StoredRows<PromptRow>>;
    validation: Stage<StoredRows<PromptRow>> | undefined;
    role: (name: keyof Recipe["roles"]) => Stage<ModelValue>;
  },
) {
  const { feedback, preferenceModel: settings } = context.recipe;
  const judges = { labeller: role("labeller"), critic: role("critic") };
  const audit = feedback.audit && labellerAudit(context, feedback.audit, judges);
  const pairs = pairsStage(context, { name: "pairs", prompts, model: sl });
  const machine = labelsStage(context, { name: "labels", title: "labels", pairs, ...judges, behind: audit });
  const judged = humanLabelsStage({ name: "human labels", pairs, machine });
  const { human, pretrain } = settings;
  const labelled =
    human === undefined
      ? judged
      : mixStage("preferences", [
          { name: "machine", rows: judged, ...(human.ratio !== undefined && { ratio: 1 }) },
          {
            name: "human",
            rows: fileStage("human pairs", "pairs labelled by people", human, "preferences"),
            ...(human.ratio !== undefined && { ratio: human.ratio }),
          },
        ]);
  const rankings =
    pretrain === undefined ? undefined : fileStage("rankings", "public rankings", pretrain, "preferences");
  const held = validation && {
    pairs: pairsStage(context, { name: "validation pairs", prompts: validation, model: sl }),
  };
  const preferenceModel = preferenceModelStage(context, {
    name: "preference model",
    base,
    pairs: labelled,
    held:
      held &&
      labelsStage(context, {
        ...{ name: "validation labels", title: "labels of pairs to test on", ...held, ...judges, behind: audit },
      }),
    rankings,
  });
  const gate = preferenceGateStage(context, { preferenceModel });
  const policy = policyStage(context, {
    name: checkpointNames.rl.stage,
    base: sl,
    prompts,
    pairs: labelled,
    preferenceModel,
    gate,
    validation,
  });
  return { policy, preferenceModel, audit, gate };
}

/** The audit that a recipe wants of its labels, whoever makes them. */
function labellerAudit(
  context: PartContext,
  { path, format, limit, ...settings }: NonNullable<Recipe["feedback"]["audit"]>,
  judges: { readonly labeller: Stage<ModelValue>; readonly critic: Stage<ModelValue> },
) {
  return auditStage(context, {
    ...judges,
    name: "audit",
    known: fileStage("known", "pairs with a known answer", { path, format, limit }, "preferences"),
    settings,
    refused:
      "Give a better one (roles.labeller), another method (feedback.label), or set feedback.audit.override: true, which the report will say",
  });
}
