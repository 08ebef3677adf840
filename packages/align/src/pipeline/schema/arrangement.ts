import { z } from "zod";

/** The halves of the method, as steps of an arrangement. */
export const stepNames = ["supervised", "policy"] as const;
export type StepName = (typeof stepNames)[number];

/** What can be written for an arrangement in one word. */
export const arrangementNames = ["sequential", "reverse", "iterative", "joint"] as const;
export type ArrangementName = (typeof arrangementNames)[number];

const share = z.number().gt(0).max(1).optional();

export const arrangementSchema = z.union([
  z.enum(arrangementNames),
  z.strictObject({
    steps: z
      .array(z.enum(stepNames))
      .min(1)
      .optional()
      .describe("In their order; by default `[supervised, policy]`, or `[supervised]` where there is no `policy`."),
    rounds: z
      .int()
      .min(1)
      .max(100)
      .optional()
      .describe(
        "How often the steps are gone through, each time from the model that the last one made; once by default.",
      ),
    share: z
      .strictObject({
        supervised: share.describe("Part of a round's prompts that is criticised and revised."),
        policy: share.describe("Part of a round's prompts that pairs and replies are sampled for."),
      })
      .optional()
      .describe("Divides a round's prompts among its steps; without it every step works on all of them."),
    prompts: z
      .enum(["same", "fresh"])
      .optional()
      .describe("`same` (the default): every round has all prompts; `fresh`: the rounds divide them among themselves."),
    pairs: z
      .enum(["all", "round"])
      .optional()
      .describe("What is learnt from: the pairs of all rounds so far (the default), or those of the round alone."),
    preferenceModel: z
      .enum(["again", "continue", "once"])
      .optional()
      .describe(
        "Each round's: trained from the model on those pairs (`again`, the default), going on from the last round's, or the first round's for all.",
      ),
    schedule: z
      .record(z.string(), z.array(z.unknown()).min(1))
      .optional()
      .describe(
        'Settings that change with the rounds, by their path: `"policy.reward.constitution": [0.5, 1]` has one value a round, the last one for all further.',
      ),
  }),
]);
export type ArrangementSettings = z.output<typeof arrangementSchema>;
