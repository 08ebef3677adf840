import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import {
  DatasetError,
  type DatasetFormat,
  type DatasetKinds,
  DocumentError,
  nearest,
  nearestFile,
  openDataset,
  type Path,
  type ProblemFacts,
  quote,
  readDocument,
} from "@tenet/data";
import { catalogue, ModelReferenceError, parseReference } from "@tenet/lm";
import { auditShows, isServed, isTrained, neutralTextsSchema, type Recipe, recipeSchema } from "./recipe.ts";

/** What a recipe names: a text, a dataset by what it is read as, a folder in PEFT's format, or a model. */
type Kind =
  | "file"
  | "prompts"
  | "examples"
  | "preferences"
  | "choices"
  | "opinions"
  | "safety"
  | "texts"
  | "adapter"
  | "aligned model"
  | "role";

/** A place of a recipe that names something on this machine, or a model. */
export interface Place {
  readonly kind: Kind;
  readonly path: Path;
  /** As it is written. */
  readonly text: string;
  /** Of a dataset, where it is not told from the file. */
  readonly format?: DatasetFormat | undefined;
  /** Of a dataset, whether its prompts may show images. */
  readonly images?: boolean | undefined;
  set(found: string): void;
}

/** Every place of a recipe that names a file or a model. */
export function placesOf(recipe: Recipe): Place[] {
  const places: Place[] = [];
  const place = <Key extends string>(
    kind: Kind,
    holder: { [K in Key]?: unknown } | undefined,
    key: Key,
    path: Path,
    { inside = "path", ...more }: { readonly inside?: string } & Pick<Place, "format" | "images"> = {},
  ) => {
    const value = holder?.[key];
    if (holder === undefined || value === undefined) return;
    if (typeof value === "string")
      places.push({ kind, path, text: value, ...more, set: (found) => Object.assign(holder, { [key]: found }) });
    else {
      const whole = value as Record<string, unknown> & { format?: DatasetFormat };
      place(kind, whole, inside, [...path, inside], { ...more, inside, format: whole.format });
    }
  };
  place("aligned model", recipe, "model", ["model"]);
  const { constitution } = recipe;
  if (typeof constitution === "string") place("file", recipe, "constitution", ["constitution"]);
  else
    for (const part of ["critiques", "preferences"] as const) place("file", constitution, part, ["constitution", part]);
  place("prompts", recipe.prompts, "train", ["prompts", "train"]);
  place("prompts", recipe.prompts, "heldOut", ["prompts", "heldOut"]);
  place("prompts", recipe.prompts, "validation", ["prompts", "validation"]);
  place("file", recipe.prompts, "dialogue", ["prompts", "dialogue"], { inside: "personas" });
  for (const name of Object.keys(recipe.roles) as (keyof Recipe["roles"])[]) {
    const role = recipe.roles[name];
    if (role === undefined || isServed(role)) continue;
    if (isTrained(role)) {
      place("preferences", role.train, "pairs", ["roles", name, "train", "pairs"]);
      place("preferences", role.train, "audit", ["roles", name, "train", "audit"]);
      continue;
    }
    place("role", recipe.roles, name, ["roles", name], { inside: "model" });
    if (typeof role === "object") place("adapter", role, "adapter", ["roles", name, "adapter"]);
  }
  place("file", recipe.supervised, "demonstrations", ["supervised", "demonstrations"]);
  const { helpful } = recipe.supervised;
  place(helpful?.replies === "model" ? "prompts" : "examples", recipe.supervised, "helpful", ["supervised", "helpful"]);
  place("examples", recipe.supervised, "written", ["supervised", "written"]);
  place("file", recipe.feedback, "demonstrations", ["feedback", "demonstrations"]);
  place("preferences", recipe.feedback, "audit", ["feedback", "audit"], { images: auditMayShow(recipe) });
  place("preferences", recipe.preferenceModel, "pretrain", ["preferenceModel", "pretrain"]);
  place("preferences", recipe.preferenceModel, "human", ["preferenceModel", "human"]);
  place("safety", recipe.costModel, "human", ["costModel", "human"]);
  place("file", recipe.evaluate, "unseen", ["evaluate", "unseen"]);
  place("texts", recipe.evaluate, "neutral", ["evaluate", "neutral"]);
  place("choices", recipe.evaluate, "choices", ["evaluate", "choices"]);
  place("opinions", recipe.evaluate, "sycophancy", ["evaluate", "sycophancy"]);
  return places;
}

