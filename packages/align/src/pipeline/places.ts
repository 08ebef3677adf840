import { stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { catalogue, ModelReferenceError, parseReference } from "@tenet/lm";
import { nearest, nearestFile, type Path, type ProblemFacts, quote } from "../document/index.ts";
import type { Recipe } from "./recipe.ts";

/** What a recipe names. `adapter`: a folder in PEFT's format. */
type Kind = "file" | "adapter" | "aligned model" | "role";

/** A place of a recipe that names something on this machine, or a model. */
export interface Place {
  readonly kind: Kind;
  readonly path: Path;
  /** As it is written. */
  readonly text: string;
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
    inside = "path",
  ) => {
    const value = holder?.[key];
    if (holder === undefined || value === undefined) return;
    if (typeof value === "string")
      places.push({ kind, path, text: value, set: (found) => Object.assign(holder, { [key]: found }) });
    else place(kind, value as Record<string, unknown>, inside, [...path, inside]);
  };
  place("aligned model", recipe, "model", ["model"]);
  const { constitution } = recipe;
  if (typeof constitution === "string") place("file", recipe, "constitution", ["constitution"]);
  else
    for (const part of ["critiques", "preferences"] as const) place("file", constitution, part, ["constitution", part]);
  place("file", recipe.prompts, "train", ["prompts", "train"]);
  place("file", recipe.prompts, "heldOut", ["prompts", "heldOut"]);
  for (const name of Object.keys(recipe.roles) as (keyof Recipe["roles"])[]) {
    const role = recipe.roles[name];
    if (role === undefined || (typeof role === "object" && "endpoint" in role)) continue;
    place("role", recipe.roles, name, ["roles", name], "model");
    if (typeof role === "object") place("adapter", role, "adapter", ["roles", name, "adapter"]);
  }
  place("file", recipe.supervised, "demonstrations", ["supervised", "demonstrations"]);
  place("file", recipe.supervised, "helpful", ["supervised", "helpful"]);
  place("file", recipe.feedback, "audit", ["feedback", "audit"]);
  place("file", recipe.preferenceModel, "pretrain", ["preferenceModel", "pretrain"]);
  place("file", recipe.preferenceModel, "human", ["preferenceModel", "human"]);
  place("file", recipe.evaluate, "neutral", ["evaluate", "neutral"]);
  return places;
}

/** Where a thing is, its path made absolute from the recipe's folder; or what is wrong with what is written. */
export async function find({ kind, text }: Place, folder: string): Promise<string | ProblemFacts> {
  switch (kind) {
    case "file":
      return findFile(text, folder);
    case "adapter":
      return findAdapter(text, folder);
    default:
      return findModel(text, folder, kind);
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
