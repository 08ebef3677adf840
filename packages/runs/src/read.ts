import { join } from "node:path";
import type { Connection } from "./database.ts";
import { linesOf } from "./dataset.ts";
import { NotInStoreError, StoreCorruptError } from "./errors.ts";
import { isLocked } from "./lock.ts";
import {
  type LineageNode,
  type Metric,
  type RunInfo,
  type RunStatus,
  type RunTotals,
  runIdSchema,
  type StageInfo,
  type StoredRow,
  type SupersededStage,
  type UsageTotal,
} from "./types.ts";

/** Where the lock of a run lies. */
export function runLock(folder: string, run: string): string {
  return join(folder, "locks", run);
}

interface RunRow {
  id: string;
  name: string;
  recipe: string;
  status: RunStatus;
  error: string | null;
  versions: string;
  created: string;
  updated: string;
  pid: number | null;
  host: string | null;
  since: string | null;
}

/** Every run, the latest first. A run whose process died is `interrupted`, though nobody could write that down. */
export function readRuns(db: Connection): RunInfo[] {
  return db
    .prepare<RunRow>("SELECT * FROM run ORDER BY created DESC, id")
    .all()
    .map((row) => runInfo(db, row));
}

/** Every run's id, the latest first. */
export function readRunIds(db: Connection): string[] {
  return db
    .prepare<{ id: string }>("SELECT id FROM run ORDER BY created DESC, id")
    .all()
    .map(({ id }) => id);
}

/** Ids of the runs whose process is alive. */
export function readRunning(db: Connection): string[] {
  return db
    .prepare<{ id: string }>("SELECT id FROM run WHERE status = 'running' ORDER BY created DESC, id")
    .all()
    .map(({ id }) => id)
    .filter((id) => runIdSchema.safeParse(id).success && isLocked(runLock(db.folder, id)));
}

export function readRun(db: Connection, id: string): RunInfo | undefined {
  const row = db.prepare<RunRow>("SELECT * FROM run WHERE id = ?").get(id);
  return row && runInfo(db, row);
}

function runInfo(db: Connection, row: RunRow): RunInfo {
  // Ids are parts of file names; a store that came from elsewhere may hold anything.
  if (!runIdSchema.safeParse(row.id).success)
    throw new StoreCorruptError(
      `${db.folder} holds a run with the id ${JSON.stringify(row.id)}, which no Tenet gives. Do not trust where it is from`,
    );
  return knownRunInfo(db, row);
}

function knownRunInfo(db: Connection, { pid, host, since, error, recipe, versions, ...row }: RunRow): RunInfo {
  const dead = row.status === "running" && !isLocked(runLock(db.folder, row.id));
  return {
    ...row,
    status: dead ? "interrupted" : row.status,
    recipe: JSON.parse(recipe),
    versions: JSON.parse(versions) as Record<string, string>,
    ...(error === null ? {} : { error }),
    ...(pid === null || host === null || since === null ? {} : { writer: { pid, host, since } }),
  };
}

interface StageRow {
  run: string;
  name: string;
  status: RunStatus;
  attempts: number;
  started: string;
  finished: string | null;
  seconds: number;
  error: string | null;
  work: number;
  kind: string;
  identity: string;
  settings: string | null;
  items: number;
  aside: number;
  row_count: number;
  hash: string | null;
  output: string | null;
}

const selectStages = `
  SELECT stage.*, kind, identity, settings, items, aside, row_count, hash, output
  FROM stage JOIN work ON work.id = stage.work WHERE run = ?`;

/** A run's stages in the order in which they were first begun. `alive`: whether the run is being written. */
export function readStages(db: Connection, run: string, alive: () => boolean): StageInfo[] {
  return db
    .prepare<StageRow>(`${selectStages} ORDER BY stage.id`)
    .all(run)
    .map((row) => stageInfo(db, row, alive));
}

export function readStage(db: Connection, run: string, name: string, alive: () => boolean): StageInfo | undefined {
  const row = db.prepare<StageRow>(`${selectStages} AND name = ?`).get(run, name);
  return row && stageInfo(db, row, alive);
}

/** What every run has come to, or one, without reading what its stages gave. */
export function readTotals(db: Connection, only: string | undefined): Map<string, RunTotals> {
  const [where, values] = only === undefined ? ["", []] : ["WHERE run = ?", [only]];
  const totals = new Map<string, RunTotals>();
  const of = (run: string) => {
    const known = totals.get(run) ?? { done: 0, begun: 0, seconds: 0, tokens: 0, stages: {} };
    totals.set(run, known);
    return known;
  };
  for (const { run, kind, name, identity, status, seconds, rows } of db
    .prepare<{
      run: string;
      kind: string;
      name: string;
      identity: string;
      status: RunStatus;
      seconds: number;
      rows: number;
    }>(`
      SELECT run, kind, name, identity, status, seconds, row_count AS rows
      FROM stage JOIN work ON work.id = stage.work ${where} ORDER BY stage.id`)
    .all(...values)) {
    const total = of(run);
    total.begun++;
    if (status === "done") total.done++;
    total.seconds += seconds;
    total.stages[name] = { kind, status, identity, rows };
  }
  for (const { run, tokens, dollars } of db
    .prepare<{ run: string; tokens: number; dollars: number | null }>(
      `SELECT run, sum(prompt_tokens + completion_tokens) AS tokens, sum(dollars) AS dollars FROM usage ${where} GROUP BY run`,
    )
    .all(...values))
    Object.assign(of(run), { tokens, ...(dollars !== null && { dollars }) });
  return totals;
}

