import { endpointSettingsSchema } from "@tenet/lm";
import { judgeSettingsSchema, policySettingsSchema, preferenceSettingsSchema, sftSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { gateFields } from "../evaluate/gate.ts";
import {
  auditSettingsSchema,
  contrastSettingsSchema,
  critiqueSettingsSchema,
  examplesSettingsSchema,
  labelSettingsSchema,
  pairSettingsSchema,
} from "../feedback/index.ts";
import { samplingFields } from "../feedback/sampling.ts";

/*
 * What a recipe can say. Types, checks, docs/recipe.md and the JSON Schema all come from here; a default is written here or
 * in the settings of the stage it belongs to, once. Paths are relative to the recipe's file.
 */

const path = z.string().min(1);

const datasetFields = {
  path: path.describe("JSON Lines, Parquet, CSV, hh-rlhf transcripts or a StackExchange dump; text also gzipped."),
  format: z
    .enum(["jsonl", "parquet", "csv", "stackexchange"])
    .optional()
    .describe("By default told from the name and the first bytes."),
  limit: z.int().min(1).optional().describe("Rows, at most."),
};

/** A file of rows: its path, or the path and more. */
const datasetSchema = z.union([path, z.strictObject(datasetFields)]);
export type DatasetReference = z.output<typeof datasetSchema>;

const watched = {
  every: z.int().min(1).default(1).describe("Iterations of the policy between two looks at it."),
};

/** Prompts apart: those of a file, or a share of those to train on. */
const validationSchema = z.union([
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

/** A model: a local reference, one with an adapter, or a server. */
const roleSchema = z.union([
  z.string().min(1),
  z.strictObject({
    model: z.string().min(1).describe("Catalogue name, folder, file, `hf:owner/name` or `pypi:package==version/file`."),
    adapter: path.optional().describe("Folder of a LoRA adapter in PEFT's format."),
  }),
  z.strictObject({
    endpoint: endpointSettingsSchema.shape.baseUrl.describe(
      "Address of an OpenAI-compatible server, up to and with the version, such as `http://localhost:8000/v1`.",
    ),
    ...endpointSettingsSchema.omit({ baseUrl: true }).shape,
  }),
]);
export type RoleReference = z.output<typeof roleSchema>;

/** Pairs that the recipe's model makes of the prompts to train on, so that their answer is known. */
const madePairsSchema = z.discriminatedUnion("from", [
  z.strictObject({
    from: z
      .literal("contrast")
      .describe(
        "One reply sampled under a principle, the other under its opposite (RLCD): for principles that are rules.",
      ),
    ...contrastSettingsSchema.shape,
  }),
  z.strictObject({
    from: z.literal("checks").describe("Replies of which the constitution's checks find one worse than the other."),
    samples: z
      .int()
      .min(2)
      .default(4)
      .describe("Replies to each prompt; every two that the checks tell apart are a pair."),
    ...contrastSettingsSchema.shape,
  }),
]);

/** A judge that the recipe trains: what it learns from, and what it is audited on before anybody asks it. */
const judgeTrainingSchema = z.strictObject({
  pairs: z
    .union([...datasetSchema.options, ...madePairsSchema.options])
    .describe("Pairs whose answer is known: a file of them, labelled by people for example, or pairs that are made."),
  warmup: z
    .int()
    .min(0)
    .default(0)
    .describe(
      "Easy pairs that are learnt first, at most so many: a better reply beside its own words in disorder. A small model learns by them to compare and to name the letter.",
    ),
  ...judgeSettingsSchema.shape,
  audit: z
    .strictObject({
      ...datasetFields,
      path: path.optional().describe("Other pairs to be audited on; by default a share of those to learn from."),
      share: z
        .number()
        .positive()
        .max(0.9)
        .default(0.25)
        .describe("Share of the pairs that is not learnt but asked, where no path is given."),
      ...auditSettingsSchema.shape,
    })
    .prefault({})
    .describe("Pairs with a known answer that it never saw; it must be right on more of them than chance is."),
});
export type JudgeTraining = z.output<typeof judgeTrainingSchema>;

/** A role, or a judge that is trained for it. */
const trainableRoleSchema = z.union([
  ...roleSchema.options,
  z.strictObject({
    train: judgeTrainingSchema.describe("Fine-tunes the recipe's model on the questions that it will be asked."),
  }),
]);
export type TrainableRole = z.output<typeof trainableRoleSchema>;

/** Whether a role is played by a judge that is trained for it. */
export function isTrained(role: TrainableRole | undefined): role is { train: JudgeTraining } {
  return typeof role === "object" && "train" in role;
}

/** What plays a role: a trained judge is the recipe's own model under an adapter. */
export function playerOf(role: TrainableRole | undefined, { model }: { readonly model: string }): RoleReference {
  return role === undefined || isTrained(role) ? model : role;
}

const roleOf = (what: string) => roleSchema.optional().describe(`${what}; by default the recipe's model.`);

const { rounds, ...critiqueFields } = critiqueSettingsSchema.shape;

const supervisedSchema = z.strictObject({
  ...sftSettingsSchema.shape,
  system: z.string().min(1).optional().describe("System prompt of the first responses; not part of what is learnt."),
  response: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the first responses."),
  revisions: rounds,
  critique: z.strictObject(critiqueFields).prefault({}).describe("How critiques and revisions are made."),
  demonstrations: path.optional().describe("File of worked critiques and revisions, shown before each request."),
  examples: examplesSettingsSchema.prefault({}).describe("What of a chain is learnt."),
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
      ratio: z.number().positive().default(1).describe("Examples of it for each example from a chain."),
    })
    .optional()
    .describe("Examples that keep the model helpful, mixed in."),
});

const feedbackSchema = z.strictObject({
  pairs: pairSettingsSchema.prefault({}).describe("How pairs of replies are drawn."),
  label: labelSettingsSchema.prefault({}).describe("How they are labelled."),
  demonstrations: path
    .optional()
    .describe("File of worked comparisons, an even number of them, shown to the labeller before each question."),
  audit: z
    .strictObject({ ...datasetFields, ...auditSettingsSchema.shape })
    .optional()
    .describe(
      "Pairs whose answer is known, on which the labeller is judged before its labels are used. Without it a model's labels are used although nobody knows what they are worth; run and scorecard say so.",
    ),
});

const preferenceModelSchema = z.strictObject({
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

/** A file of texts that have nothing to do with the constitution. */
export const neutralTextsSchema = z.array(z.string().trim().min(1)).min(1);

/** What held-out prompts give without training. */
const baselineSchema = z.enum(["demonstrations", "constitution", "constant"]);
export type BaselineName = z.output<typeof baselineSchema>;

const evaluateSchema = z.strictObject({
  mustHold: z
    .array(z.string().min(1))
    .optional()
    .describe("Ids of principles that may not be broken: the verdict says first which of them are."),
  sampling: samplingFields({ temperature: 1, maxTokens: 256 }).describe("Sampling of the replies to held-out prompts."),
  samples: z.int().min(1).default(1).describe("Replies to each held-out prompt."),
  neutral: path.optional().describe("Texts whose perplexity tells what alignment cost: a list in YAML or JSON."),
  divergence: z
    .boolean()
    .default(true)
    .describe("Estimate the KL of each checkpoint to the first, on its own replies."),
  proxy: z
    .boolean()
    .optional()
    .describe(
      "Let the preference model score the replies too; by default where the policy is rewarded by it. `true` trains one for this alone where nothing else needs it.",
    ),
  baselines: z
    .union([z.literal(false), z.array(baselineSchema).min(1)])
    .optional()
    .describe(
      "What the same prompts give without training: the model with `supervised.demonstrations` as turns before the prompt, with the constitution as its system prompt, and one constant reply. By default all that the recipe has what it takes for, at the cost of two more replies to each prompt; `false` for none.",
    ),
});

/** A constitution's file, or the files of the CAI paper's supplementary material. */
const constitutionReference = z.union([
  path.describe("YAML, JSON or Markdown."),
  z
    .strictObject({
      critiques: path.optional().describe("The paper's `CritiqueRevisionInstructions.json`."),
      preferences: path.optional().describe("The paper's `RLMadisonInstructions.json`."),
    })
    .refine(({ critiques, preferences }) => critiques !== undefined || preferences !== undefined, {
      error: "expected critiques, preferences or both",
    }),
]);

export const recipeSchema = z.strictObject({
  name: z
    .string()
    .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,79}$/, {
      error: "expected letters, digits, dots, dashes and underscores, at most 80, the first a letter or a digit",
    })
    .optional()
    .describe("Begins the run's id; by default the file's name."),
  model: z.string().min(1).default("smollm2-135m-instruct").describe("The model that is aligned, a local one."),
  constitution: constitutionReference.describe("What the model is aligned to."),
  prompts: z
    .strictObject({
      train: datasetSchema.describe("What responses are sampled for."),
      heldOut: datasetSchema.optional().describe("What the scorecard is made on, and nothing else."),
      validation: validationSchema
        .optional()
        .describe(
          "What trainings are watched on, so that each returns its best, and what the preference model is tested on: neither trained on nor held out. Without it trainings return their last.",
        ),
    })
    .describe("What models are asked."),
  roles: z
    .strictObject({
      generator: roleOf("Writes the first responses"),
      critic: roleOf("Writes critiques, and looks for violations where labels want the constitution first"),
      reviser: roleOf("Writes revisions"),
      labeller: trainableRoleSchema
        .optional()
        .describe("Says which response is better; by default the recipe's model."),
      judge: trainableRoleSchema
        .optional()
        .describe(
          "Compares the checkpoints' replies for the scorecard's win rates, and rates them where training never saw it; without one nobody does.",
        ),
    })
    .prefault({})
    .describe("Who does what."),
  seed: z.int().min(0).default(0).describe("Of every draw."),
  supervised: supervisedSchema.prefault({}).describe("Responses, critique and revision, and fine-tuning on them."),
  feedback: feedbackSchema.prefault({}).describe("Pairs and labels."),
  preferenceModel: preferenceModelSchema.prefault({}).describe("What is preferred, as a model."),
  policy: policySettingsSchema
    .optional()
    .describe("Reinforcement learning; without it the run ends with the supervised model."),
  evaluate: evaluateSchema.prefault({}).describe("The scorecard."),
});

export type Recipe = z.output<typeof recipeSchema>;

/** Whether a policy learns from what the preference model says of its replies. */
export function rewardsPreference(policy: Recipe["policy"]): boolean {
  return policy !== undefined && "reward" in policy && policy.reward.preference > 0;
}

/** Whether somebody looks what a model's labels are worth before they are learnt. */
export function isAudited({ feedback, roles }: Recipe): boolean {
  return feedback.audit !== undefined || isTrained(roles.labeller);
}

/** Whether labels that a model gives are learnt from, by a preference model or by DPO. */
export function learnsModelLabels(recipe: Recipe): boolean {
  const { policy, feedback } = recipe;
  if (policy === undefined || feedback.label.method === "checks") return false;
  return policy.algorithm === "dpo" || rewardsPreference(policy) || showsProxy(recipe);
}

/** Whether the scorecard shows what the preference model says of the replies to held-out prompts. */
export function showsProxy({ prompts, policy, evaluate }: Recipe): boolean {
  return prompts.heldOut !== undefined && policy !== undefined && (evaluate.proxy ?? rewardsPreference(policy));
}
