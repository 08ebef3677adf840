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
      "Holds labels, a machine's and people's, against what the constitution says of both replies: filters, corrects and re-weights them before they are learnt, and those that the preference model is tested on. Without it they are learnt as they are.",
    ),
  people: z
    .strictObject({
      pairs: z
        .int()
        .min(1)
        .optional()
        .describe("Pairs that people are asked about, drawn by the seed; without it all of them."),
      each: z.int().min(1).max(5).default(1).describe("People that each pair is asked of."),
      usd: z.number().min(0).optional().describe("Price of one judgement, for the table of costs."),
    })
    .optional()
    .describe(
      "What people are asked, where they label (`label.method: people`) or their answers are what a labeller is audited on.",
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
      people: z
        .literal(true)
        .optional()
        .describe(
          "Instead of a file: what people say of the run's own pairs; the run waits for them before the labeller is asked about the rest.",
        ),
      ...auditSettingsSchema.shape,
    })
    .optional()
    .describe(
      "Pairs whose answer is known, on which the labeller is judged before its labels are used. Without it a model's labels are used although nobody knows what they are worth; run and scorecard say so.",
    ),
});