/** Whether the audit's pairs may show images; of a recipe that its schema refuses, where nobody knows, they may. */
function auditMayShow({ roles, feedback }: Recipe): boolean {
  const parsed = recipeSchema.pick({ roles: true, feedback: true }).safeParse({ roles, feedback });
  return !parsed.success || auditShows(parsed.data);
}

/** Where a thing is, its path made absolute from the recipe's folder; or what is wrong with what is written, or in the file. */
export async function find(place: Place, folder: string): Promise<string | ProblemFacts> {
  const { kind, text } = place;
  switch (kind) {
    case "file":
      return findFile(text, folder);
    case "prompts":
    case "examples":
    case "preferences":
    case "choices":
    case "opinions":
    case "safety":
      return findDataset(kind, place, folder);
    case "texts":
      return findTexts(text, folder);
    case "adapter":
      return findAdapter(text, folder);
    default:
      return findModel(text, folder, kind);
  }
}

/** A dataset without a usable row is found out now, not behind hours of work on the others. */
async function findDataset(
  as: keyof DatasetKinds,
  { text, format, images = false }: Place,
  folder: string,
): Promise<string | ProblemFacts> {
  const path = await findFile(text, folder);
  if (typeof path !== "string") return path;
  try {
    const dataset = await openDataset(path, { as, images, ...(format && { format }) });
    // Of a dump, whose answers lie far behind their questions, the first row may take minutes.
    if (dataset.format !== "stackexchange") for await (const read of dataset) if ("row" in read) break;
    return path;
  } catch (error) {
    if (!(error instanceof DatasetError)) throw error;
    return { expected: `a file of ${as}`, got: text, reason: error.message };
  }
}

async function findTexts(text: string, folder: string): Promise<string | ProblemFacts> {
  const path = await findFile(text, folder);
  if (typeof path !== "string") return path;
  try {
    await readDocument(path, neutralTextsSchema);
    return path;
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    return { expected: "a list of texts", got: text, reason: error.message };
  }
}

async function findFile(text: string, folder: string): Promise<string | ProblemFacts> {
  const path = resolve(folder, text);
  const expected = "the path of a file, relative to the recipe";
  const found = await stat(path).catch(() => undefined);
  if (found?.isFile()) return path;
  if (found) return { expected, got: found.isDirectory() ? `the folder ${text}` : `${text}, which is no plain file` };
  return { expected, ...(await missing(text, folder)) };
}

async function findAdapter(text: string, folder: string): Promise<string | ProblemFacts> {
  const path = resolve(folder, text);
  const expected = "the folder of an adapter in PEFT's format, relative to the recipe";
  const found = await stat(path).catch(() => undefined);
  if (!found) return { expected, ...(await missing(text, folder)) };
  if (!found.isDirectory()) return { expected, got: `${text}, which is no folder` };
  for (const name of ["adapter_config.json", "adapter_model.safetensors"])
    if (!(await exists(join(path, name)))) return { expected, got: `${text}, which holds no ${name}` };
  return path;
}

async function findModel(text: string, folder: string, kind: Kind): Promise<string | ProblemFacts> {
  const expected =
    "a name of the catalogue, a folder or file relative to the recipe, hf:owner/name or pypi:package==version/file";
  const reference = read(text);
  if (reference === undefined) {
    const server = /^https?:/i.test(text);
    const elsewhere =
      kind === "role"
        ? `expected a local model; a server is written as { endpoint: ${text}, model: … }`
        : "expected a local model, since it is trained; a server can only play a role, such as roles.labeller: { endpoint: … }";
    return { expected, got: quote(text), ...(server && { reason: `${elsewhere}, got ${quote(text)}` }) };
  }
  if (reference.kind === "hf" || reference.kind === "pypi") return text;
  if (reference.kind === "name" && Object.hasOwn(catalogue.models, text)) return text;
  const path = resolve(folder, text);
  if (await exists(path)) return path;
  if (reference.kind === "path") return { expected, ...(await missing(text, folder)) };
  const suggestion = nearest(text, Object.keys(catalogue.models));
  return {
    expected: `${expected}; the catalogue has ${Object.keys(catalogue.models).join(", ")}`,
    got: quote(text),
    suggestion,
  };
}

function read(text: string): ReturnType<typeof parseReference> | undefined {
  try {
    return parseReference(text);
  } catch (error) {
    if (error instanceof ModelReferenceError) return undefined;
    throw error;
  }
}

async function missing(text: string, folder: string): Promise<{ got: string; suggestion: string | undefined }> {
  return { got: `${text}, which does not exist`, suggestion: await nearestFile(text, folder) };
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
