import type { ExampleRow, PreferenceRow, PromptRow } from "@tenet/data";
import { z } from "zod";
import { bestOfNSettingsSchema, trainBestOfN } from "./best-of-n.ts";
import { dpoSettingsSchema, trainDpo } from "./dpo.ts";
import { grpoSettingsSchema, trainGrpo } from "./grpo.ts";
import { avoidance, imitation } from "./imitate.ts";
import type { MetricEvent } from "./loop.ts";
import type { OnlineOptions, PolicyOptions, PolicyResult } from "./policy-options.ts";
import { ppoSettingsSchema, trainPpo } from "./ppo.ts";
import type { Reward } from "./reward/index.ts";
import { rlooSettingsSchema, trainRloo } from "./rloo.ts";
import type { LossTerm } from "./terms.ts";

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
  /** What `constraint` bounds. */
  readonly cost?: Reward | undefined;
  /** What DPO learns from. */
  readonly rows?: readonly PreferenceRow[] | undefined;
  /** What `imitate` learns beside the reward. */
  readonly examples?: readonly ExampleRow[] | undefined;
  /** What `avoid` unlearns: replies that are not to be given. Where there are none it does nothing. */
  readonly flagged?: readonly ExampleRow[] | undefined;
  /** Folder of the preference model's adapter, from which PPO's value network starts. */
  readonly valueFrom?: string | undefined;
  /** Folder of the cost model's adapter, from which the value network of the cost starts. */
  readonly costValueFrom?: string | undefined;
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
  const terms: LossTerm[] = [...(options.terms ?? [])];
  if (settings.algorithm !== "best-of-n") {
    const { imitate, avoid } = settings;
    const { model, seed } = options;
    if (imitate && imitate.weight > 0) {
      const rows = needs(options.examples, "examples to imitate");
      terms.push(imitation({ model, seed, settings: imitate, rows }));
    }
    if (avoid && avoid.weight > 0) {
      const rows = needs(options.flagged, "flagged replies to avoid");
      if (rows.length > 0) terms.push(avoidance({ model, seed, settings: avoid, rows }));
    }
  }
  if (settings.algorithm === "dpo")
    return trainDpo({ ...options, terms, settings, rows: needs(options.rows, "pairs (rows)") });
  const online = {
    ...options,
    terms,
    prompts: needs(options.prompts, "prompts to sample from"),
    reward: needs(options.reward, "a reward"),
    cost:
      "constraint" in settings && settings.constraint
        ? needs(options.cost, "what the constraint bounds (cost)")
        : undefined,
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
