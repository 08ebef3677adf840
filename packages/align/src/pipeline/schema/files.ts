import { z } from "zod";

export const path = z.string().min(1);

export const datasetFields = {
  path: path.describe("JSON Lines, Parquet, CSV, hh-rlhf transcripts or a StackExchange dump; text also gzipped."),
  format: z
    .enum(["jsonl", "parquet", "csv", "stackexchange"])
    .optional()
    .describe("By default told from the name and the first bytes."),
  limit: z.int().min(1).optional().describe("Rows, at most."),
};

/** A file of rows: its path, or the path and more. */
export const datasetSchema = z.union([path, z.strictObject(datasetFields)]);
export type DatasetReference = z.output<typeof datasetSchema>;

const watched = {
  every: z.int().min(1).default(1).describe("Iterations of the policy between two looks at it."),
};

/** Prompts apart: those of a file, or a share of those to train on. */
export const validationSchema = z.union([
  path,
  z.strictObject({ ...datasetFields, ...watched }),
  z.strictObject({
    share: z
      .number()
      .gt(0)
      .max(0.5)
      .describe("Of the prompts to train on, drawn by the seed; they are then not trained on."),
    ...watched,
  }),
]);
