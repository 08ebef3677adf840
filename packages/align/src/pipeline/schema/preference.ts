import { preferenceSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { gateFields } from "../../evaluate/gate.ts";
import { givenSettingsSchema } from "../../feedback/index.ts";
import { datasetFields, datasetSchema } from "./files.ts";

export const preferenceModelSchema = z.strictObject({
  ...preferenceSettingsSchema.shape,
  pretrain: datasetSchema.optional().describe("Rankings to learn from first, such as a StackExchange dump."),
  human: z
    .strictObject({
      ...datasetFields,
      ratio: z.number().positive().optional().describe("Pairs of it for each machine label; all of them by default."),
    })
    .optional()
    .describe("Pairs labelled by people, mixed with the machine's."),
  given: givenSettingsSchema
    .optional()
    .describe(
      "The model is shown principles and judges by these: each pair is learnt under principles drawn from those that it was labelled under, some as their opposites (SALMON). Without it none is shown.",
    ),
  gate: z
    .strictObject({
      ...gateFields,
      pairs: z
        .int()
        .min(1)
        .optional()
        .describe(
          "Held-out pairs with a preferred reply that it judges by, at least: of each prompt of `prompts.validation` so many replies are compared as that takes by the share of training pairs whose label prefers one, 16 at most; without such prompts so many pairs are held out, half of all at most. Without it, or where they are more: as `feedback.pairs` and `validationShare` come to. `tenet validate` says where they are too few.",
        ),
      refused: z
        .enum(["stop", "go-without"])
        .optional()
        .describe(
          "What becomes of the policy where the gate refuses: the run ends before it (`stop`, as when not given), or it learns from what else `policy.reward` weighs, without the preference model (`go-without`); scorecard, report and model card say so.",
        ),
    })
    .prefault({})
    .describe("On held-out pairs, before anything is optimised against the preference model."),
});
