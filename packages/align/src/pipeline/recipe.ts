import { policySettingsSchema } from "@tenet/train";
import { z } from "zod";
import { lookers } from "../feedback/constitution-first.ts";
import { dialogueSettingsSchema } from "../feedback/index.ts";
import { imagesShown } from "../judge/index.ts";
import { arrangementSchema } from "./schema/arrangement.ts";
import { costModelSchema } from "./schema/cost.ts";
import { engineSchema } from "./schema/engine.ts";
import { evaluateSchema } from "./schema/evaluate.ts";
import { feedbackSchema } from "./schema/feedback.ts";
import { datasetSchema, path, validationSchema } from "./schema/files.ts";
import { preferenceModelSchema } from "./schema/preference.ts";
import { isServed, isTrained, rolesSchema } from "./schema/roles.ts";
import { supervisedSchema } from "./schema/supervised.ts";

/*
 * What a recipe can say. Types, checks, docs/recipe.md and the JSON Schema all come from here and from schema/, which has a file for each
 * of its parts; a default is written there or in the settings of the stage it belongs to, once. Paths are relative to the recipe's file.
 */

export { type BaselineName, neutralTextsSchema } from "./schema/evaluate.ts";
export type { DatasetReference } from "./schema/files.ts";
export {
  isServed,
  isTrained,
  type JudgeTraining,
  playerOf,
  type RoleReference,
  type TrainableRole,
} from "./schema/roles.ts";

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
  engine: engineSchema
    .optional()
    .describe("A Ray cluster that trains it; without one this machine does. Nothing else of a recipe changes with it."),
  inference: z
    .strictObject({
      weights: z
        .enum(["float32", "int8"])
        .default("float32")
        .describe(
          "How local models hold their matrices where they speak and score, the policy's own replies included. `int8` takes a quarter of the memory, speaks in less time on some processors (docs/performance.md), and changes what is said a little; trainings, preference models and the log-probabilities that a policy learns from are as `training` says.",
        ),
    })
    .optional()
    .describe("How local models speak; without it in float32."),
  training: z
    .strictObject({
      weights: z
        .enum(["float32", "int8"])
        .default("float32")
        .describe(
          "How the recipe's model holds the frozen matrices of its layers under adapters that are trained. `int8` has forward and backward passes multiply in 8 bits, which takes less time on some processors (docs/performance.md); adapters, optimizer and output head stay float32. Preference models and the log-probabilities that a policy learns from are computed so too.",
        ),
    })
    .optional()
    .describe("How adapters are trained; without it over float32 weights."),
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
      dialogue: z
        .strictObject({
          personas: path.describe("Who the people are: a list of texts in YAML or JSON, each told to `roles.persona`."),
          ...dialogueSettingsSchema.shape,
        })
        .optional()
        .describe(
          "Prompts to train on are gone on with as dialogues between `roles.generator` and `roles.persona`; every turn of the person is a prompt.",
        ),
    })
    .describe("What models are asked."),
  roles: rolesSchema.prefault({}).describe("Who does what."),
  seed: z.int().min(0).default(0).describe("Of every draw."),
  arrangement: arrangementSchema
    .optional()
    .describe(
      "How the two halves are joined: `sequential` (the default) learns revisions, then from labels; `reverse` the other way round; `iterative` both in three rounds, on halves of the prompts; `joint` in one loop of reinforcement learning. Or a mapping.",
    ),
  supervised: supervisedSchema.prefault({}).describe("Responses, critique and revision, and fine-tuning on them."),
  feedback: feedbackSchema.prefault({}).describe("Pairs and labels."),
  preferenceModel: preferenceModelSchema.prefault({}).describe("What is preferred, as a model."),
  costModel: costModelSchema
    .optional()
    .describe("What replies cost, as a model, for policy.constraint with cost: model; without it none is trained."),
  policy: policySettingsSchema
    .optional()
    .describe("Reinforcement learning; without it the run ends with the supervised model."),
  evaluate: evaluateSchema.prefault({}).describe("The scorecard."),
});

export type Recipe = z.output<typeof recipeSchema>;

/** Whether what the model says itself is learnt from: not where nothing is revised and what was not revised is skipped. */
export function learnsOwnReplies({
  supervised: { revisions, examples, deliberate },
}: Pick<Recipe, "supervised">): boolean {
  return revisions > 0 || examples.unchanged === "keep" || deliberate?.by === "model";
}

/** Whether a policy learns from what the preference model says of its replies. */
export function rewardsPreference(policy: Recipe["policy"]): boolean {
  return policy !== undefined && "reward" in policy && policy.reward.preference > 0;
}

/** Whether a policy learns from labels: from the pairs themselves (DPO), or from what the preference model says of its replies. */
export function learnsLabels(policy: Recipe["policy"]): boolean {
  return policy?.algorithm === "dpo" || rewardsPreference(policy);
}

/** Whether anything is made of labels: a policy that learns from them, or a preference model for the scorecard. */
export function usesLabels(recipe: Recipe): boolean {
  return learnsLabels(recipe.policy) || showsProxy(recipe);
}

/** Whether somebody looks what a model's labels are worth before they are learnt. */
export function isAudited({ feedback, roles }: Recipe): boolean {
  return feedback.audit !== undefined || isTrained(roles.labeller);
}

/** Whether a model says which reply of a pair is better: not where the checks do, how pairs were made, or people. */
export function asksLabeller({ feedback: { label } }: Pick<Recipe, "feedback">): boolean {
  return label.method === "choice" || label.method === "cot" || label.method === "judge";
}

/**
 * Whether the pairs of feedback.audit may show images: all who are asked about them are behind endpoints, and are shown them. Nothing is
 * learnt from these pairs, and every other file is read by a local model too, which sees none.
 */
export function auditShows(recipe: Pick<Recipe, "roles" | "feedback">): boolean {
  const { roles, feedback } = recipe;
  const { label } = feedback;
  const asked = [roles.labeller, ...(lookers(label.constitutionFirst).critic ? [roles.critic] : [])];
  const sees = label.method !== "judge" || (label.judge !== undefined && imagesShown(label.judge) !== "none");
  return asksLabeller(recipe) && sees && asked.every(isServed);
}

/** Whether labels that a model gives are learnt from, by a preference model or by DPO. */
export function learnsModelLabels(recipe: Recipe): boolean {
  return asksLabeller(recipe) && usesLabels(recipe);
}

/** Whether the scorecard shows what the preference model says of the replies to held-out prompts. */
export function showsProxy({ prompts, policy, evaluate }: Recipe): boolean {
  return prompts.heldOut !== undefined && policy !== undefined && (evaluate.proxy ?? rewardsPreference(policy));
}

/** The fields of a value that a shape has. */
export function pick(value: object, shape: object): Record<string, unknown> {
  return Object.fromEntries(Object.entries(value).filter(([key]) => key in shape));
}
