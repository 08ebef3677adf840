import { randomBytes } from "node:crypto";
import { existsSync, statSync } from "node:fs";
import { rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Scorecard } from "@tenet/align";
import type { Store } from "@tenet/runs";
import { CommandUsageError } from "./errors.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

/** Where a run's report lies. */
export interface WrittenReport {
  json: string;
  html: string;
}

/** The scorecard that a run ended with, if it did. Errors: ScorecardError for one of another version. */
export async function scorecardOf(store: Store, run: string): Promise<Scorecard | undefined> {
  const output = store.stage(run, "scorecard")?.output;
  if (output === undefined) return undefined;
  const { parseScorecard } = await import("@tenet/align");
  return parseScorecard(JSON.stringify(output));
}

/** Writes a scorecard as `<store>/reports/<run>/scorecard.json` and `.html`, each whole or not at all. */
export async function writeReport(folder: string, run: string, card: Scorecard): Promise<WrittenReport> {
  const { scorecardJson, scorecardPage } = await import("@tenet/align");
  const { makeFolder } = await import("@tenet/runs");
  const place = join(folder, "reports", run);
  makeFolder(place);
  const written = { json: join(place, "scorecard.json"), html: join(place, "scorecard.html") };
  await writeWhole(written.json, scorecardJson(card));
  await writeWhole(written.html, scorecardPage(card));
  return written;
}

/** Errors: UsageError for a file that is there, or that no folder is there for. */
export function expectNew(file: string, what: string): void {
  if (existsSync(file))
    throw new CommandUsageError(`${file} is there already; expected a new file, so that no ${what} are lost`);
  if (!isFolder(dirname(file))) throw noFolder(file);
}

/** A file that is never seen half. Errors: UsageError where it can lie in no folder, or is one. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const partial = `${path}.${randomBytes(6).toString("hex")}.partial`;
  try {
    await writeFile(partial, text, { flag: "wx" });
    await rename(partial, path);
  } catch (error) {
    // Where there is no folder there is nothing to take away either.
    await rm(partial, { force: true }).catch(() => undefined);
    if (!["ENOENT", "ENOTDIR", "EISDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
    throw isFolder(path) ? new CommandUsageError(`${path} is a folder; expected the name of a file`) : noFolder(path);
  }
}

export function isFolder(path: string): boolean {
  return existsSync(path) && statSync(path).isDirectory();
}

/** By the path as it was given: the name that a file has while it is written means nothing to who asked for it. */
function noFolder(file: string): CommandUsageError {
  const folder = dirname(file);
  return new CommandUsageError(
    `${file} cannot be written: ${folder} is no folder; make it, or name a file in a folder that is there`,
  );
}

/** The table, as wide as the terminal. */
export async function scorecardText(io: Io, card: Scorecard): Promise<string> {
  const { scorecardTable } = await import("@tenet/align");
  const { columns } = io.stdout as { columns?: number };
  return scorecardTable(card, { width: columns ?? 100 });
}

/** `tenet report`: the table again, and the page. */
export async function report(io: Io, id: string, options: StoreOptions): Promise<void> {
  await withStore(io, options, async (store) => {
    const run = findRun(store, id);
    const card = await scorecardOf(store, run.id);
    if (!card)
      throw new CommandUsageError(
        `run ${run.id} (${run.status}) has no scorecard yet: it needs held-out prompts (prompts.heldOut) and a run that came to its end`,
      );
    const written = await writeReport(store.folder, run.id, card).catch((error: NodeJS.ErrnoException) => {
      // A store that can only be read still has its scorecard to show.
      if (!["EROFS", "EACCES", "EPERM"].includes(error.code ?? "")) throw error;
      tell(io, `the page could not be written beside the runs: ${error.message}\n`);
      return undefined;
    });
    if (options.json) return printJson(io, { run: run.id, ...written, ...(written ? {} : { scorecard: card }) });
    say(io, `${await scorecardText(io, card)}\n${written ? `report: ${written.html}\n` : ""}`);
  });
}
