import { accessSync, constants, existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { addArtifact, artifactPlace, hasItsHash, intactArtifact } from "./artifacts.ts";
import { collect, removeRun } from "./collect.ts";
import { Connection } from "./database.ts";
import { findIn, madeOf, pageOf, reasonsOf, rowOf, rowsOf, setAsideOf } from "./dataset.ts";
import { NotInStoreError, StoreAccessError, StoreError, storeError } from "./errors.ts";
import { eventsBehind, lastEvent, lastSequence, readEvents } from "./events.ts";
import { makeFolder } from "./folder.ts";
import {
  addAnnotation,
  addAnswer,
  addLabel,
  addQueue,
  addRunNote,
  readAnnotations,
  readAnswers,
  readLabels,
  readQueueItems,
  readQueues,
  readRunNotes,
  settleLabel,
  undoAnswer,
} from "./people.ts";
import { readProgress, readStepTimes } from "./progress.ts";
import {
  readLineage,
  readMetrics,
  readRun,
  readRunIds,
  readRunning,
  readRuns,
  readStage,
  readStages,
  readSuperseded,
  readTotals,
  readUsage,
  workOf,
} from "./read.ts";
import { readRollouts } from "./rollouts.ts";
import { RunWriter } from "./run.ts";
import { prepareSchema } from "./schema.ts";
import type {
  Annotation,
  Answer,
  ArtifactInfo,
  Collected,
  Label,
  LineageNode,
  Made,
  Metric,
  Progress,
  Queue,
  QueueItem,
  QueueSpec,
  Rollout,
  RowPage,
  RunEvent,
  RunInfo,
  RunNote,
  RunSpec,
  RunTotals,
  SetAside,
  StageInfo,
  StepTime,
  StoredAnnotation,
  StoredAnswer,
  StoredLabel,
  StoredRow,
  StoredRunNote,
  SupersededStage,
  UsageTotal,
} from "./types.ts";
import { findDamage } from "./verify.ts";

/**
 * Opens the run store in a folder, and makes it where there is none. With `readOnly` nothing is made and nothing changed:
 * any number of processes may read while runs write.
 *
 * @throws NotInStoreError where there is no store to read; StoreVersionError; StoreCorruptError; StoreAccessError.
 */
export function openStore(folder: string, options: { readOnly?: boolean } = {}): Store {
  const place = resolve(folder);
  const readOnly = options.readOnly ?? false;
  if (readOnly && !existsSync(join(place, "store.db")))
    throw new NotInStoreError(`${place} holds no run store; a run makes one`);
  if (readOnly) return new Store(openToRead(place), readOnly);
  try {
    makeFolder(place);
    accessSync(place, constants.W_OK);
  } catch (error) {
    const fault = storeError(error, place);
    throw fault instanceof StoreError
      ? fault
      : new StoreAccessError(`no run store can be made in ${place}: ${(error as Error).message}. Name another folder`);
  }
  return new Store(prepared(new Connection(place)), readOnly);
}

function prepared(db: Connection): Connection {
  try {
    prepareSchema(db);
    return db;
  } catch (error) {
    db.close();
    throw error;
  }
}

/**
 * SQLite keeps files beside the database, also to read it. Where these cannot be made, as on a read-only file system, a
 * database that was closed cleanly can be read by itself.
 */
function openToRead(place: string): Connection {
  try {
    return prepared(new Connection(place, { readOnly: true }));
  } catch (error) {
    if (!(error instanceof StoreAccessError)) throw error;
    const log = statSync(join(place, "store.db-wal"), { throwIfNoEntry: false });
    if (log && log.size > 0)
      throw new StoreAccessError(
        `${place} is read-only, and a run that was killed has left its last writes in store.db-wal, which can only be read ` +
          "where there is room to write. Copy the folder to such a place and read the copy",
        { cause: error },
      );
    return prepared(new Connection(place, { readOnly: true, access: "still" }));
  }
}

/** Runs, what they computed, and what is known about it. Several processes may have one open; a run has one writer. */
export class Store {
  readonly folder: string;
  readonly readOnly: boolean;
  readonly #db: Connection;
  readonly #writers: RunWriter[] = [];

  /** @internal */
  constructor(db: Connection, readOnly: boolean) {
    this.folder = db.folder;
    this.readOnly = readOnly;
    this.#db = db;
  }

  /**
   * Begins a run, or continues the one with this name and recipe.
   *
   * @throws RunBusyError while someone else writes it.
   */
  begin(spec: RunSpec): RunWriter {
    this.#mustWrite();
    const run = RunWriter.begin(this.#db, spec);
    this.#writers.push(run);
    return run;
  }

  /** Every run, the latest first. One whose process died is `interrupted`. */
  runs(): RunInfo[] {
    return readRuns(this.#db);
  }

  /** Ids of all runs, the latest first. */
  runIds(): string[] {
    return readRunIds(this.#db);
  }

  /** Ids of the runs that a process is writing. */
  running(): string[] {
    return readRunning(this.#db);
  }

  /** @throws NotInStoreError */
  run(id: string): RunInfo {
    const run = readRun(this.#db, id);
    if (run) return run;
    const known = this.runIds();
    throw new NotInStoreError(`${this.folder} holds no run ${id}; it holds ${known.slice(0, 10).join(", ") || "none"}`);
  }

  /** A run's stages in the order in which they were first begun. */
  stages(run: string): StageInfo[] {
    return readStages(this.#db, run, () => this.#isRunning(run));
  }

  /** What every run that has begun a stage has come to, or one, by its id: quickly, for lists. */
  totals(options: { run?: string } = {}): Map<string, RunTotals> {
    return readTotals(this.#db, options.run);
  }

  /** Finished results that later ones replaced under the same name, in their order: see `RunWriter.stage`. */
  superseded(run: string): SupersededStage[] {
    return readSuperseded(this.#db, run);
  }

  /** How far the stages have come that a process has told of, the latest word last. */
  progress(run: string): Progress[] {
    return readProgress(this.#db, run);
  }

  /** When the figures of a stage's steps were written; nothing of those that an earlier Tenet wrote. */
  stepTimes(run: string, stage: string): StepTime[] {
    return readStepTimes(this.#db, run, stage);
  }

  /** A number that changes with whatever another process, or another store of this one, writes. */
  changes(): number {
    return this.#db.prepare<{ data_version: number }>("PRAGMA data_version").get()!.data_version;
  }

  /** What a stage of this identity gave when it was finished, in whichever run; undefined where none was. */
  output(identity: string): unknown {
    const work = this.#db
      .prepare<{ output: string | null }>("SELECT output FROM work WHERE identity = ?")
      .get(identity);
    return typeof work?.output === "string" ? JSON.parse(work.output) : undefined;
  }

  stage(run: string, name: string): StageInfo | undefined {
    return readStage(this.#db, run, name, () => this.#isRunning(run));
  }

  /**
   * The rows of a stage's dataset: by input, then in the order in which the input gave them, whatever order they arrived
   * in. Read a page at a time; of an unfinished stage, what there is.
   *
   * @throws NotInStoreError for an unknown identity.
   */
  rows<Row extends StoredRow>(identity: string): Generator<Row> {
    return rowsOf<Row>(this.#db, workOf(this.#db, identity));
  }

  /**
   * Rows of a dataset behind a place of its inputs, at most `limit` inputs of them; with `text` only rows that hold it.
   *
   * @throws NotInStoreError for an unknown identity.
   */
  page<Row extends StoredRow>(
    identity: string,
    { after = -1, limit, text }: { after?: number; limit: number; text?: string },
  ): RowPage<Row> {
    const work = workOf(this.#db, identity);
    return text === undefined || text === ""
      ? pageOf(this.#db, work, { after, limit })
      : findIn(this.#db, work, { text, after, limit });
  }

  /** A row by its id, whichever stage holds it. */
  row<Row extends StoredRow>(id: string): Row | undefined {
    return rowOf<Row>(this.#db, id);
  }

  /** What the stages made of a row that was their input, `limit` of them at most. Looks through all items. */
  made<Row extends StoredRow>(id: string, { limit = 100 } = {}): Made<Row>[] {
    return madeOf<Row>(this.#db, id, limit);
  }

  /** Inputs of a stage that could not be used, in their order. */
  setAside(identity: string): Generator<SetAside> {
    return setAsideOf(this.#db, workOf(this.#db, identity));
  }

  /** Why inputs of a stage could not be used, and how many, the most frequent reason first. */
  setAsideReasons(identity: string): { reason: string; count: number }[] {
    return reasonsOf(this.#db, workOf(this.#db, identity));
  }

  /**
   * A row, the rows that it was made from, theirs, down to the prompts: nearest first, each once, with its origin and the
   * stages that hold it. A parent that no stage holds is listed without a row.
   */
  lineage<Row extends StoredRow>(rowId: string): LineageNode<Row>[] {
    return readLineage<Row>(this.#db, rowId);
  }

  /**
   * A run's events behind number `after`. With `follow` it waits for more, until the run ends or its process dies.
   *
   * @throws the signal's reason when it aborts.
   */
  events(
    run: string,
    options: { after?: number; follow?: boolean; signal?: AbortSignal } = {},
  ): AsyncGenerator<RunEvent> {
    return readEvents(this.#db, run, {
      after: options.after ?? 0,
      follow: options.follow ?? false,
      signal: options.signal,
      isRunning: () => this.#isRunning(run),
    });
  }

  /** A run's events behind a number, `limit` of them at most. */
  eventsBehind(run: string, after: number, limit: number): RunEvent[] {
    return eventsBehind(this.#db, run, after, limit);
  }

  /** A run's last event, or its last of a kind; of those behind a number. */
  lastEvent(run: string, kind?: string, options: { after?: number } = {}): RunEvent | undefined {
    return lastEvent(this.#db, run, kind, options.after ?? 0);
  }

  /** Number of a run's last event; 0 where there is none. */
  lastSequence(run: string): number {
    return lastSequence(this.#db, run);
  }

  /** Figures by stage, step and name; those of stages that were taken over from other runs too. */
  metrics(run: string, filter: { stage?: string; name?: string; afterStep?: number } = {}): Metric[] {
    return readMetrics(this.#db, run, filter);
  }

  /** Replies that a policy in training gave, by step: those that were kept. */
  rollouts(run: string, stage: string): Rollout[] {
    return readRollouts(this.#db, run, stage);
  }

  /** What each role spent in each stage of this run, over all its attempts; nothing where a stage was taken over. */
  usage(run: string): UsageTotal[] {
    return readUsage(this.#db, run);
  }

  /** Records what a person preferred. Someone who labels a pair again changes their mind. */
  addLabel(label: Label): void {
    this.#mustWrite();
    addLabel(this.#db, label);
  }

  /** Records what a person decided where others differ: from now on the pair's only label. What others answered stays. */
  settleLabel(label: Label): void {
    this.#mustWrite();
    settleLabel(this.#db, label);
  }

  /** Every person's latest word on every pair, or on one. Human labels stand over machine labels, in all runs. */
  labels(options: { pair?: string } = {}): StoredLabel[] {
    return readLabels(this.#db, options.pair);
  }

  /** What a person notes about a run: its name, tags, whether it is the baseline. The latest word stands for the run. */
  addRunNote(note: RunNote): void {
    this.#mustWrite();
    addRunNote(this.#db, note);
  }

  /** The latest word on every run, or on one. */
  runNotes(options: { run?: string } = {}): StoredRunNote[] {
    return readRunNotes(this.#db, options.run);
  }

  /** What a person says about a row: a verdict, a correction. A value of null takes back what they said. */
  addAnnotation(annotation: Annotation): void {
    this.#mustWrite();
    addAnnotation(this.#db, annotation);
  }

  /** Everybody's latest word on every row, or on one. */
  annotations(options: { row?: string } = {}): StoredAnnotation[] {
    return readAnnotations(this.#db, options.row);
  }

  /** Lays rows out for people to judge. @throws StoreError for an id that is taken. */
  addQueue(queue: QueueSpec): void {
    this.#mustWrite();
    addQueue(this.#db, queue);
  }

  /** The latest first. */
  queues(): Queue[] {
    return readQueues(this.#db);
  }

  queueItems(queue: string): QueueItem[] {
    return readQueueItems(this.#db, queue);
  }

  /** Takes an answer; with `p` it is a label too. Gives its number. @throws NotInStoreError for what is not in the queue. */
  addAnswer(answer: Answer): number {
    this.#mustWrite();
    return addAnswer(this.#db, answer);
  }

  /** Takes back a person's last answer in a queue, with its label. Gives it; undefined where there is none. */
  undoAnswer(queue: string, who: string): StoredAnswer | undefined {
    this.#mustWrite();
    return undoAnswer(this.#db, queue, who);
  }

  /** Answers of a queue that stand, in the order in which they were given. */
  answers(queue: string): StoredAnswer[] {
    return readAnswers(this.#db, queue);
  }

  /**
   * Copies a file or folder into the store under its hash. It stays while a finished stage names it among its artifacts;
   * a stage's own results are better added with `StageWriter.addArtifact`.
   *
   * @throws StoreError for links, devices and names that other systems cannot hold; StoreFullError.
   */
  async addArtifact(path: string): Promise<ArtifactInfo> {
    this.#mustWrite();
    return addArtifact(this.#db, path);
  }

  /** Path of an artifact. Never write there. @throws NotInStoreError */
  artifactPath(hash: string): string {
    const place = artifactPlace(this.folder, hash);
    if (!existsSync(place)) throw new NotInStoreError(`${this.folder} holds no artifact ${hash}`);
    return place;
  }

  /** Path of an artifact that is as it was made. @throws NotInStoreError, ArtifactChangedError */
  intactArtifact(hash: string): Promise<string> {
    return intactArtifact(this.#db, hash);
  }

  /** Reads an artifact and says whether it still has its hash. @throws NotInStoreError */
  async isIntact(hash: string): Promise<boolean> {
    this.artifactPath(hash);
    return hasItsHash(this.folder, hash);
  }

  /**
   * What is not as it was written, in words: nothing where all is well. Reads everything; see `findDamage`.
   *
   * @throws StoreCorruptError when the database cannot be read at all.
   */
  verify(): Promise<string[]> {
    return findDamage(this.#db);
  }

  /** Forgets a run: its stages, events and usage. What only it needed goes with the next `collect`. @throws RunBusyError */
  remove(run: string): void {
    this.#mustWrite();
    this.run(run);
    removeRun(this.#db, run);
  }

  /**
   * Removes items, artifacts and scratch folders that no run needs. May run while runs write. An artifact that no stage
   * names stays for an hour, since its stage may be about to.
   */
  async collect(options: { dryRun?: boolean; graceSeconds?: number } = {}): Promise<Collected> {
    this.#mustWrite();
    return collect(this.#db, { dryRun: options.dryRun ?? false, graceSeconds: options.graceSeconds ?? 3600 });
  }

  /** Ends runs that this store still writes as interrupted, and closes the database. */
  close(): void {
    try {
      for (const run of this.#writers) run.end("interrupted");
    } finally {
      this.#db.close();
    }
  }

  #isRunning(run: string): boolean {
    return readRun(this.#db, run)?.status === "running";
  }

  #mustWrite(): void {
    if (this.readOnly) throw new StoreAccessError(`${this.folder} was opened read-only`);
  }
}
