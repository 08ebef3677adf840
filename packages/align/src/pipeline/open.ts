import { basename, dirname, extname, resolve } from "node:path";
import { DocumentError, type Problem, readDocument, readText } from "@tenet/data";
import {
  type Constitution,
  type Demonstration,
  importCaiPaper,
  importDemonstrations,
  loadConstitution,
} from "../constitution/index.ts";
import { type LabelDemonstration, labelDemonstrationsSchema } from "../judge/index.ts";
import { contradictions, unmet } from "./contradictions.ts";
import { find, placesOf } from "./places.ts";
import { type Recipe, recipeSchema } from "./recipe.ts";

/** A recipe that was read and checked, with everything it names found. */
export interface OpenRecipe {
  readonly file: string;
  readonly name: string;
  /** With defaults filled in and paths made absolute. */
  readonly recipe: Recipe;
  /** With defaults filled in and paths as they are written: the same wherever the files lie. */
  readonly written: Recipe;
  readonly constitution: Constitution;
  /** Worked critiques and revisions. */
  readonly demonstrations: readonly Demonstration[];
  /** Worked comparisons, for the labeller. */
  readonly labelDemonstrations: readonly LabelDemonstration[];
}

export interface RecipeChanges {
  readonly seed?: number;
  /** Prompts at most, of those to train on and of those held out each. */
  readonly limit?: number;
  /** Import the modules that the constitution's checks name: they are programs. */
  readonly allowModules?: boolean;
}

/**
 * Reads a recipe, its constitution, and the beginnings of the files it names.
 *
 * Errors: DocumentError with every problem at once: file, line, what was expected, what stands there and the nearest valid
 * name; of the constitution too.
 */
export async function openRecipe(file: string, changes: RecipeChanges = {}): Promise<OpenRecipe> {
  const document = await readDocument(file, recipeSchema);
  const folder = dirname(resolve(file));
  const problems: Problem[] = [...contradictions(document)];
  const recipe = changed(document.value, changes);
  for (const place of placesOf(recipe)) {
    const found = await find(place, folder);
    if (typeof found === "string") place.set(found);
    else problems.push(document.problem(place.path, found));
  }
  if (problems.length > 0) throw new DocumentError(problems);
  const written = changed(document.value, changes);
  const constitution = await readConstitution(recipe.constitution, changes);
  problems.push(...unmet(document, constitution));
  if (problems.length > 0) throw new DocumentError(problems);
  const shown = recipe.supervised.demonstrations;
  const demonstrations =
    shown === undefined
      ? []
      : importDemonstrations(await readText(shown), {
          file: shown,
          known: constitution.principles.map(({ id }) => id),
        });
  const compared = recipe.feedback.demonstrations;
  const labelDemonstrations =
    compared === undefined ? [] : (await readDocument(compared, labelDemonstrationsSchema)).value;
  const name = recipe.name ?? nameFrom(file);
  return { file, name, recipe, written, constitution, demonstrations, labelDemonstrations };
}

async function readConstitution(
  reference: Recipe["constitution"],
  { allowModules }: RecipeChanges,
): Promise<Constitution> {
  if (typeof reference === "string") return loadConstitution(reference, { allowModules });
  const read = async (file: string | undefined) => (file === undefined ? undefined : readText(file));
  const { critiques, preferences } = reference;
  return importCaiPaper({
    critiques: await read(critiques),
    preferences: await read(preferences),
    files: reference,
  });
}

/** A file's name as the name of a run, which is part of other files' names. */
function nameFrom(file: string): string {
  const plain = basename(file, extname(file))
    .replace(/[^A-Za-z0-9._-]+/g, "-")
    .replace(/^[^A-Za-z0-9]+/, "");
  return plain.slice(0, 80) || "recipe";
}

type FileReference = Recipe["prompts"]["train"];

/** A copy with what the caller says otherwise. */
function changed(original: Recipe, { seed, limit }: RecipeChanges): Recipe {
  const recipe = structuredClone(original);
  if (seed !== undefined) recipe.seed = seed;
  if (limit === undefined) return recipe;
  const limited = (reference: FileReference): FileReference => {
    const whole = typeof reference === "string" ? { path: reference } : reference;
    return { ...whole, limit: Math.min(limit, whole.limit ?? limit) };
  };
  recipe.prompts.train = limited(recipe.prompts.train);
  if (recipe.prompts.heldOut !== undefined) recipe.prompts.heldOut = limited(recipe.prompts.heldOut);
  return recipe;
}
