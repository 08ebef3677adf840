import type { AuditReport, OpenRecipe, RecipeChanges, RunOptions, Scorecard } from "@tenet/align";
import { auditText } from "./audit.ts";
import { dryRun } from "./dry-run.ts";
import { CommandUsageError, EXIT, exitCodeOf } from "./errors.ts";
import { formatSeconds, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { downloadProgress } from "./progress.ts";
import { scorecardOf, scorecardText, writeReport } from "./report.ts";
import { runProgress } from "./run-progress.ts";
import { stoppable } from "./stop.ts";
import { type StoreOptions, storeFolder, storeText, withStore } from "./store.ts";

export interface RunCommandOptions extends StoreOptions {
  limit?: number;
  seed?: number;
  device?: NonNullable<RunOptions["device"]>;
  threads?: number;
  memoryBudget?: number;
  offline?: boolean;
  allowModules?: boolean;
  dryRun?: boolean;
  /** With `dryRun`: print the recipe with every default too. */
  defaults?: boolean;
  /** Nothing on stderr but warnings and errors. */
  quiet?: boolean;
  /** End with 3 where nothing can be recommended over the model that training began with, or a principle that must hold does not. */
  gate?: boolean;
}

/**
 * `tenet run`: runs a recipe, or continues it. Ends with the scorecard, where the report lies, and how to talk to the model.
 * `only` names the last stages to execute instead of all; `evaluate` the adapters to make a scorecard of instead of training.
 * A refused audit is told like one that passed, before its GateError is thrown.
 */
export async function runRecipe(
  io: Io,
  file: string,
  options: RunCommandOptions,
  {
    version,
    only,
    evaluate,
  }: { version: string; only?: readonly string[]; evaluate?: Readonly<Record<string, string>> },
): Promise<void> {
  const open = await openChanged(file, options);
  // Before anything runs: the first local model may be opened hours later.
  if (options.threads !== undefined) (await import("@tenet/tensor")).checkThreads(options.threads);
  if (options.defaults && !options.dryRun)
    throw new CommandUsageError("--defaults belongs to --dry-run, which runs nothing");
  const audit = only?.includes("audit") === true;
  if (audit) requireAudit(open);
  if (evaluate || options.gate) requireHeldOut(open);
  if (options.dryRun) return dryRun(io, open, options);
  const { id, refusal } = await executeRecipe(io, open, options, { version, only, evaluate });
  await tellResult(io, id, { audit, chat: evaluate === undefined }, options);
  if (refusal !== undefined) throw refusal;
  if (options.gate) await requireBetter(io, id, options);
}

/**
 * Runs an open recipe to its end and shows how it goes; gives the run's id, and what an audit that was asked for alone was refused by.
 * Rejects with what stopped the run.
 */
export async function executeRecipe(
  io: Io,
  open: OpenRecipe,
  options: RunCommandOptions,
  {
    version,
    only,
    evaluate,
  }: {
    version: string;
    only?: readonly string[] | undefined;
    evaluate?: Readonly<Record<string, string>> | undefined;
  },
): Promise<{ id: string; refusal?: unknown }> {
  const folder = storeFolder(io, options);
  const { startRun } = await import("@tenet/align");
  const progress = runProgress(io, { quiet: options.quiet === true });
  const download = downloadProgress(io);
  const silent = options.json === true || options.quiet === true;
  const pool: RunOptions = { ...modelOptions(io, options), onProgress: silent ? () => {} : download.show };
  const audit = only?.includes("audit") === true;
  return stoppable(
    io,
    async (signal) => {
      const versions = { tenet: version, node: process.versions.node };
      const run = startRun(open, {
        ...pool,
        ...(only && { only }),
        ...(evaluate && { evaluate }),
        store: folder,
        versions,
        signal,
      });
      if (!options.json) progress.line(`run ${run.id} in ${folder}`);
      try {
        for await (const event of run.events) {
          if (options.json) printJson(io, event);
          else progress.show(event);
        }
        await run.finished;
        return { id: run.id };
      } catch (error) {
        if (audit && exitCodeOf(error) === EXIT.refused) return { id: run.id, refusal: error };
        throw error;
      } finally {
        download.end();
        progress.end();
      }
    },
    () => {
      if (!options.json)
        progress.line("stopping; the same command continues where this one stopped (Ctrl-C again ends at once)");
    },
  );
}

/** Errors: GateError where `gateFault` has something to say. */
async function requireBetter(io: Io, id: string, options: StoreOptions): Promise<void> {
  const { GateError } = await import("@tenet/align");
  await withStore(io, options, async (store) => {
    const fault = gateFault(await scorecardOf(store, id));
    if (fault !== undefined) throw new GateError(`--gate: run ${id}: ${fault}`);
  });
}

/**
 * Why a run is not what `--gate` lets pass: nothing is recommended over what training began with, or a principle that must hold is broken, or
 * nothing tells whether it is.
 */
export function gateFault(
  card: Pick<Scorecard, "better" | "checkpoints" | "mustHold" | "unseen"> | undefined,
): string | undefined {
  if (!card) return "there is no scorecard, which prompts.heldOut asks for";
  if (!card.better) return `nothing is shown to be better than ${card.checkpoints[0]?.label ?? "the model"}`;
  const broken = card.mustHold.filter(({ value }) => value > 0).map(({ principle }) => principle);
  if (broken.length > 0) return `of the principles that must hold, ${broken.join(", ")} does not`;
  const { unseen = [] } = card;
  return unseen.length > 0
    ? `of the principles that must hold, nothing tells whether ${unseen.join(", ")} does: no check of it applies to any held-out reply`
    : undefined;
}

/** Principles that are shown to be broken still, at most. */
const mostBreaks = 3;

/** What the checkpoint that is to be used still breaks: principles by how often and how badly, each with one reply. Empty where it breaks none. */
export function breaksText({ checkpoints, recommended, principles, breaks = [] }: Scorecard): string {
  const meant = recommended ?? checkpoints.at(-1)?.id;
  const label = checkpoints.find(({ id }) => id === meant)?.label;
  const worst = breaks
    .filter(({ checkpoint }) => checkpoint === meant)
    .flatMap((one) => {
      const rate = principles.find(({ checkpoint, principle }) => checkpoint === meant && principle === one.principle);
      return rate ? [{ ...one, rate: rate.value }] : [];
    })
    .sort((a, b) => b.rate * b.severity - a.rate * a.severity)
    .slice(0, mostBreaks);
  if (worst.length === 0) return "";
  const short = (text: string) => {
    const line = text.replaceAll(/\s+/g, " ").trim();
    return line.length > 120 ? `${line.slice(0, 119)}…` : line;
  };
  const lines = worst.map(
    ({ principle, rate, prompt, response }) =>
      `  ${principle}, ${Math.round(100 * rate)}% of the replies it applies to\n    ${short(prompt.at(-1)!.content)}\n    → ${short(response)}\n`,
  );
  return `what ${label} still breaks:\n${lines.join("")}\n`;
}

/** Errors: UsageError with what the recipe lacks. */
function requireAudit({ file, recipe }: OpenRecipe): void {
  if (recipe.feedback.audit === undefined)
    throw new CommandUsageError(
      `${file} says nothing to audit on: add feedback.audit with a file of pairs whose better reply is known, e.g. feedback: { audit: { path: known.jsonl } }`,
    );
}

/** Errors: UsageError where there is nothing to measure on. */
function requireHeldOut({ file, recipe }: OpenRecipe): void {
  if (recipe.prompts.heldOut === undefined)
    throw new CommandUsageError(`${file} has no held-out prompts to evaluate on: add prompts.heldOut`);
}

async function tellResult(
  io: Io,
  id: string,
  tell: { audit: boolean; chat: boolean },
  options: RunCommandOptions,
): Promise<void> {
  await withStore(io, options, async (store) => {
    if (tell.audit) {
      const audit = store.stage(id, "audit")?.output as AuditReport;
      if (options.json) return printJson(io, { type: "result", run: id, audit });
      return void say(io, `${auditText(audit)}\n`);
    }
    const card = await scorecardOf(store, id);
    const written = card && (await writeReport(store.folder, id, card));
    if (options.json) return printJson(io, { type: "result", run: id, ...(written && { report: written }) });
    if (card && written) say(io, `${await scorecardText(io, card)}\n${breaksText(card)}report: ${written.html}\n`);
    if (!tell.chat) return;
    const where = storeText(options);
    const { chosenCheckpoint, storedCheckpoints } = await import("@tenet/align");
    const all = await storedCheckpoints(store, id);
    if (all.length < 2) return;
    const { checkpoint, recommended } = chosenCheckpoint(store, id, all);
    const tenet = commandName(io);
    const stages = store.stages(id);
    const seconds = stages.reduce((sum, stage) => sum + stage.seconds, 0);
    const lines: [string, string][] = [
      ["time", `${formatSeconds(seconds)} in ${stages.length} stages; ${tenet} show ${id}${where}`],
      [
        recommended ? `talk to ${checkpoint.id}, which is recommended` : "talk to it",
        `${tenet} chat --run ${id}${where}`,
      ],
      ["compare", `${tenet} chat --run ${id}${where} --compare ${all.map((one) => one.id).join(",")} "a question"`],
    ];
    say(io, `${table(lines)}\n`);
  });
}

/** A recipe with what the command line says otherwise. */
export async function openChanged(file: string, { seed, limit, allowModules }: RunCommandOptions): Promise<OpenRecipe> {
  const { openRecipe } = await import("@tenet/align");
  if (limit !== undefined && limit < 1) throw new CommandUsageError(`--limit: expected at least 1, got ${limit}`);
  if (seed !== undefined && seed < 0) throw new CommandUsageError(`--seed: expected at least 0, got ${seed}`);
  const changes: RecipeChanges = {
    ...(seed !== undefined && { seed }),
    ...(limit !== undefined && { limit }),
    ...(allowModules !== undefined && { allowModules }),
  };
  return openRecipe(file, changes);
}

export function modelOptions(io: Io, { device, threads, memoryBudget, offline }: RunCommandOptions): RunOptions {
  return {
    environment: io.env,
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads }),
    ...(memoryBudget !== undefined && { memoryBudget }),
    ...(offline !== undefined && { offline }),
  };
}
