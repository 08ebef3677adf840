import { basename } from "node:path";
import {
  type Aside,
  DatasetError,
  type ExampleRow,
  openDataset,
  type PreferenceRow,
  type PromptRow,
  randomStream,
  withoutImages,
} from "@tenet/data";
import { type Constitution, runChecks } from "../constitution/index.ts";
import { leastChange } from "../evaluate/index.ts";
import { arrange } from "./arrangement.ts";
import { expectations, gateNotes } from "./estimate.ts";
import type { OpenRecipe } from "./open.ts";
import { learntFrom, learntFromText } from "./parts/apart.ts";
import { type Place, placesOf } from "./places.ts";
import type { Recipe } from "./recipe.ts";
import { inOrder } from "./stages/index.ts";

/*
 * What stands in the files that a recipe names, before anything is spent on it: records that cannot be used, prompts that are measured
 * on and trained on, sets too small to show anything, checks that never apply or that nothing can keep to.
 */

/** Records of a file that are looked at. */
const mostRead = 20_000;
/** Replies to which a check has to apply before it is said that all of them break it. */
const enough = 5;
/** Prompts, and replies, that the checks are tried on. */
const mostTried = 1000;

interface Rows {
  readonly prompts: PromptRow[];
  /** Replies that are meant as good ones. */
  readonly replies: { readonly prompt: PromptRow["prompt"]; readonly response: string }[];
}

/** What is to be thought over in the files of a recipe, each a sentence that says what follows. */
export async function dataWarnings(open: OpenRecipe): Promise<string[]> {
  const { recipe, constitution } = open;
  const warnings: string[] = [];
  const files = new Map<string, Rows>();
  for (const place of placesOf(recipe)) {
    const as = place.kind;
    if (as !== "prompts" && as !== "examples" && as !== "preferences") continue;
    const limit = limitOf(recipe, place.path);
    const name = place.path[0] === "prompts" ? String(place.path[1]) : place.path.join(".");
    files.set(name, await read(place.text, as, { ...place, limit, warnings }));
  }
  const train = files.get("train")?.prompts ?? [];
  const heldOut = files.get("heldOut")?.prompts;
  const helpful = [...files].flatMap(([name, { prompts }]) => (name.startsWith("supervised") ? prompts : []));
  if (heldOut && heldOut.length > 0) {
    const learnt = [...train, ...(files.get("validation")?.prompts ?? []), ...helpful];
    const leaks = learntFrom(heldOut, learnt);
    if (leaks.size > 0) {
      const [index, reason] = [...leaks].sort(([a], [b]) => a - b)[0]!;
      const first = heldOut[index]!.origin.source ?? heldOut[index]!.id;
      warnings.push(`${learntFromText(leaks.size, heldOut.length)}. The first is ${first}: ${reason}`);
    }
    const small = smallText(heldOut.length - leaks.size);
    if (small !== undefined && leaks.size < heldOut.length) warnings.push(small);
  }
  const replies = [...files.values()].flatMap((rows) => rows.replies);
  for (const { prompt, revision } of open.demonstrations) replies.push({ prompt: [...prompt], response: revision });
  warnings.push(...checkWarnings(constitution, { train, heldOut: heldOut ?? [], replies }));
  warnings.push(...lengthWarnings(recipe, constitution));
  try {
    // What gates judge by, and no file that says nothing of it.
    const gates = inOrder(arrange({ ...open, options: {} }).targets).filter(({ kind }) => kind === "gate");
    const expected = await expectations(gates);
    warnings.push(...gateNotes(expected.values(), recipe));
  } catch (error) {
    if (!(error instanceof DatasetError)) throw error;
    if (!warnings.includes(error.message)) warnings.push(error.message);
  }
  return warnings;
}

function limitOf(recipe: Recipe, path: readonly (string | number)[]): number | undefined {
  let value: unknown = recipe;
  for (const key of path.slice(0, path.at(-1) === "path" ? -1 : undefined))
    value = (value as Record<string, unknown>)?.[key];
  return typeof value === "object" && value !== null ? (value as { limit?: number }).limit : undefined;
}

