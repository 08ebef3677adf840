import { basename, dirname, extname, resolve } from "node:path";
import {
  DocumentError,
  type ParsedDocument,
  type Path,
  type Problem,
  parseDocument,
  readDocument,
  readText,
} from "@tenet/data";
import { z } from "zod";
import {
  type Constitution,
  type Demonstration,
  importCaiPaper,
  importDemonstrations,
  loadConstitution,
} from "../constitution/index.ts";
import { personasSchema } from "../feedback/index.ts";
import { type LabelDemonstration, labelDemonstrationsSchema } from "../judge/index.ts";
import { contradictions, unmet } from "./contradictions.ts";
import { changed, type Otherwise } from "./otherwise.ts";
import { find, type Place, placesOf } from "./places.ts";
import { type Recipe, recipeSchema } from "./recipe.ts";
import { planOf } from "./rounds.ts";
import { countRows } from "./sizes.ts";

/** A recipe that was read and checked, with everything it names found. */
export interface OpenRecipe {
  readonly file: string;
  readonly name: string;
  /** With defaults filled in and paths made absolute. */
  readonly recipe: Recipe;
  /** With defaults filled in and paths as they are written: the same wherever the files lie. */
  readonly written: Recipe;
  readonly constitution: Constitution;
  /** Checks that nothing but the scorecard runs. */
  readonly unseen?: Constitution;
  /** Worked critiques and revisions. */
  readonly demonstrations: readonly Demonstration[];
  /** Worked comparisons, for the labeller. */
  readonly labelDemonstrations: readonly LabelDemonstration[];
  /** Who the people of dialogues are. */
  readonly personas: readonly string[];
}

export interface RecipeChanges extends Otherwise {
  /** Import the modules that the constitution's checks name: they are programs. */
  readonly allowModules?: boolean;
  /** Instead of what the file holds. */
  readonly text?: string;
}

/**
 * Reads a recipe, its constitution, and the beginnings of the files it names.
 *
 * Errors: DocumentError with every problem at once, of the recipe and of what it names: file, line, what was expected, what stands
 * there and the nearest valid name.
 */
export async function openRecipe(file: string, changes: RecipeChanges = {}): Promise<OpenRecipe> {
  const folder = dirname(resolve(file));
  const text = changes.text ?? (await readText(file));
  const document = await readRecipe(text, file, changes);
  const problems: Problem[] = [...contradictions(document)];
  const recipe = changed(document.value, changes);
  problems.push(...(await findAll(document, placesOf(recipe), folder)));
  if (problems.length === 0) problems.push(...(await tooFew(document, recipe)));
  const written = changed(document.value, changes);
  const named = (key: string) => !problems.some(({ path }) => path[0] === key);
  const constitution = named("constitution")
    ? await collected(problems, () => readConstitution(recipe.constitution, changes))
    : undefined;
  const { unseen: other } = recipe.evaluate;
  const unseen =
    other === undefined || !named("evaluate")
      ? undefined
      : await collected(problems, () => loadConstitution(other, changes));
  if (constitution) problems.push(...unmet(document, constitution, unseen));
  const { demonstrations: shown } = recipe.supervised;
  const demonstrations =
    shown === undefined || !constitution || !named("supervised")
      ? []
      : await collected(problems, async () =>
          importDemonstrations(await readText(shown), {
            file: shown,
            known: constitution.principles.map(({ id }) => id),
          }),
        );
  const { demonstrations: compared } = recipe.feedback;
  const labelDemonstrations =
    compared === undefined || !named("feedback")
      ? []
      : await collected(problems, async () => (await readDocument(compared, labelDemonstrationsSchema)).value);
  const { dialogue } = recipe.prompts;
  const personas =
    dialogue === undefined || !named("prompts")
      ? []
      : await collected(problems, async () => (await readDocument(dialogue.personas, personasSchema)).value);
  if (problems.length > 0 || !constitution || !demonstrations || !labelDemonstrations || !personas)
    throw new DocumentError(problems);
  const name = recipe.name ?? nameFrom(file);
  return {
    file,
    name,
    recipe,
    written,
    constitution,
    ...(unseen && { unseen }),
    demonstrations,
    labelDemonstrations,
    personas,
  };
}

/** What a recipe's file says. Errors: DocumentError, with what else is wrong. */
async function readRecipe(text: string, file: string, changes: RecipeChanges): Promise<ParsedDocument<Recipe>> {
  try {
    return parseDocument(text, { file, schema: recipeSchema });
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    throw new DocumentError([...error.problems, ...(await furtherProblems(text, file, error.problems, changes))]);
  }
}

/** What a document holds; undefined where it is none, its problems with the others. */
async function collected<Value>(problems: Problem[], read: () => Promise<Value>): Promise<Value | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof DocumentError)) throw error;
    problems.push(...error.problems);
    return undefined;
  }
}

/** Finds what a recipe names, and gives the problems with it back. */
async function findAll(
  document: Pick<ParsedDocument<unknown>, "problem">,
  places: readonly Place[],
  folder: string,
): Promise<Problem[]> {
  const problems: Problem[] = [];
  for (const place of places) {
    const found = await find(place, folder);
    if (typeof found === "string") place.set(found);
    else problems.push(document.problem(place.path, found));
  }
  return problems;
}

/**
 * What else is wrong beside what a recipe's schema finds, so that mistakes do not come in rounds: files that it names where the schema
 * has nothing to say, and what stands in its constitution.
 */
async function furtherProblems(
  text: string,
  file: string,
  known: readonly Problem[],
  changes: RecipeChanges,
): Promise<Problem[]> {
  const folder = dirname(resolve(file));
  const problems: Problem[] = [];
  const document = await collected([], async () => parseDocument(text, { file, schema: z.looseObject({}) }));
  if (!document) return problems;
  const mappings = ["prompts", "roles", "supervised", "feedback", "preferenceModel", "costModel", "evaluate"];
  const given = document.value;
  const whole = mappings.every((key) => typeof (given[key] ?? {}) === "object" && given[key] !== null);
  if (!whole) return problems;
  const recipe = structuredClone({ ...Object.fromEntries(mappings.map((key) => [key, {}])), ...given });
  const wrong = (path: Path) =>
    known.some((problem) => problem.path.every((key, i) => key === path[i]) && problem.path.length > 0);
  const places = placesOf(recipe as unknown as Recipe).filter(({ path }) => !wrong(path));
  problems.push(...(await findAll(document, places, folder)));
  const { constitution } = recipe as { constitution?: unknown };
  if (typeof constitution === "string" && ![...known, ...problems].some(({ path }) => path[0] === "constitution"))
    await collected(problems, () => readConstitution(constitution, changes));
  return problems;
}

/** Whether rounds that divide the prompts among themselves have one for each of their steps. */
async function tooFew(document: ParsedDocument<Recipe>, recipe: Recipe): Promise<Problem[]> {
  const { prompts, rounds, steps } = planOf(recipe);
  if (prompts !== "fresh") return [];
  const least = rounds * steps.length;
  const { rows } = await countRows(recipe.prompts.train, "prompts");
  if (rows >= least) return [];
  const expected = `"same", or at least ${least} prompts in prompts.train: each of ${rounds} rounds has some of its own`;
  return [document.problem(["arrangement", "prompts"], { expected, got: `"fresh" and ${rows} prompts` })];
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
