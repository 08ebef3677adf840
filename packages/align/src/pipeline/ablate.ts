import { type Estimate, nearest, type ResponseRow, readText } from "@tenet/data";
import type { Store, StoredRow } from "@tenet/runs";
import { parseDocument } from "yaml";
import type { Constitution } from "../constitution/index.ts";
import { judgedResponses, type Metric } from "../evaluate/index.ts";
import { type CheckpointEvidence, measures, stanceByPatterns } from "../evaluate/measures.ts";
import { askedIn } from "./asked-anew.ts";
import { type OpenRecipe, openRecipe, type RecipeChanges } from "./open.ts";

/*
 * What each part of a recipe is good for: the recipe once more without it, over the same store, so that what both have in common runs once,
 * and the two compared prompt by prompt on the same held-out prompts.
 */

/** A recipe without one of its parts. */
export interface Ablation {
  /** What is left out: a setting by its path, or "principle <id>". */
  readonly without: string;
  /** The principle, where it is one. */
  readonly principle?: string;
  readonly open: OpenRecipe;
}

/** A setting or a principle that there is none of. */
export class AblationError extends Error {
  override name = "UsageError";
}

/**
 * The recipe, and once more without each of some settings (by path; `path=value` puts a value in its place) and of some principles.
 *
 * Errors: AblationError for what the recipe does not say, with the nearest; DocumentError, as of `openRecipe`, where the recipe does not
 * stand without it.
 */
export async function ablations(
  file: string,
  { without, principles }: { readonly without: readonly string[]; readonly principles: readonly string[] | "all" },
  changes: Omit<RecipeChanges, "text"> = {},
): Promise<{ readonly whole: OpenRecipe; readonly parts: readonly Ablation[] }> {
  const whole = await openRecipe(file, changes);
  const text = await readText(file);
  const parts: Ablation[] = [];
  for (const setting of without) {
    const open = await openRecipe(file, { ...changes, text: changedText(text, setting) });
    parts.push({ without: setting, open: { ...open, name: nameWithout(whole, setting) } });
  }
  const known = whole.constitution.principles.map(({ id }) => id);
  for (const id of principles === "all" ? known : principles) {
    if (!known.includes(id)) throw unknown("the constitution has no principle", id, known);
    const left = whole.constitution.principles.filter((one) => one.id !== id);
    const constitution = { ...whole.constitution, principles: left };
    if (left.length === 0)
      throw new AblationError(
        `--principles: ${id} is the constitution's only principle; without it there is nothing to align to`,
      );
    parts.push({
      ...{ without: `principle ${id}`, principle: id },
      open: { ...whole, constitution, name: nameWithout(whole, id) },
    });
  }
  return { whole, parts };
}

function changedText(text: string, setting: string): string {
  const [path = "", value] = setting.split(/=(.*)/s);
  const document = parseDocument(text);
  const keys = path.split(".");
  if (value !== undefined) document.setIn(keys, parseDocument(value).contents);
  else if (document.hasIn(keys)) document.deleteIn(keys);
  else throw unknown("the recipe does not say", path, pathsOf(document.toJS()));
  return document.toString();
}

function unknown(what: string, name: string, known: readonly string[]): AblationError {
  const guess = nearest(name, [...known]);
  return new AblationError(
    `${what} ${JSON.stringify(name)}${guess === undefined ? `; it has ${known.join(", ")}` : `; did you mean ${guess}?`}`,
  );
}

/** Every path of a document. */
function pathsOf(value: unknown, path: readonly string[] = []): string[] {
  const own = path.length > 0 ? [path.join(".")] : [];
  if (typeof value !== "object" || value === null || Array.isArray(value)) return own;
  return [...own, ...Object.entries(value).flatMap(([key, inner]) => pathsOf(inner, [...path, key]))];
}

function nameWithout({ name }: OpenRecipe, what: string): string {
  const plain = what.replaceAll(/[^A-Za-z0-9._-]+/g, "-");
  return `${name.slice(0, 40)}.without-${plain.slice(0, 30)}`;
}

/** How a measure of the last checkpoint changes without a part: its value there less its value with all parts, by prompt. */
export interface PartEffect extends Pick<Metric, "name" | "label" | "unit" | "change" | "better"> {
  readonly whole: Estimate;
  readonly without: Estimate;
  readonly effect: Estimate;
}

