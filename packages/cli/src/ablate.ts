import type { PartResult } from "@tenet/align";
import { CommandUsageError } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { executeRecipe, type RunCommandOptions } from "./run-recipe.ts";
import { withStore } from "./store.ts";

export interface AblateOptions extends RunCommandOptions {
  without?: string[];
  principles?: string[];
}

/**
 * `tenet ablate`: a recipe, and once more without each of some parts; one table of what each part did. What the runs have in common runs once.
 */
export async function ablate(
  io: Io,
  file: string,
  options: AblateOptions,
  { version }: { version: string },
): Promise<void> {
  const { ablations, compareAblations } = await import("@tenet/align");
  const { without = [], principles = [], seed, limit, allowModules } = options;
  if (without.length === 0 && principles.length === 0)
    throw new CommandUsageError(
      "expected what to leave out: --without policy.imitate,feedback.weigh, or --principles all (or some ids)",
    );
  const { whole, parts } = await ablations(
    file,
    { without, principles: principles.length === 1 && principles[0] === "all" ? "all" : principles },
    {
      ...(seed !== undefined && { seed }),
      ...(limit !== undefined && { limit }),
      ...(allowModules !== undefined && { allowModules }),
    },
  );
  if (whole.recipe.prompts.heldOut === undefined)
    throw new CommandUsageError(`${file} has no held-out prompts to compare on: add prompts.heldOut`);
  // The events of several runs are no one stream.
  const silent = { ...options, quiet: options.quiet === true || options.json === true, json: false };
  const { id: run } = await executeRecipe(io, whole, silent, { version });
  const made: { without: string; principle: string | undefined; run: string }[] = [];
  for (const [i, { without: part, principle, open }] of parts.entries()) {
    if (!silent.quiet) tell(io, `${i + 1} of ${parts.length}: without ${part}\n`);
    const { id } = await executeRecipe(io, open, silent, { version });
    made.push({ without: part, principle, run: id });
  }
  const results = await withStore(io, options, (store) =>
    compareAblations(store, { run, constitution: whole.constitution }, made, { seed: whole.recipe.seed }),
  );
  if (options.json) return printJson(io, { run, parts: results });
  say(io, `${ablationText(results)}\n`);
}

/** Measures that the table shows; `--json` has all. */
const shown = ["violations", "refusal", "words", "perplexity", "kl"];

/** One table of paired differences: what each measure is without a part, less what it is with all. */
function ablationText(results: readonly PartResult[]): string {
  const measures = shown.flatMap((name) => results[0]?.effects.find((one) => one.name === name) ?? []);
  const lines = results.map(({ without, effects, share, redone }) => [
    without,
    ...measures.map(({ name }) => effectText(effects.find((one) => one.name === name))),
    share === undefined ? "" : `${Math.round(100 * share)}%`,
    redone
      .map(
        ({ stage, rows, drew, redone: again }) =>
          `${stage}: ${again} of ${rows}${drew === undefined ? "" : ` (${drew} drew it)`}`,
      )
      .join("; "),
  ]);
  const head = [
    "without",
    ...measures.map(({ label }) => label.toLowerCase()),
    "of what was brought about",
    "made again",
  ];
  return `without a part, less with all of them, prompt by prompt; 95 % intervals\n${table([head, ...lines])}`;
}

function effectText(one: PartResult["effects"][number] | undefined): string {
  if (!one) return "";
  const { value, interval } = one.effect;
  const scale = one.unit === "share" || one.change === "ratio" ? 100 : 1;
  const text = (x: number) => `${x > 0 ? "+" : ""}${(scale * x).toFixed(1)}`;
  const unit = scale === 100 ? (one.change === "ratio" ? " %" : " points") : "";
  return `${text(value)}${unit}${Number.isFinite(interval[0]) ? ` [${text(interval[0])}, ${text(interval[1])}]` : ""}`;
}
