import { randomBytes } from "node:crypto";
import { copyFile, mkdir, readdir, readFile, rename, rm, rmdir, stat, writeFile } from "node:fs/promises";
import { basename, dirname, extname, join, relative, resolve } from "node:path";
import { CommandUsageError } from "./errors.ts";
import { shellWord } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { type Preset, presetFiles, presets, presetsFolder } from "./presets.ts";

export interface InitOptions {
  preset?: Preset;
  json?: boolean;
}

/** The recipe that projects begin with, unless a preset has one of its own. */
const template = "clinical-desk";

/** `tenet init`: a project of one's own, which runs as it is and is there to be changed. */
export async function init(io: Io, folder: string | undefined, options: InitOptions): Promise<void> {
  const preset = options.preset ?? presets[0]!;
  const place = resolve(folder ?? preset);
  await requireRoom(place);
  const partial = join(dirname(place), `.${basename(place)}.${randomBytes(6).toString("hex")}.partial`);
  await mkdir(join(partial, "prompts"), { recursive: true });
  let files: string[];
  try {
    files = await writeProject(partial, preset, basename(place));
    // Windows renames onto nothing, not even an empty folder.
    await rmdir(place).catch(() => undefined);
    await rename(partial, place);
  } catch (error) {
    await rm(partial, { recursive: true, force: true });
    throw error;
  }
  if (options.json) return printJson(io, { folder: place, preset, files });
  const recipe = shellWord(relative(process.cwd(), join(place, "recipe.yaml")));
  say(io, `${place}: ${presetFiles[preset].about}\n${files.map((file) => `  ${file}`).join("\n")}\n\n`);
  const tenet = commandName(io);
  say(io, `Next: ${tenet} validate ${recipe}\n      ${tenet} run ${recipe} --dry-run\n      ${tenet} run ${recipe}\n`);
}

async function requireRoom(place: string): Promise<void> {
  const facts = await stat(place).catch(() => undefined);
  if (!facts) return;
  if (!facts.isDirectory()) throw new CommandUsageError(`${place} is a file; expected a folder, or nothing yet`);
  if ((await readdir(place)).length > 0)
    throw new CommandUsageError(`${place} is not empty, and nothing in it is overwritten; name another folder`);
}

/** Writes the project's files and gives their names back. */
async function writeProject(into: string, preset: Preset, folder: string): Promise<string[]> {
  const from = presetsFolder();
  const { constitution, prompts, about } = presetFiles[preset];
  const recipes = await readdir(join(from, "recipes"));
  const own = `${preset}.quick.yaml`;
  const recipe = await readFile(join(from, "recipes", recipes.includes(own) ? own : `${template}.quick.yaml`), "utf8");
  const demonstrations = (await readdir(join(from, "demonstrations"))).includes(`${preset}.yaml`);
  const development = (await readdir(join(from, "prompts", prompts))).includes("development.jsonl");
  const principles = `constitution${extname(constitution)}`;
  const copied = {
    [principles]: join("constitutions", constitution),
    "prompts/train.jsonl": join("prompts", prompts, "train.jsonl"),
    "prompts/held-out.jsonl": join("prompts", prompts, "held-out.jsonl"),
    ...(development && { "prompts/development.jsonl": join("prompts", prompts, "development.jsonl") }),
    "prompts/helpful.jsonl": join("prompts", "helpful.jsonl"),
    "prompts/neutral.yaml": join("prompts", "neutral.yaml"),
    ...(demonstrations && { "demonstrations.yaml": join("demonstrations", `${preset}.yaml`) }),
  };
  for (const [name, source] of Object.entries(copied)) await copyFile(join(from, source), join(into, name));
  const text = ownRecipe(recipe, { name: nameOf(folder), constitution: principles, demonstrations, development });
  await writeFile(join(into, "recipe.yaml"), text);
  await writeFile(join(into, "README.md"), readme(preset, about, principles, Object.keys(copied)));
  return [...Object.keys(copied), "recipe.yaml", "README.md"];
}

/** A folder's name as the name of a run may be; every recipe is called recipe.yaml, and would tell runs of projects apart by nothing. */
function nameOf(folder: string): string {
  return folder
    .replaceAll(/[^A-Za-z0-9._-]+/g, "-")
    .replaceAll(/^[^A-Za-z0-9]+|-+$/g, "")
    .slice(0, 80);
}

/** A recipe of ours with the paths of a project, and without what the project has not. */
function ownRecipe(
  recipe: string,
  project: { name: string; constitution: string; demonstrations: boolean; development: boolean },
): string {
  const body = recipe
    .replace(/^(#.*\n)+/, "")
    // Without prompts of its own to validate on, a share of those to train on.
    .replace(/^( *validation: \{) path: [^,}]*development\.jsonl/m, project.development ? "$&" : "$1 share: 0.15")
    .replace(/\.\.\/constitutions\/[\w.-]+/g, project.constitution)
    .replace(/\.\.\/prompts\/(?:\w+\/)?(?=[\w-]+\.\w+)/g, "prompts/");
  const own = project.demonstrations
    ? body.replace(/\.\.\/demonstrations\/[\w.-]+/g, "demonstrations.yaml")
    : body
        .replace(/^ *demonstrations:.*\n/m, "")
        .replace(/^( *baselines: \[)demonstrations, /m, "$1")
        // A principle of the constitution that the recipe was written for.
        .replace(/^ *mustHold:.*\n/m, "");
  return `# tenet run recipe.yaml\n# Paths are relative to this file. \`tenet run recipe.yaml --dry-run\` shows every setting that can be added.\n${project.name === "" ? "" : `name: ${JSON.stringify(project.name)}\n`}${own}`;
}

function readme(preset: Preset, about: string, constitution: string, files: readonly string[]): string {
  const meanings: Record<string, string> = {
    [constitution]: "the principles; checks in them are what a program can tell for certain",
    "prompts/train.jsonl": "what the model answers, criticises and learns from",
    "prompts/held-out.jsonl": "what the scorecard is made on, and nothing else: keep the two apart",
    "prompts/development.jsonl": "what trainings are watched on: apart from both",
    "prompts/helpful.jsonl": "ordinary requests, so that the model stays what it was elsewhere",
    "prompts/neutral.yaml": "texts that tell what alignment cost",
    "demonstrations.yaml": "worked critiques and revisions, shown to the model",
  };
  return `# A policy of your own

Begun from the preset \`${preset}\`: ${about}.

    tenet validate recipe.yaml          # is everything in order?
    tenet run recipe.yaml --dry-run     # what will it take?
    tenet run recipe.yaml --limit 8     # a first try; then without --limit
    tenet report latest                 # the scorecard
    tenet chat --run latest --compare base,sl,rl "a question"
    tenet export latest model           # the adapter, datasets and a model card

A run that stops continues with the same command. A changed principle redoes only what it touched.

What to change, in this order:

${files.map((file) => `- \`${file}\`: ${meanings[file]}`).join("\n")}
- \`recipe.yaml\`: how it is done
`;
}
