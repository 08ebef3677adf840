import { endpointSettingsSchema } from "@tenet/lm";
import { judgeSettingsSchema } from "@tenet/train";
import { z } from "zod";
import { auditSettingsSchema, contrastSettingsSchema } from "../../feedback/index.ts";
import { datasetFields, datasetSchema, path } from "./files.ts";

/** A model behind a server, or behind several. */
export const endpointRoleSchema = z.strictObject({
  endpoint: endpointSettingsSchema.shape.baseUrl.describe(
    "Address of an OpenAI-compatible server, up to and with the version, such as `http://localhost:8000/v1`; or a list of them that serve the same model.",
  ),
  ...endpointSettingsSchema.omit({ baseUrl: true }).shape,
});

/** A model: a local reference, one with an adapter, or a server. */
const roleSchema = z.union([
  z.string().min(1),
  z.strictObject({
    model: z.string().min(1).describe("Catalogue name, folder, file, `hf:owner/name` or `pypi:package==version/file`."),
    adapter: path.optional().describe("Folder of a LoRA adapter in PEFT's format."),
  }),
  endpointRoleSchema,
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
type EndpointRole = z.output<typeof endpointRoleSchema>;
export type TrainableRole = z.output<typeof trainableRoleSchema>;

/** Whether a role is played by a judge that is trained for it. */
export function isTrained(role: TrainableRole | undefined): role is { train: JudgeTraining } {
  return typeof role === "object" && "train" in role;
}

/** Whether a role is played by a model behind an endpoint. */
export function isServed(role: TrainableRole | undefined): role is EndpointRole {
  return typeof role === "object" && "endpoint" in role;
}

/** What plays a role: a trained judge is the recipe's own model under an adapter. */
export function playerOf(role: TrainableRole | undefined, { model }: { readonly model: string }): RoleReference {
  return role === undefined || isTrained(role) ? model : role;
}

const roleOf = (what: string) => roleSchema.optional().describe(`${what}; by default the recipe's model.`);

/** Who does what. */
export const rolesSchema = z.strictObject({
  generator: roleOf("Writes the first responses"),
  critic: trainableRoleSchema
    .optional()
    .describe(
      "Writes critiques, and looks for violations where labels, weights, rewards or a constraint want it; by default the recipe's model. One that is trained answers whether a reply breaks a principle, and writes nothing.",
    ),
  reviser: roleOf("Writes revisions"),
  persona: roleOf("Speaks for the person in dialogues"),
  labeller: trainableRoleSchema.optional().describe("Says which response is better; by default the recipe's model."),
  judge: trainableRoleSchema
    .optional()
    .describe(
      "Compares the checkpoints' replies for the scorecard's win rates, and rates them where training never saw it; without one nobody does.",
    ),
});
