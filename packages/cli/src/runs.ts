import { existsSync } from "node:fs";
import { inWords } from "@tenet/data";
import type { RunInfo, StageInfo, Store, StoredRow } from "@tenet/runs";
import { chosenRows, isConversation } from "./chosen-rows.ts";
import { CommandUsageError, nearest } from "./errors.ts";
import { formatBytes, formatSeconds, printable, table } from "./format.ts";
import { commandName, type Io, printJson, say } from "./io.ts";
import { findRun, type StoreOptions, storeFolder, withStore } from "./store.ts";

/** `tenet ls`: the runs of a store, the latest first. Where there is no store yet there are no runs, which is no fault. */
export async function listRuns(io: Io, options: StoreOptions): Promise<void> {
  const none = (folder: string) =>
    options.json
      ? printJson(io, { store: folder, runs: [] })
      : say(io, `no runs in ${folder} yet: ${commandName(io)} init writes a project to begin with\n`);
  const folder = storeFolder(io, options);
  if (!existsSync(folder)) return none(folder);
  await withStore(io, options, (store) => {
    const runs = [];
    for (const run of store.runs()) {
      const { id, status, created, updated, error } = run;
      const stages = store.stages(run.id);
      const done = stages.filter(({ status }) => status === "done").length;
      const seconds = stages.reduce((sum, stage) => sum + spentOn(stage), 0);
      // What passes on what it was given, such as labels that nobody corrected, has no stage of its own in the end.
      const planned = status === "done" ? stages.length : plannedStages(store, run.id)?.length;
      const counts = { done, begun: stages.length, ...(planned !== undefined && { planned }) };
      runs.push({ id, status, created, updated, stages: counts, seconds, ...(error && { error }) });
    }
    if (options.json) return void printJson(io, { store: store.folder, runs });
    if (runs.length === 0) return none(store.folder);
    const rows = runs.map(({ id, status, created, stages, seconds }) => [
      id,
      status,
      when(created),
      `${stages.done} of ${Math.max(stages.planned ?? 0, stages.begun)}`,
      formatSeconds(seconds),
    ]);
    say(io, `${table([["run", "status", "begun", "stages done", "time"], ...rows])}\n`);
  });
}

/** The stages that a run was last begun with, in their order, begun or not; undefined of runs of before they were noted. */
function plannedStages(store: Store, run: string): readonly string[] | undefined {
  const data = store.lastEvent(run, "plan")?.data as readonly { readonly stage: string }[] | undefined;
  return data?.map(({ stage }) => stage);
}

/** What a stage has taken; of one at work also what it takes now, which is written down when it ends. */
function spentOn({ status, seconds, started }: StageInfo): number {
  return status === "running" ? Math.max(seconds, (Date.now() - Date.parse(started)) / 1000) : seconds;
}

export interface ShowOptions extends StoreOptions {
  rows?: number;
  row?: string;
  aside?: boolean;
  skip?: number;
  where?: readonly string[];
  sample?: number;
  seed?: number;
}

/** `tenet show`: a run; one of its stages with rows of it; a row with everything it was made from. */
export async function showRun(io: Io, id: string, name: string | undefined, options: ShowOptions): Promise<void> {
  await withStore(io, options, async (store) => {
    if (options.row !== undefined) return showLineage(io, store, options.row, options);
    const run = findRun(store, id);
    if (name === undefined) {
      const ofStages = ["rows", "skip", "where", "sample", "seed", "aside"] as const;
      const given = ofStages.find((name) => options[name] !== undefined);
      if (given) throw new CommandUsageError(`--${given} needs the name of a stage behind the run`);
      return showStages(io, store, run, options);
    }
    if (!store.stage(run.id, name)) tellOfPlanned(store, run.id, name);
    return showStage(io, store, findStage(store, run.id, name), options);
  });
}

