import { writeFile } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import type {
  Advice,
  AdvisedChange,
  AdvisedRecipe,
  Criteria,
  Criterion,
  Judged,
  RecipeAdvice,
  RecipeCriteria,
} from "@tenet/align";
import { withStoreIfAny } from "./dry-run.ts";
import { CommandUsageError } from "./errors.ts";
import { formatCount, formatSeconds, shellWord, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import type { StoreOptions } from "./store.ts";

export interface AdviseOptions extends StoreOptions, Partial<Record<Criterion, string>> {
  write?: string;
  allowModules?: boolean;
}

/** `tenet advise`: which arrangement and switches fit, and why; of a recipe also what each would take, and the recipe so arranged. */
export async function adviseCommand(io: Io, file: string | undefined, options: AdviseOptions): Promise<void> {
  const { advise, adviseRecipe, shapesHere, switchSettings, unanswered } = await import("@tenet/align");
  const { json, write, allowModules } = options;
  const { constitution, ...asked } = await answers(options, file);
  if (file === undefined) {
    if (write !== undefined)
      throw new CommandUsageError("--write: expected a recipe to begin with, as the first argument; got none");
    const advice = advise({ ...unanswered, ...asked, constitution });
    const changes = advice.switches.map(({ name }) => switchSettings(advice.criteria)[name]);
    if (json) return printJson(io, { ...advice, changes });
    return say(io, `${adviceText(advice)}\n\nIn a recipe:\n${changesText(advice.arrangements[0]!.name, changes)}\n`);
  }
  if (write !== undefined && dirname(resolve(write)) !== dirname(resolve(file)))
    throw new CommandUsageError(
      `--write: expected a file in ${dirname(file)}, beside the recipe, as the paths in it are relative to it; got ${write}`,
    );
  const shapeOf = shapesHere({ environment: io.env });
  const advised = await withStoreIfAny(io, options, (store) =>
    adviseRecipe(file, asked, { store, shapeOf, ...(allowModules && { allowModules }) }),
  );
  if (write !== undefined) await writeNew(write, advised.best.text);
  if (json) return printJson(io, jsonOf(advised, write));
  say(io, `${adviceText(advised.advice)}\n\n${recipesText(advised)}\n`);
  if (write === undefined) return say(io, `\nA recipe with all of it: --write ${dirname(file)}/<new name>.yaml\n`);
  say(io, `\nwritten to ${write}. Next: ${commandName(io)} run ${shellWord(write)} --dry-run\n`);
}

/** The answers to the criteria. Without a recipe, what its constitution is like is asked too. Errors: CommandUsageError. */
async function answers(
  options: AdviseOptions,
  file: string | undefined,
): Promise<RecipeCriteria & Pick<Criteria, "constitution">> {
  const { criteria, unanswered } = await import("@tenet/align");
  const names = Object.keys(criteria) as Criterion[];
  for (const name of names) {
    const [read, given] = [name === "constitution" && file !== undefined, options[name]];
    const known: readonly string[] = criteria[name];
    if (read && given !== undefined)
      throw new CommandUsageError(
        `--constitution: expected none beside a recipe, whose constitution is read; got ${given}`,
      );
    if (given === undefined && name in unanswered) continue;
    if (!read && (given === undefined || !known.includes(given)))
      throw new CommandUsageError(`--${name}: expected one of ${known.join(", ")}; got ${given ?? "none"}`);
  }
  // Looked at one by one above.
  const answered = names.filter((name) => options[name] !== undefined).map((name) => [name, options[name]]);
  return Object.fromEntries(answered) as RecipeCriteria & Pick<Criteria, "constitution">;
}

async function writeNew(path: string, text: string): Promise<void> {
  try {
    await writeFile(path, text, { flag: "wx" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    throw new CommandUsageError(`--write: expected a new file, as nothing is overwritten; ${path} is there already`);
  }
}

function jsonOf({ advice, recipes, best }: RecipeAdvice, write: string | undefined): object {
  return {
    ...advice,
    recipes: recipes.map(({ text: _, ...rest }) => rest),
    best: best.arrangement,
    ...(write !== undefined && { written: write }),
  };
}

function adviceText({ criteria, arrangements, switches, without, labels, audit, decisive }: Advice): string {
  const [first, ...others] = arrangements;
  const [labeller, ...otherLabels] = labels;
  const asked = Object.entries(criteria).map(([name, answer]) => `${name} ${answer}`);
  const lines = (title: string, some: readonly Judged<string>[]) =>
    some.length === 0 ? [] : ["", title, ...some.flatMap(judgedLines)];
  const flips = decisive.map((one) => {
    const changed = [
      ...(one.arrangement === first!.name ? [] : [one.arrangement]),
      ...(one.labels === labeller!.name ? [] : [`labels by ${one.labels}`]),
    ];
    return `  ${one.criterion} ${one.answer}: ${changed.join(", ")}`;
  });
  return [
    `${first!.name}, for ${asked.join(", ")}`,
    ...lines("Arrangement:", [first!]),
    ...lines("Runners-up:", others),
    ...lines("With these switches:", switches),
    ...lines("Without:", without),
    ...lines("Labels by:", [labeller!]),
    ...(audit ? ["    audited first, on pairs whose better reply is known [docs/labels.md]"] : []),
    ...lines("Rather than by:", otherLabels),
    "",
    ...(flips.length > 0
      ? ["Another arrangement, or another's labels, would be first with", ...flips]
      : ["No other answer to one of the criteria would put another arrangement or another's labels first."]),
  ].join("\n");
}

function judgedLines({ name, score, rules }: Judged<string>): string[] {
  const signed = (value: number) => (value > 0 ? `+${value}` : String(value));
  return [
    `  ${name} (${signed(score)})`,
    ...rules.map(({ weight, because, source }) => `    ${signed(weight)} ${because} [${source}]`),
  ];
}

function changesText(arrangement: string, changes: readonly AdvisedChange[]): string {
  return [`  arrangement: ${arrangement}`, ...changes.map(changeText)].join("\n");
}

function changeText(change: AdvisedChange): string {
  return `  ${change.path.join(".")}: ${"value" in change ? JSON.stringify(change.value) : "taken away"}`;
}

function recipesText({ recipes, best, advice }: RecipeAdvice): string {
  const valid = recipes.filter(({ price }) => price !== undefined);
  const first = advice.arrangements[0]!.name;
  const changes = best.changes.map(changeText);
  return [
    ...(best.arrangement === first
      ? []
      : [`${first} does not go with this recipe; the next that does: ${best.arrangement}`]),
    ...(changes.length > 0 ? ["To change in the recipe:", ...changes] : ["The recipe is so already."]),
    ...best.cautions.map((caution) => `  caution: ${caution}`),
    "",
    "What it takes, at most:",
    table([["arrangement", "tokens in", "tokens out", "trained on", "time", "price"], ...valid.map(priceRow)]),
    ...recipes.flatMap(({ arrangement, problems = [] }) =>
      problems.map((problem) => `${arrangement} does not go with this recipe: ${problem}`),
    ),
  ].join("\n");
}

function priceRow({ arrangement, price }: AdvisedRecipe): string[] {
  const { promptTokens, completionTokens, trainingTokens, seconds, untimed, dollars } = price!;
  const known = seconds > 0 ? formatSeconds(seconds) : "";
  const time = untimed.length === 0 ? known : known === "" ? "?" : `${known} and more`;
  const tokens = [promptTokens, completionTokens, trainingTokens].map(formatCount);
  return [arrangement, ...tokens, time, dollars === undefined ? "" : `$${dollars.toFixed(4)}`];
}
