import { z } from "zod";
import { judgeAskingFields } from "./asking.ts";
import { penalised, type RewardTerm, weightedSum } from "./combine.ts";
import { type Reward, RewardError } from "./reward.ts";

const weight = z.number().min(0);

/** R_const with more than a weight. */
const constitutionSchema = z.strictObject({
  weight: weight.describe("Weight of the constitutional reward, which lies in [-1, 1]; 0 does without it."),
  by: z
    .enum(["checks", "critic", "both"])
    .default("checks")
    .describe(
      "Who says what a response violates: programs, the critic (roles.critic), asked of every response while the policy learns, or both, the worse of the two counting.",
    ),
  principles: z
    .union([z.literal("all"), z.int().min(1)])
    .default("all")
    .describe("Principles that the critic is asked about: so many, drawn by weight for each prompt anew, or all."),
});

/** Ratings by a model that is asked of every response. */
const judgeTermSchema = z.strictObject({
  weight: weight.describe("Weight of the rating, which lies in [-1, 1]."),
  asking: z
    .strictObject(judgeAskingFields)
    .optional()
    .describe(
      "Asks in the format that the labeller was trained for; absent: for the expected rating by its log-probabilities, in words of our own.",
    ),
  principles: z
    .union([z.int().min(1), z.array(z.string().min(1)).min(1)])
    .optional()
    .describe(
      "Principles that a response is rated by, each by itself, of which the mean is taken: so many, drawn by weight for each prompt anew in every iteration, or those of these ids; absent: how good it is in general.",
    ),
});
export type JudgeTerm = z.output<typeof judgeTermSchema>;

/** Principles that a preference model which is shown some judges a reply by. */
export const givenRewardSchema = z.strictObject({
  count: z
    .int()
    .min(0)
    .max(16)
    .default(3)
    .describe("Principles drawn by weight, for each prompt anew in every iteration."),
  always: z.array(z.string().min(1)).min(1).optional().describe("Ids of principles that are always shown."),
  negate: z.array(z.string().min(1)).min(1).optional().describe("Ids of principles that are shown as their opposites."),
  categories: z
    .record(z.string(), z.array(z.string().min(1)).min(1))
    .optional()
    .describe("Ids of principles that are shown with prompts of a category, by category."),
});
export type GivenRewardSettings = z.output<typeof givenRewardSchema>;

/** What a response is worth, as a recipe says it. */
export const rewardSettingsSchema = z.strictObject({
  preference: weight.default(1).describe("Weight of the preference model's score; 0 does without it."),
  constitution: z
    .union([weight, constitutionSchema])
    .default(0)
    .describe(
      "Weight of the constitutional reward, which lies in [-1, 1]; 0 does without it. A weight alone is that of the checks.",
    ),
  judge: judgeTermSchema
    .optional()
    .describe(
      "The labeller (roles.labeller) rates every response while the policy learns (d-RLAIF); without it nobody does.",
    ),
  shape: z
    .enum(["linear", "sigmoid"])
    .default("linear")
    .describe("`sigmoid` bounds the preference score to (0, 1) before it is weighted: R = σ(r) + λ·R_const."),
  given: givenRewardSchema
    .optional()
    .describe(
      "Principles that the preference model judges by, where it is shown some (preferenceModel.given); absent: three, drawn by weight.",
    ),
  missingEndPenalty: z.number().min(0).default(1).describe("Subtracted where a response does not end by itself."),
  lengthPenalty: z
    .number()
    .min(0)
    .default(0)
    .describe("Subtracted for each token of a response; reasoning before it costs nothing."),
  failures: z
    .strictObject({
      most: z.number().min(0).max(1).describe("Share of an iteration's responses that may have no answer of a judge."),
    })
    .optional()
    .describe(
      "Responses that a critic or a judge does not answer for are learnt nothing from; where they are more than this share, 0.1 when not given, the training stops, to be continued by the same command.",
    ),
});
export type RewardSettings = z.output<typeof rewardSettingsSchema>;

/** The judges a recipe can weigh. */
export interface RewardSources {
  readonly preference?: Reward | undefined;
  readonly constitution?: Reward | undefined;
  readonly judge?: Reward | undefined;
}

/** The constitutional term, whichever way it is written. */
export function constitutionTerm({
  constitution,
}: Pick<RewardSettings, "constitution">): z.output<typeof constitutionSchema> {
  return typeof constitution === "number" ? constitutionSchema.parse({ weight: constitution }) : constitution;
}

/** Share of an iteration's responses that may have no answer. */
export function mostUnanswered({ failures }: Pick<RewardSettings, "failures">): number {
  return failures?.most ?? 0.1;
}

/** One entry a term: a term without one does not compile. */
const terms: Record<keyof RewardSources, { weight(settings: RewardSettings): number; readonly needs: string }> = {
  preference: { weight: ({ preference }) => preference, needs: "preference model" },
  constitution: {
    weight: (settings) => constitutionTerm(settings).weight,
    needs: "constitution with checks or a critic",
  },
  judge: { weight: ({ judge }) => judge?.weight ?? 0, needs: "labeller to rate responses" },
};

/** Names of the terms that have a weight, in the order in which they are added. */
export function weightedTerms(settings: RewardSettings): (keyof RewardSources)[] {
  return (Object.keys(terms) as (keyof RewardSources)[]).filter((name) => terms[name].weight(settings) > 0);
}

/**
 * The reward that settings describe. METHODS §5, §6.
 * @throws RewardError when a weight is given to a judge that is not there, or to none
 */
export function rewardFrom(settings: RewardSettings, sources: RewardSources): Reward {
  const { shape, missingEndPenalty: missingEnd, lengthPenalty: perToken } = settings;
  const weighed = weightedTerms(settings).map((name): RewardTerm => {
    const weight = terms[name].weight(settings);
    const reward = sources[name];
    if (!reward)
      throw new RewardError(
        `reward.${name} has weight ${weight}, but there is no ${terms[name].needs}: give one, or set the weight to 0`,
      );
    return { reward, weight, ...(name === "preference" ? { shape } : {}) };
  });
  if (weighed.length === 0)
    throw new RewardError("reward: every weight is 0, so all responses are worth the same; give one of them a weight");
  return penalised(weightedSum(weighed), { missingEnd, perToken });
}