async function showStages(io: Io, store: Store, run: RunInfo, { json }: ShowOptions): Promise<void> {
  const { checkpointsReached } = await import("@tenet/align");
  const stages = store.stages(run.id);
  const checkpoints = (await checkpointsReached(store, run.id)).map(({ id, label }) => ({ id, label }));
  const usage = store.usage(run.id);
  if (json) {
    const facts = stages.map(({ output: _, settings: __, ...stage }) => stage);
    return void printJson(io, { ...run, checkpoints, stages: facts, usage });
  }
  const { tenet, ...versions } = run.versions;
  const known = Object.entries(versions).map(([program, version]) => `${program} ${version}`);
  const head: [string, string][] = [
    ["run", run.id],
    ["status", `${run.status}${run.error ? `: ${printable(run.error)}` : ""}`],
    ["begun", when(run.created)],
    ["checkpoints", checkpoints.map(({ id, label }) => `${id} (${label})`).join(", ")],
    ["versions", [`tenet ${tenet ?? "unknown"}`, ...known].join(", ")],
  ];
  const rows = stages.map((stage) => {
    const spent = usage.filter((one) => one.stage === stage.name);
    const tokens = spent.reduce((sum, { promptTokens, completionTokens }) => sum + promptTokens + completionTokens, 0);
    return [
      stage.name,
      stage.status,
      stage.rows > 0 ? String(stage.rows) : "",
      stage.aside > 0 ? String(stage.aside) : "",
      tokens > 0 ? String(tokens) : "",
      stage.attempts === 0 ? "shared" : formatSeconds(spentOn(stage)),
    ];
  });
  const dollars = usage.reduce((sum, one) => sum + (one.dollars ?? 0), 0);
  say(io, `${table(head)}\n\n${table([["stage", "status", "rows", "aside", "tokens", "time"], ...rows])}\n`);
  if (dollars > 0) say(io, `\nspent at endpoints: $${dollars.toFixed(4)}\n`);
}

/** Errors: UsageError for a stage that the run will come to. */
function tellOfPlanned(store: Store, run: string, name: string): void {
  const plan = plannedStages(store, run) ?? [];
  const place = plan.indexOf(name);
  if (place < 0) return;
  const done = store.stages(run).filter(({ status }) => status === "done").length;
  throw new CommandUsageError(
    `stage "${name}" of run ${run} has not begun: it is number ${place + 1} of ${plan.length}, and ${done} are done`,
  );
}

/** A stage by its name. Errors: UsageError with the nearest. */
export function findStage(store: Store, run: string, name: string): StageInfo {
  const found = store.stage(run, name);
  if (found) return found;
  const names = store.stages(run).map((stage) => stage.name);
  const guess = nearest(name, names);
  throw new CommandUsageError(
    `run ${run} has no stage "${name}"${guess ? `; did you mean "${guess}"?` : `; it has begun ${names.join(", ") || "none"}`}`,
  );
}

async function showStage(
  io: Io,
  store: Store,
  stage: StageInfo,
  { rows: wanted = 3, aside, json, ...choice }: ShowOptions,
): Promise<void> {
  const { sample: count, seed = 0, ...which } = choice;
  const sample = count === undefined ? {} : { sample: { count, uniform: await uniformOf(seed) } };
  const rows = aside ? [] : chosenRows(store.rows(stage.identity), { ...which, ...sample, rows: wanted });
  const reasons = store.setAsideReasons(stage.identity);
  const setAside = aside ? [...store.setAside(stage.identity)] : [];
  const metrics = store.metrics(stage.run, { stage: stage.name });
  if (json) return void printJson(io, { ...stage, reasons, ...(aside ? { setAside } : { sample: rows }), metrics });
  const last = new Map(metrics.map(({ name, value }) => [name, value]));
  const lines: [string, string][] = [
    ["stage", `${stage.name} (${stage.kind})`],
    ["status", `${stage.status}${stage.error ? `: ${printable(stage.error)}` : ""}`],
    ["time", stage.attempts === 0 ? "shared with another run" : formatSeconds(spentOn(stage))],
    ["rows", `${stage.rows}, ${stage.aside} inputs set aside`],
    ["identity", stage.identity],
    ...(stage.dataset && stage.rows > 0 ? [["dataset", stage.dataset.hash] as [string, string]] : []),
    ...stage.artifacts.map((hash): [string, string] => ["artifact", store.artifactPath(hash)]),
    ...reasons.map(({ reason, count }): [string, string] => ["set aside", `${count} × ${printable(reason)}`]),
    ...[...last].map(([name, value]): [string, string] => [name, String(Number(value.toPrecision(5)))]),
  ];
  say(io, `${table(lines)}\n`);
  if (stage.kind === "scorecard" && stage.status === "done")
    say(io, `\n${commandName(io)} report ${stage.run} prints it and writes its page\n`);
  for (const { input, reason } of setAside) say(io, `\n${printable(input)}\n  ${printable(reason)}\n`);
  const { chainText, isChain } = await import("./chain-text.ts");
  if (rows.length === 0 && (count ?? wanted) > 0 && !aside)
    sayNone(io, stage, count === undefined ? which : { ...which, skip: 0 });
  for (const row of rows) say(io, `\n${isChain(row) ? chainText(row) : rowText(row)}\n`);
}