/** What leaving a part out did. */
export interface PartResult {
  readonly without: string;
  readonly run: string;
  readonly checkpoint: string;
  readonly effects: readonly PartEffect[];
  /** Of the replies that break a principle: how many more without the part, of all that the recipe brought about; absent where it brought nothing about that is shown. */
  readonly share?: number;
  /** Stages whose rows are made one by one: how many there are, how many drew the principle that was left out, and how many were made again. */
  readonly redone: readonly {
    readonly stage: string;
    readonly rows: number;
    readonly drew?: number;
    readonly redone: number;
  }[];
}

/**
 * What each part did, from the runs of a store: the last checkpoint of each run against the whole recipe's, by the whole constitution's checks.
 *
 * Errors: AblationError for a run without replies to held-out prompts.
 */
export async function compareAblations(
  store: Store,
  whole: { readonly run: string; readonly constitution: Constitution },
  parts: readonly { readonly without: string; readonly principle?: string | undefined; readonly run: string }[],
  { seed }: { readonly seed: number },
): Promise<PartResult[]> {
  const options = { seed, stanceOf: stanceByPatterns };
  const seen = evidenceOf(store, whole.run, whole.constitution);
  const [base, last] = [seen[0]!, seen.at(-1)!];
  const brought = measures.find(({ name }) => name === "violations")!.between(last, base, options);
  const results: PartResult[] = [];
  for (const { without, principle, run } of parts) {
    const other = evidenceOf(store, run, whole.constitution).at(-1)!;
    const effects = measures.flatMap((measure): PartEffect[] => {
      const [of, and, effect] = [
        measure.of(last, options),
        measure.of(other, options),
        measure.between(last, other, options),
      ];
      if (!of || !and || !effect) return [];
      const { name, label, unit, change, better } = measure;
      return [{ name, label, unit, change, better, whole: of, without: and, effect }];
    });
    const own = effects.find(({ name }) => name === "violations");
    const shown = brought !== undefined && brought.interval[0] > 0;
    results.push({
      ...{ without, run, checkpoint: other.label, effects },
      ...(own && shown && { share: own.effect.value / brought.value }),
      redone: await redoneOf(store, { whole: whole.run, run, principle }),
    });
  }
  return results;
}

/** The replies of a run's checkpoints to its held-out prompts, in their order. */
function evidenceOf(store: Store, run: string, constitution: Constitution): CheckpointEvidence[] {
  const found = store.stages(run).flatMap(({ name, kind, identity }): CheckpointEvidence[] => {
    const id = /^answers of (\S+)$/.exec(name)?.[1];
    if (id === undefined || kind !== "respond") return [];
    const rows = [...store.rows<ResponseRow>(identity)];
    const model = rows[0]?.origin.models?.generator ?? id;
    return [{ id, label: id, model, responses: judgedResponses(constitution, rows) }];
  });
  if (found.length < 2)
    throw new AblationError(`run ${run} has no replies of two checkpoints to held-out prompts: give prompts.heldOut`);
  return found;
}

/** Of stages that begin from the same inputs in both runs: how many rows were made again, and how many had drawn the principle. */
async function redoneOf(
  store: Store,
  { whole, run, principle }: { whole: string; run: string; principle: string | undefined },
): Promise<PartResult["redone"]> {
  const asked = await askedIn(store, run);
  return store.stages(run).flatMap(({ name, items }) => {
    const redone = asked.get(name);
    const before = store.stage(whole, name);
    // A stage whose rows are all new began from other rows.
    if (redone === undefined || !before || redone.inputs >= items) return [];
    const drew = principle === undefined ? undefined : drewIn(store, before.identity, principle);
    return [{ stage: name, rows: items, redone: redone.inputs, ...(drew !== undefined && { drew }) }];
  });
}

interface Drawn extends StoredRow {
  readonly origin: StoredRow["origin"] & { readonly principles?: readonly string[] };
}

/** Inputs of a stage whose rows name a principle; undefined where no row names any. */
function drewIn(store: Store, identity: string, principle: string): number | undefined {
  let named = false;
  let drew = 0;
  for (const { origin } of store.rows<Drawn>(identity)) {
    named ||= origin.principles !== undefined;
    if (origin.principles?.includes(principle)) drew++;
  }
  return named ? drew : undefined;
}
