import { sftSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { critiqueSettingsSchema, deliberateSettingsSchema, examplesSettingsSchema } from "../../feedback/index.ts";
import { samplingFields } from "../../feedback/sampling.ts";
import { datasetFields, path } from "./files.ts";

const { rounds, ...critiqueFields } = critiqueSettingsSchema.shape;

export const supervisedSchema = z.strictObject({
  ...sftSettingsSchema.shape,
  system: z.string().min(1).optional().describe("System prompt of the first responses; not part of what is learnt."),
  response: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the first responses."),
  revisions: rounds,
  critique: z.strictObject(critiqueFields).prefault({}).describe("How critiques and revisions are made."),
  demonstrations: path.optional().describe("File of worked critiques and revisions, shown before each request."),
  examples: examplesSettingsSchema.prefault({}).describe("What of a chain is learnt."),
  deliberate: deliberateSettingsSchema
    .optional()
    .describe("Reasoning that cites principles by their ids is learnt before each reply (deliberative alignment)."),
  written: z
    .union([
      path,
      z.strictObject({
        ...datasetFields,
        ratio: z
          .number()
          .positive()
          .optional()
          .describe("Examples of it for each from a chain; without it all there are."),
      }),
    ])
    .optional()
    .describe(
      "Examples that people wrote, each a prompt and a reply, as RLHF begins with: learnt beside those of the chains, or with `revisions: 0` alone.",
    ),
  helpful: z
    .strictObject({
      ...datasetFields,
      replies: z
        .enum(["file", "model"])
        .default("file")
        .describe(
          "`file`: the rows are examples; `model`: they are prompts, and the replies to learn are the recipe's model's own, which hold it to what it was.",
        ),
      sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the model's own replies."),
      ratio: z.number().positive().default(1).describe("Examples of it for each from a chain or of people."),
    })
    .optional()
    .describe("Examples that keep the model helpful, mixed in."),
});