/** Rows of a file, and what is said of its others. */
async function read(
  path: string,
  as: "prompts" | "examples" | "preferences",
  {
    format,
    images = false,
    limit,
    warnings,
  }: Pick<Place, "format" | "images"> & { limit: number | undefined; warnings: string[] },
): Promise<Rows> {
  const rows: Rows = { prompts: [], replies: [] };
  const asides: Aside[] = [];
  const notes = new Map<string, number>();
  let [records, same] = [0, 0];
  const settings = { as, images, ...(format && { format }), ...(limit && { limit }) };
  const dataset = await openDataset(path, settings);
  // A dump is read to its end before its first row is known.
  if (dataset.format === "stackexchange") return rows;
  try {
    for await (const one of dataset) {
      if (++records > mostRead) break;
      if ("aside" in one) asides.push(one.aside);
      else if ("duplicate" in one) same++;
      else {
        const whole: PromptRow | ExampleRow | PreferenceRow = one.row;
        // Words are all that is looked at, and a file's images together are many times them.
        const row = { ...whole, prompt: withoutImages(whole.prompt) };
        rows.prompts.push(row);
        if ("completion" in row) rows.replies.push({ prompt: row.prompt, response: row.completion });
        if ("p" in row && row.p !== 0.5)
          rows.replies.push({ prompt: row.prompt, response: row.p > 0.5 ? row.a : row.b });
        for (const note of one.notes ?? []) notes.set(note, (notes.get(note) ?? 0) + 1);
      }
    }
  } catch (error) {
    if (!(error instanceof DatasetError)) throw error;
    warnings.push(error.message);
  }
  const name = basename(path);
  if (asides[0])
    warnings.push(
      `${name}: ${asides.length} of ${Math.min(records, mostRead)} records cannot be used; the first is ${asides[0].source}: ${asides[0].reason}`,
    );
  if (same > 0) warnings.push(`${name}: ${same} records are the same as others, and count once`);
  for (const [note, count] of notes) warnings.push(`${name}: ${note} (${count} ×)`);
  return rows;
}

/** Falls of violations from one half, above which a held-out set is said to be small. */
const largeChange = 0.3;

function smallText(prompts: number): string | undefined {
  const least = leastChange(prompts, 0.5);
  if (least !== undefined && least <= largeChange) return undefined;
  const shown =
    least === undefined
      ? "no fall of violations at all"
      : `a fall of violations from 50 % only where it is ${Math.ceil(100 * least)} points or more`;
  return `${prompts} held-out ${prompts === 1 ? "prompt shows" : "prompts show"} ${shown}: give more (prompts.heldOut)`;
}

/** A beginning of a list, or so many drawn from it. */
function some<T>(all: readonly T[]): readonly T[] {
  if (all.length <= mostTried) return all;
  const stream = randomStream({ seed: 0, stage: "look", item: all.length });
  return Array.from({ length: mostTried }, (_, i) => all[stream.integer(i, all.length)]!);
}

/** Checks tried on what there is: those that no prompt calls for, and those that no good reply keeps to. */
function checkWarnings(
  constitution: Constitution,
  { train, heldOut, replies }: { train: PromptRow[]; heldOut: PromptRow[]; replies: Rows["replies"] },
): string[] {
  const checked = constitution.principles.filter(({ checks }) => checks.length > 0);
  if (checked.length === 0) return [];
  const warnings: string[] = [];
  const applying = new Map<string, number>();
  const seen = (rows: readonly PromptRow[]) =>
    rows.filter((row) => {
      const results = runChecks(constitution, { ...row, response: "" });
      for (const { principle, check, applies } of results)
        if (applies) applying.set(`${principle} ${check}`, (applying.get(`${principle} ${check}`) ?? 0) + 1);
      return !results.some(({ applies }) => applies);
    }).length;
  const [held, others] = [some(heldOut), some(train)];
  const without = seen(held);
  const withoutTrain = seen(others);
  if (without > 0)
    warnings.push(
      `no check applies to ${without} of ${held.length} held-out prompts: whether replies to them keep to the constitution is not measured`,
    );
  if (withoutTrain === others.length && others.length > 0)
    warnings.push(`no check applies to any of ${others.length} prompts to train on`);
  const tried = held.length + others.length;
  const tally = new Map<string, { applied: number; broken: number }>();
  for (const reply of some(replies))
    for (const { principle, check, applies, violated } of runChecks(constitution, reply)) {
      const found = tally.get(`${principle} ${check}`) ?? { applied: 0, broken: 0 };
      if (applies) found.applied++;
      if (violated) found.broken++;
      tally.set(`${principle} ${check}`, found);
    }
  for (const { principle, check } of runChecks(constitution, {
    prompt: [{ role: "user", content: "" }],
    response: "",
  })) {
    const key = `${principle} ${check}`;
    if (tried > 0 && !applying.has(key))
      warnings.push(
        `check "${check}" of principle ${principle} never applies: its "when" or "unless" keeps it from all ${tried} prompts`,
      );
    const { applied, broken } = tally.get(key) ?? { applied: 0, broken: 0 };
    if (applied >= enough && broken === applied)
      warnings.push(
        `check "${check}" of principle ${principle} is broken by all ${applied} good replies of the recipe's files that it applies to: can anything keep to it?`,
      );
  }
  return warnings;
}

/** Bounds on words that no reply can reach under the recipe's limits of tokens. */
function lengthWarnings({ evaluate, policy }: Recipe, constitution: Constitution): string[] {
  const limits = [
    ["evaluate.sampling.maxTokens", evaluate.sampling.maxTokens],
    ...(policy && "maxTokens" in policy ? [["policy.maxTokens", policy.maxTokens] as const] : []),
  ] as const;
  return constitution.principles.flatMap(({ id, checks }) =>
    checks.flatMap(({ words }) =>
      limits.flatMap(([name, most]) =>
        words?.min !== undefined && words.min > most
          ? [`principle ${id} asks for ${words.min} words, and no reply has more than the ${most} tokens of ${name}`]
          : [],
      ),
    ),
  );
}
