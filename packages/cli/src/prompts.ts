import { existsSync } from "node:fs";
import { access, constants, rmdir } from "node:fs/promises";
import { join } from "node:path";
import type { PromptCoverage, WrittenPrompt } from "@tenet/align";
import { type ChatOptions, type OpenModel, openSpeakers } from "./chat-models.ts";
import { CommandUsageError } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say } from "./io.ts";
import { writeWhole } from "./report.ts";
import { stoppable } from "./stop.ts";

export interface PromptsOptions
  extends Pick<ChatOptions, "endpoint" | "apiKeyVariable" | "device" | "weights" | "threads" | "memoryBudget"> {
  json?: boolean;
  model?: string;
  out?: string;
  each?: number;
  benign?: number;
  variants?: number;
  heldOut?: number;
  seed?: number;
  beside?: string[];
  allowModules?: boolean;
}

/** `tenet prompts`: a model writes prompts for every principle of a constitution, to train on and to hold out; a table says how each is covered. */
export async function prompts(io: Io, file: string, options: PromptsOptions, openModel?: OpenModel): Promise<void> {
  const { collect, loadConstitution, openDataset, writePrompts } = await import("@tenet/align");
  const { out = "prompts", each = 24, benign = 8, variants = 1, heldOut = 0.25, seed = 0 } = options;
  for (const [name, value, least] of [
    ["each", each, 1],
    ["benign", benign, 0],
    ["variants", variants, 0],
    ["seed", seed, 0],
  ] as const)
    if (value < least) throw new CommandUsageError(`--${name}: expected at least ${least}, got ${value}`);
  if (!(heldOut >= 0 && heldOut < 1))
    throw new CommandUsageError(`--held-out: expected a share from 0 to below 1, got ${heldOut}`);
  const places = { train: join(out, "train.jsonl"), heldOut: join(out, "held-out.jsonl") };
  for (const place of Object.values(places))
    if (existsSync(place))
      throw new CommandUsageError(
        `${place} is there already; name another folder with --out, and this one with --beside ${place}`,
      );
  const constitution = await loadConstitution(file, { allowModules: options.allowModules });
  const beside: string[] = [];
  for (const path of options.beside ?? []) {
    const { rows } = await collect(await openDataset(path, { as: "prompts" }));
    beside.push(...rows.map(({ prompt }) => prompt.at(-1)!.content));
  }
  const fresh = await makePlace(out);
  try {
    const { speakers, close } = await openSpeakers(io, options.model, { ...options, sampling: {} }, openModel);
    const model = speakers[0]!.model;
    const made = await stoppable(io, (signal) =>
      writePrompts(constitution, { model, each, benign, variants, heldOut, seed, beside }, { signal }),
    ).finally(close);
    await writeWhole(places.train, linesOf(made.train));
    await writeWhole(places.heldOut, linesOf(made.heldOut));
    const { coverage } = made;
    if (options.json)
      return printJson(io, { files: places, train: made.train.length, heldOut: made.heldOut.length, coverage });
    say(
      io,
      `${coverageText(coverage)}\n\n${made.train.length} to train on in ${places.train}, ${made.heldOut.length} held out in ${places.heldOut}\nRead them before you train: a model wrote them.\n`,
    );
  } finally {
    // Goes only where it is empty: where nothing was written nothing is left behind.
    if (fresh) await rmdir(out).catch(() => undefined);
  }
}

/**
 * Makes the folder of `--out`, and says whether it is new. Before a model is asked: what it wrote for an hour would have no place.
 * Errors: UsageError where none can be made, or nothing can be written into it.
 */
async function makePlace(out: string): Promise<boolean> {
  const { makeFolder } = await import("@tenet/runs");
  const fresh = !existsSync(out);
  try {
    makeFolder(out);
    await access(out, constants.W_OK);
  } catch (error) {
    throw new CommandUsageError(
      `--out ${out}: expected a folder to write into, or a place where one can be made: ${(error as Error).message}`,
    );
  }
  return fresh;
}

/** As data sets have them; what a prompt was written for is its category and whether it is benign. */
function linesOf(rows: readonly WrittenPrompt[]): string {
  return rows
    .map(({ prompt, category, benign }) => `${JSON.stringify({ prompt, category, ...(benign && { benign }) })}\n`)
    .join("");
}

function coverageText(coverage: readonly PromptCoverage[]): string {
  const rows = coverage.map(({ principle, train, heldOut, benign, checked, duplicates, leaks, unusable, short }) => [
    principle,
    ...[train, heldOut, benign, checked ?? "", duplicates, leaks, unusable, short].map(String),
  ]);
  const head = [
    "principle",
    "train",
    "held out",
    "benign",
    "a check applies",
    "alike",
    "there before",
    "no message",
    "short",
  ];
  return table([head, ...rows]);
}
