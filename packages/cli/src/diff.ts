import { stat } from "node:fs/promises";
import type { ConstitutionDiff, RunDiff } from "@tenet/align";
import { CommandUsageError } from "./errors.ts";
import { printable, table } from "./format.ts";
import { type Io, printJson, say } from "./io.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

export interface DiffOptions extends StoreOptions {
  /** Of constitutions. */
  allowModules?: boolean;
}

/** `tenet diff`: two constitutions where both names are files, else two runs. */
export async function diff(io: Io, a: string, b: string, options: DiffOptions): Promise<void> {
  const [first, second] = [await isFile(a), await isFile(b)];
  if (first && second) return diffFiles(io, a, b, options);
  if (first || second)
    throw new CommandUsageError(`${first ? a : b} is a file and ${first ? b : a} is none: give two files, or two runs`);
  const { diffRuns } = await import("@tenet/align");
  await withStore(io, options, async (store) => {
    const found = await diffRuns(store, findRun(store, a).id, findRun(store, b).id);
    if (options.json) return printJson(io, found);
    say(io, `${runsText(found)}\n`);
  });
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false;
}

async function diffFiles(io: Io, a: string, b: string, { json, allowModules }: DiffOptions): Promise<void> {
  const { constitutionHash, diffConstitutions, loadConstitution } = await import("@tenet/align");
  const [before, after] = [await loadConstitution(a, { allowModules }), await loadConstitution(b, { allowModules })];
  const found = diffConstitutions(before, after);
  if (json) return printJson(io, { constitutions: [constitutionHash(before), constitutionHash(after)], ...found });
  const name = ({ name, version }: typeof before) => `${name} ${version}`;
  const heading = `a  ${a} (${name(before)})\nb  ${b} (${name(after)})`;
  say(io, `${heading}\n\n${printable(principlesText(found))}\n`);
}

/** Principles that came, went and changed; of a change, each field before and after. */
function principlesText({ added, removed, changed }: ConstitutionDiff): string {
  const lines = [
    ...removed.map(({ id, text }) => `- ${id}: ${text}`),
    ...added.map(({ id, text }) => `+ ${id}: ${text}`),
    ...changed.flatMap(({ id, fields, before, after }) => [
      `~ ${id}`,
      ...fields.flatMap((field) => [
        `    ${field}`,
        `      - ${valueText(before[field as keyof typeof before])}`,
        `      + ${valueText(after[field as keyof typeof after])}`,
      ]),
    ]),
  ];
  return lines.length > 0 ? lines.join("\n") : "the principles are the same";
}

function runsText({ runs, settings, constitution, stages, scores }: RunDiff): string {
  const parts = [`a  ${runs[0]}\nb  ${runs[1]}`];
  // The hash says that the constitution differs; the principles say how.
  const told = settings.filter(({ setting }) => setting !== "constitutionHash" || constitution === undefined);
  parts.push(
    told.length > 0
      ? table([["setting", "a", "b"], ...told.map(({ setting, a, b }) => [setting, valueText(a), valueText(b)])])
      : "the settings are the same",
  );
  if (constitution) parts.push(principlesText(constitution));
  parts.push(table([["stage", ""], ...stages.map(({ stage, state }) => [stage, state])]));
  if (scores.length > 0)
    parts.push(
      table([
        ["checkpoint", "measure", "a", "b"],
        ...scores.map(({ checkpoint, label, unit, a, b }) => [
          checkpoint,
          label,
          scoreText(a, unit),
          scoreText(b, unit),
        ]),
      ]),
    );
  return printable(parts.join("\n\n"));
}

function valueText(value: unknown): string {
  if (value === undefined) return "—";
  return typeof value === "string" ? value : JSON.stringify(value);
}

type Score = RunDiff["scores"][number]["a"];

function scoreText(score: Score, unit: RunDiff["scores"][number]["unit"]): string {
  if (score === undefined) return "—";
  const share = unit === "share";
  const show = (value: number | null) => (value === null ? "?" : share ? (100 * value).toFixed(0) : value.toFixed(2));
  const [low, high] = score.interval;
  return `${show(score.value)}${share ? "%" : ""} [${show(low)}, ${show(high)}]`;
}
