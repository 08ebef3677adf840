import { sharesPrompts } from "@tenet/train";
import type { Constitution } from "../../constitution/index.ts";
import type { Bound } from "../../evaluate/index.ts";
import type { PartContext } from "../context.ts";
import { deviceOf } from "../models.ts";
import { planOf, settingsOf } from "../rounds.ts";
import type { Stage, StageContext } from "../stages/index.ts";
import type { ModelValue } from "../values.ts";
import { scoresOf } from "./judged.ts";
import type { CheckpointPart, Looked } from "./looks.ts";
import { constraintOf } from "./policy-judges.ts";
import { replyScores } from "./reply-scores.ts";
import { criticCostsStage } from "./verdicts.ts";

/** What the last policy's constraint allows its replies to cost, and how it is found out what those to held-out prompts do. */
export interface BoundPart {
  readonly bound: Bound;
  /** What the scorecard says of it depends on this and on `inputs`. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly inputs: Readonly<Record<string, Stage>>;
  /** By row id, where it is not the checks that say so. */
  costs(stage: StageContext): Promise<ReadonlyMap<string, number> | undefined>;
}

/** The bound on the last policy, where there is one. @param costedBy who says what a reply costs: a cost model, or the critic */
export function boundPart(
  context: PartContext,
  {
    checkpoints,
    looked,
    costedBy,
  }: {
    readonly checkpoints: readonly CheckpointPart[];
    readonly looked: readonly Looked[];
    readonly costedBy: Stage<ModelValue> | undefined;
  },
): BoundPart | undefined {
  const at = checkpoints.findLastIndex(({ step }) => step === "policy");
  const bounded = checkpoints[at];
  if (bounded === undefined) return undefined;
  // A schedule may have moved it from round to round.
  const { policy } = settingsOf(context.recipe, planOf(context.recipe), bounded.round ?? 1);
  const constraint = constraintOf(policy);
  if (policy === undefined || constraint === undefined) return undefined;
  const { cost } = constraint;
  const bound: Bound = { checkpoint: bounded.id, bound: constraint.bound, cost };
  const { responses } = looked[at]!;
  if (cost === "checks" || costedBy === undefined) {
    // Scorecards of before had the rate among replies to which a check applies, which this is where one does to all.
    const apart = cost === "checks" && !countsEveryReply(context.constitution);
    return {
      bound,
      settings: { ...bound, ...(apart && { of: "all replies" }) },
      inputs: {},
      costs: async () => undefined,
    };
  }
  if (cost === "critic") {
    const costs = criticCostsStage(context, { name: `costs of ${bounded.id}`, responses, critic: costedBy });
    const read = async ({ value }: StageContext) => scoresOf(value(costs).rows());
    return { bound, settings: { ...bound }, inputs: { costs }, costs: read };
  }
  return {
    bound,
    settings: { ...bound },
    inputs: { costModel: costedBy },
    async costs(stage) {
      const replies = [[...stage.value(responses).rows()]];
      // As in training.
      const options = { ...deviceOf(context.options), shareBeginnings: sharesPrompts(policy) };
      return (await replyScores(stage, stage.value(costedBy), replies, options))[0];
    },
  };
}

/** Whether some check applies to every reply, and none is merely counted: the share that costs something is then the rate of violations. */
function countsEveryReply({ principles }: Constitution): boolean {
  const checks = principles.flatMap((principle) => principle.checks);
  return (
    checks.every(({ severity }) => severity > 0) &&
    checks.some((one) => !one.when && !one.whenCategory && !one.unless && !one.unlessCategory)
  );
}