/** Where rows were asked for and there is none such. */
function sayNone(io: Io, { rows }: StageInfo, { where, skip = 0 }: Pick<ShowOptions, "where" | "skip">): void {
  const behind = skip > 0 ? ` behind the first ${skip}` : "";
  if (where) say(io, `\nno row of ${rows} fits${behind}\n`);
  else if (skip > 0) say(io, `\nno row of ${rows} is${behind}\n`);
}

/** Numbers from 0 to 1 by place, the same with the same seed. */
async function uniformOf(seed: number): Promise<(place: number) => number> {
  const { randomStream } = await import("@tenet/align");
  const stream = randomStream({ seed, stage: "show --sample", item: "rows" });
  return (place) => stream.uniform(place);
}

function showLineage(io: Io, store: Store, id: string, { json }: ShowOptions): void {
  const nodes = store.lineage(id);
  if (nodes.every(({ row }) => row === undefined))
    throw new CommandUsageError(
      `${store.folder} holds no row ${id}; ${commandName(io)} show <run> <stage> prints rows with their ids`,
    );
  if (json) return void printJson(io, { row: id, lineage: nodes });
  for (const { depth, row, stages, id: own } of nodes) {
    const where = [...new Set(stages.map(({ run, stage }) => `${stage} of ${run}`))];
    say(io, `${depth === 0 ? "" : `\nparent ${depth} step${depth > 1 ? "s" : ""} back\n`}`);
    say(io, row ? `${rowText(row)}\n` : `${own}  not in this store\n`);
    if (where.length > 0) say(io, `  stage: ${where.join("; ")}\n`);
  }
}

/** A row for people: its id, then a field per line. Texts are whole, with their lines indented. */
function rowText(row: StoredRow): string {
  const { id, origin, ...fields } = row as StoredRow & Record<string, unknown>;
  const { parents: _, ...from } = origin as StoredRow["origin"] & Record<string, unknown>;
  const lines = Object.entries({ ...fields, ...from }).map(([key, value]) => `  ${key}: ${indented(valueText(value))}`);
  return [id, ...lines].join("\n");
}

function valueText(value: unknown): string {
  if (typeof value === "string") return value;
  if (isConversation(value))
    return inWords(value)
      .map(({ role, content }) => `[${role}] ${content}`)
      .join("\n");
  return JSON.stringify(value);
}

function indented(text: string): string {
  return printable(text).replaceAll("\n", "\n    ");
}

/** `tenet rm`: forgets a run; what only it needed goes with the next `tenet gc`. */
export async function removeRun(io: Io, id: string, options: StoreOptions): Promise<void> {
  await withStore(io, { ...options, write: true }, (store) => {
    const run = findRun(store, id);
    store.remove(run.id);
    if (options.json) return void printJson(io, { removed: run.id });
    say(io, `removed ${run.id}; ${commandName(io)} gc frees the room it took\n`);
  });
}

/** `tenet gc`: frees what no run needs, and what the cache of weights and graphs has no use for. */
export async function collectGarbage(io: Io, options: StoreOptions & { dryRun?: boolean }): Promise<void> {
  const { dryRun = false } = options;
  const { cacheFolder, collectCache } = await import("@tenet/lm");
  await withStore(io, { ...options, write: true }, async (store) => {
    const { bytes, works, items, artifacts, scratch } = await store.collect({ dryRun });
    const cache = await collectCache({ cacheDir: cacheFolder(io.env), dryRun });
    if (options.json) return void printJson(io, { dryRun, bytes, works, items, artifacts, scratch, cache });
    const what = `${works} stages, ${items} items, ${artifacts} artifacts, ${scratch} scratch folders`;
    const free = dryRun ? "would free" : "freed";
    say(io, `${free} ${formatBytes(bytes)}: ${what}\n`);
    if (cache.files > 0)
      say(io, `${free} ${formatBytes(cache.bytes)} of weights and graphs in the cache: ${cache.files} files\n`);
  });
}

/** 2026-01-02T03:04:05.678Z → 2026-01-02 03:04 */
function when(time: string): string {
  return time.slice(0, 16).replace("T", " ");
}