/** Finished results of a run's stages that later ones replaced, in the order in which they were. */
export function readSuperseded(db: Connection, run: string): SupersededStage[] {
  return db
    .prepare<StageRow & { replaced: string }>(`
      SELECT superseded.*, kind, identity, settings, items, aside, row_count, hash, output
      FROM superseded JOIN work ON work.id = superseded.work WHERE run = ? ORDER BY superseded.id`)
    .all(run)
    .map(({ replaced, ...row }) => ({ ...stageInfo(db, row, () => false), replaced }));
}

function stageInfo(db: Connection, row: StageRow, alive: () => boolean): StageInfo {
  const { run, name, kind, identity, attempts, started, seconds, items, aside, row_count: rows } = row;
  const done = row.status === "done";
  return {
    run,
    name,
    kind,
    identity,
    status: row.status === "running" && !alive() ? "interrupted" : row.status,
    attempts,
    started,
    seconds,
    items,
    aside,
    rows,
    ...(row.settings === null ? {} : { settings: JSON.parse(row.settings) }),
    ...(row.finished === null ? {} : { finished: row.finished }),
    ...(row.error === null ? {} : { error: row.error }),
    ...(done ? { dataset: { hash: row.hash!, rows, items, aside } } : {}),
    ...(done && row.output !== null ? { output: JSON.parse(row.output) } : {}),
    artifacts: db
      .prepare<{ artifact: string }>("SELECT artifact FROM work_artifact WHERE work = ? ORDER BY artifact")
      .all(row.work)
      .map(({ artifact }) => artifact),
  };
}

/** The id of the work with an identity. */
export function workOf(db: Connection, identity: string): number {
  const work = db.prepare<{ id: number }>("SELECT id FROM work WHERE identity = ?").get(identity);
  if (!work) throw new NotInStoreError(`${db.folder} holds no stage with identity ${identity}`);
  return work.id;
}

export function readMetrics(
  db: Connection,
  run: string,
  filter: { stage?: string; name?: string; afterStep?: number },
): Metric[] {
  return db
    .prepare<Omit<Metric, "value"> & { value: number | null }>(`
      SELECT stage.name AS stage, metric.name, step, value FROM stage JOIN metric ON metric.work = stage.work
      WHERE run = ?1 AND (?2 IS NULL OR stage.name = ?2) AND (?3 IS NULL OR metric.name = ?3) AND step > ?4
      ORDER BY stage.id, step, metric.name`)
    .all(run, filter.stage ?? null, filter.name ?? null, filter.afterStep ?? Number.MIN_SAFE_INTEGER)
    .map(({ value, ...metric }) => ({ ...metric, value: value ?? Number.NaN }));
}

export function readUsage(db: Connection, run: string): UsageTotal[] {
  return db
    .prepare<Omit<UsageTotal, "dollars"> & { dollars: number | null }>(`
      SELECT usage.stage, role, prompt_tokens AS promptTokens, completion_tokens AS completionTokens, calls,
        usage.seconds, dollars
      FROM usage LEFT JOIN stage ON stage.run = usage.run AND stage.name = usage.stage
      WHERE usage.run = ? ORDER BY stage.id, role`)
    .all(run)
    .map(({ dollars, ...usage }) => ({ ...usage, ...(dollars === null ? {} : { dollars }) }));
}

/** A row, the rows it was made from, theirs, and so on: nearest first, each once. */
export function readLineage<Row extends StoredRow>(db: Connection, rowId: string): LineageNode<Row>[] {
  const item = db.prepare<{ jsonl: string }>(
    "SELECT jsonl FROM row JOIN item ON item.id = row.item WHERE row.id = ? ORDER BY item.id LIMIT 1",
  );
  const stages = db.prepare<{ run: string; stage: string; kind: string }>(`
    SELECT DISTINCT holder.run, holder.name AS stage, work.kind FROM row JOIN member ON member.item = row.item
    JOIN work ON work.id = member.work JOIN holder ON holder.work = work.id
    WHERE row.id = ? ORDER BY holder.replaced IS NOT NULL, holder.id`);
  const nodes: LineageNode<Row>[] = [];
  const seen = new Set([rowId]);
  let level = [rowId];
  for (let depth = 0; level.length > 0; depth++) {
    const next: string[] = [];
    for (const id of level) {
      const rows = linesOf(item.get(id)?.jsonl ?? "").map((line) => JSON.parse(line) as Row);
      const row = rows.find((one) => one.id === id);
      nodes.push({ id, depth, stages: stages.all(id), ...(row ? { row } : {}) });
      for (const parent of row?.origin.parents ?? []) {
        if (seen.has(parent)) continue;
        seen.add(parent);
        next.push(parent);
      }
    }
    level = next;
  }
  return nodes;
}
