import { preferenceSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { gateFields } from "../../evaluate/gate.ts";
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
  gate: z
    .strictObject(gateFields)
    .prefault({})
    .describe("On held-out pairs, before anything is optimised against the preference model."),
});
