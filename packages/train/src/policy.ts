import type { PreferenceRow, PromptRow } from "@tenet/data";
import { z } from "zod";
import { bestOfNSettingsSchema, trainBestOfN } from "./best-of-n.ts";
import { dpoSettingsSchema, trainDpo } from "./dpo.ts";
import { grpoSettingsSchema, trainGrpo } from "./grpo.ts";
import type { MetricEvent } from "./loop.ts";
import type { OnlineOptions, PolicyOptions, PolicyResult } from "./policy-options.ts";
import { ppoSettingsSchema, trainPpo } from "./ppo.ts";
import type { Reward } from "./reward/index.ts";
import { rlooSettingsSchema, trainRloo } from "./rloo.ts";

/** How a policy is trained, by algorithm. */
export const policySettingsSchema = z.discriminatedUnion("algorithm", [
  ppoSettingsSchema,
  grpoSettingsSchema,
  rlooSettingsSchema,
  dpoSettingsSchema,
  bestOfNSettingsSchema,
]);
export type PolicyTrainingSettings = z.output<typeof policySettingsSchema>;

export interface TrainPolicyOptions extends PolicyOptions {
  readonly settings: z.input<typeof policySettingsSchema>;
  /** What all but DPO sample from. */
  readonly prompts?: readonly PromptRow[] | undefined;
  /** What the algorithms that sample while they learn hold the policy to; by default where it starts. */
  readonly reference?: OnlineOptions["reference"];
  /** What all but DPO maximise. */
  readonly reward?: Reward | undefined;
  /** What DPO learns from. */
  readonly rows?: readonly PreferenceRow[] | undefined;
  /** Folder of the preference model's adapter, from which PPO's value network starts. */
  readonly valueFrom?: string | undefined;
}

/**
 * Trains a policy by the algorithm that the settings name.
 * Errors: TypeError when what the algorithm learns from is not given; those of the algorithm.
 */
export function trainPolicy(options: TrainPolicyOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const settings = policySettingsSchema.parse(options.settings);
  const needs = <T>(given: T | undefined, what: string): T => {
    if (given === undefined) throw new TypeError(`${settings.algorithm} needs ${what}`);
    return given;
  };
  if (settings.algorithm === "dpo")
    return trainDpo({ ...options, settings, rows: needs(options.rows, "pairs (rows)") });
  const online = {
    ...options,
    prompts: needs(options.prompts, "prompts to sample from"),
    reward: needs(options.reward, "a reward"),
  };
  switch (settings.algorithm) {
    case "ppo":
      return trainPpo({ ...online, settings });
    case "grpo":
      return trainGrpo({ ...online, settings });
    case "rloo":
      return trainRloo({ ...online, settings });
    case "best-of-n":
      return trainBestOfN({ ...online, settings });
  }
}
