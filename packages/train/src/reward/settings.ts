import { z } from "zod";
import { penalised, type RewardTerm, weightedSum } from "./combine.ts";
import { type Reward, RewardError } from "./reward.ts";

/** What a response is worth, as a recipe says it. */
export const rewardSettingsSchema = z.strictObject({
  preference: z.number().min(0).default(1).describe("Weight of the preference model's score; 0 does without it."),
  constitution: z
    .number()
    .min(0)
    .default(0)
    .describe("Weight of the constitutional reward, which lies in [-1, 1]; 0 does without it."),
  shape: z
    .enum(["linear", "sigmoid"])
    .default("linear")
    .describe("`sigmoid` bounds the preference score to (0, 1) before it is weighted: R = σ(r) + λ·R_const."),
  missingEndPenalty: z.number().min(0).default(1).describe("Subtracted where a response does not end by itself."),
  lengthPenalty: z.number().min(0).default(0).describe("Subtracted for each token of a response."),
});
export type RewardSettings = z.output<typeof rewardSettingsSchema>;

/** The judges a recipe can weigh. */
export interface RewardSources {
  readonly preference?: Reward | undefined;
  readonly constitution?: Reward | undefined;
}

/**
 * The reward that settings describe. METHODS §5, §6.
 * @throws RewardError when a weight is given to a judge that is not there, or to none
 */
export function rewardFrom(settings: RewardSettings, sources: RewardSources): Reward {
  const { shape, missingEndPenalty: missingEnd, lengthPenalty: perToken } = settings;
  const terms: RewardTerm[] = [];
  for (const name of ["preference", "constitution"] as const) {
    const weight = settings[name];
    if (weight === 0) continue;
    const reward = sources[name];
    if (!reward)
      throw new RewardError(
        `reward.${name} has weight ${weight}, but there is no ${name === "preference" ? "preference model" : "constitution with checks or a critic"}: give one, or set the weight to 0`,
      );
    terms.push({ reward, weight, ...(name === "preference" ? { shape } : {}) });
  }
  if (terms.length === 0)
    throw new RewardError("reward: every weight is 0, so all responses are worth the same; give one of them a weight");
  return penalised(weightedSum(terms), { missingEnd, perToken });
}
