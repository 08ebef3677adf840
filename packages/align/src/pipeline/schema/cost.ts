import { costModelSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { gateFields } from "../../evaluate/gate.ts";
import { datasetFields } from "./files.ts";

const { chance: _, ...override } = gateFields;

export const costModelSchema = z.strictObject({
  ...costModelSettingsSchema.shape,
  by: z
    .enum(["checks", "critic", "both", "people"])
    .default("checks")
    .describe(
      "Who says how unsafe the pairs' replies are: programs, the critic (roles.critic), or both; `people`: nobody does, and only the replies of `human` are learnt.",
    ),
  human: z
    .strictObject({
      ...datasetFields,
      ratio: z
        .number()
        .positive()
        .optional()
        .describe("Pairs of it for each of the run's own; all of them by default."),
    })
    .optional()
    .describe(
      "Replies whose harm people judged, mixed in: one a row (`prompt`, `response`, `is_safe`, also `severity`), or two (`response_0`, `response_1`, `is_response_0_safe`, `is_response_1_safe`, `safer_response_id`).",
    ),
  principles: z
    .union([z.literal("all"), z.int().min(1)])
    .default("all")
    .describe("Principles that the critic is asked about: so many, drawn by weight for each prompt, or all."),
  gate: z
    .strictObject(override)
    .prefault({})
    .describe(
      "On held-out pairs the sign of the cost has to be right more often than calling all replies alike would be.",
    ),
});
