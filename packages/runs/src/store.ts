import { accessSync, constants, existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { addArtifact, artifactPlace, hasItsHash, intactArtifact } from "./artifacts.ts";
import { collect, removeRun } from "./collect.ts";
import { Connection } from "./database.ts";
import { reasonsOf, rowsOf, setAsideOf } from "./dataset.ts";
import { NotInStoreError, StoreAccessError, StoreError, storeError } from "./errors.ts";
import { readEvents } from "./events.ts";
import { makeFolder } from "./folder.ts";
import { readLineage, readMetrics, readRun, readRuns, readStage, readStages, readUsage, workOf } from "./read.ts";
import { RunWriter } from "./run.ts";
import { prepareSchema } from "./schema.ts";
import {
  type ArtifactInfo,
  type Collected,
  checked,
  type Label,
  type LineageNode,
  labelSchema,
  type Metric,
  type RunEvent,
  type RunInfo,
  type RunSpec,
  type SetAside,
  type StageInfo,
  type StoredLabel,
  type StoredRow,
  type UsageTotal,
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

  /** @throws NotInStoreError */
  run(id: string): RunInfo {
    const run = readRun(this.#db, id);
    if (run) return run;
    const known = this.runs().map((one) => one.id);
    throw new NotInStoreError(`${this.folder} holds no run ${id}; it holds ${known.slice(0, 10).join(", ") || "none"}`);
  }

  /** A run's stages in the order in which they were first begun. */
  stages(run: string): StageInfo[] {
    return readStages(this.#db, run, () => this.#isRunning(run));
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

  /** Figures by stage, step and name; those of stages that were taken over from other runs too. */
  metrics(run: string, filter: { stage?: string; name?: string; afterStep?: number } = {}): Metric[] {
    return readMetrics(this.#db, run, filter);
  }

  /** What each role spent in each stage of this run, over all its attempts; nothing where a stage was taken over. */
  usage(run: string): UsageTotal[] {
    return readUsage(this.#db, run);
  }

  /** Records what a person preferred. Someone who labels a pair again changes their mind. */
  addLabel(label: Label): void {
    this.#mustWrite();
    const { pair, p, who, note } = checked(labelSchema, label, "label");
    this.#db
      .prepare("INSERT INTO label(pair, p, who, time, note) VALUES(?, ?, ?, ?, ?)")
      .run(pair, p, who, new Date().toISOString(), note ?? null);
  }

  /** Every person's latest word on every pair, or on one. Human labels stand over machine labels, in all runs. */
  labels(options: { pair?: string } = {}): StoredLabel[] {
    return this.#db
      .prepare<Omit<StoredLabel, "note"> & { note: string | null }>(`
        SELECT pair, p, who, time, note FROM label WHERE id IN (SELECT max(id) FROM label GROUP BY pair, who)
          AND (?1 IS NULL OR pair = ?1) ORDER BY id`)
      .all(options.pair ?? null)
      .map(({ note, ...label }) => ({ ...label, ...(note === null ? {} : { note }) }));
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
