import { z } from "zod";
import {
  auditSettingsSchema,
  labelSettingsSchema,
  pairSettingsSchema,
  weighSettingsSchema,
} from "../../feedback/index.ts";
import { datasetFields, path } from "./files.ts";

export const feedbackSchema = z.strictObject({
  pairs: pairSettingsSchema.prefault({}).describe("How pairs of replies are drawn."),
  label: labelSettingsSchema.prefault({}).describe("How they are labelled."),
  weigh: weighSettingsSchema
    .optional()
    .describe(
      "Holds labels, a machine's and people's, against what the constitution says of both replies: filters, corrects and re-weights them before they are learnt. Without it they are learnt as they are.",
    ),
  demonstrations: path
    .optional()
    .describe("File of worked comparisons, an even number of them, shown to the labeller before each question."),
  audit: z
    .strictObject({
      ...datasetFields,
      path: path.optional().describe(datasetFields.path.description!),
      examples: z
        .literal(true)
        .optional()
        .describe("Instead of a file: the constitution's own examples, each under the principle that it shows."),
      ...auditSettingsSchema.shape,
    })
    .optional()
    .describe(
      "Pairs whose answer is known, on which the labeller is judged before its labels are used. Without it a model's labels are used although nobody knows what they are worth; run and scorecard say so.",
    ),
});
