import { existsSync } from "node:fs";
import { hostname } from "node:os";
import { artifactPlace, isIntact, removeArtifact } from "./artifacts.ts";
import { canonicalJson, hashOf } from "./canonical.ts";
import type { Connection } from "./database.ts";
import { RunBusyError, StoreError, storeError, type Writer } from "./errors.ts";
import { lastSequence } from "./events.ts";
import { Lock } from "./lock.ts";
import { type NewProgress, writeProgress } from "./progress.ts";
import { readRun, runLock } from "./read.ts";
import { StageWriter } from "./stage.ts";
import {
  checked,
  type NewEvent,
  type RunInfo,
  type RunSpec,
  type RunStatus,
  runSpecSchema,
  type StageSpec,
  stageSpecSchema,
} from "./types.ts";

/** Id of the run that a name and a resolved recipe make: `<name>-<first 8 digits of the recipe's hash>`. */
export function runId(spec: Pick<RunSpec, "name" | "recipe">): string {
  return `${spec.name}-${hashOf(spec.recipe).slice(0, 8)}`;
}

/** Writes one run, alone: holds its lock until `end`, or until the process dies. Got from `Store.begin`. */
export class RunWriter {
  readonly id: string;
  /** Who wrote the run when its process died, where that is why it is continued. */
  readonly takenOverFrom: Writer | undefined;
  readonly #db: Connection;
  readonly #lock: Lock;
  readonly #stages: StageWriter[] = [];
  /** Stages that this process has told the progress of. */
  readonly #watched = new Set<string>();
  #sequence: number;
  #ended = false;

  private constructor(db: Connection, id: string, lock: Lock, takenOverFrom: Writer | undefined) {
    this.id = id;
    this.takenOverFrom = takenOverFrom;
    this.#db = db;
    this.#lock = lock;
    this.#sequence = lastSequence(db, id);
  }

  /** @internal */
  static begin(db: Connection, spec: RunSpec): RunWriter {
    const { name, recipe, versions } = checked(runSpecSchema, spec, "run");
    const id = runId({ name, recipe });
    const lock = Lock.acquire(runLock(db.folder, id));
    if (!lock) throw new RunBusyError(id, readRun(db, id)?.writer);
    try {
      const before = readRow(db, id);
      const now = new Date().toISOString();
      db.prepare(`
        INSERT INTO run(id, name, recipe, status, versions, created, updated, pid, host, since)
        VALUES(?1, ?2, ?3, 'running', ?4, ?5, ?5, ?6, ?7, ?5)
        ON CONFLICT DO UPDATE SET status = excluded.status, error = NULL, versions = excluded.versions,
          updated = excluded.updated, pid = excluded.pid, host = excluded.host, since = excluded.since`).run(
        id,
        name,
        canonicalJson(recipe),
        canonicalJson(versions),
        now,
        process.pid,
        hostname(),
      );
      const died = before?.status === "running" && before.pid !== null;
      return new RunWriter(
        db,
        id,
        lock,
        died ? { pid: before.pid!, host: before.host!, since: before.since! } : undefined,
      );
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  get info(): RunInfo {
    return readRun(this.#db, this.id)!;
  }

  /**
   * Begins a stage, or continues it. A stage that any run of the store has finished under the same identity is `done` at once.
   * A name that stood for another identity in this run stands for the new one from now on; a finished result that it stood for
   * stays, as superseded.
   */
  stage(spec: StageSpec): StageWriter {
    this.#mustBeOpen();
    const { name, kind, identity, settings } = checked(stageSpecSchema, spec, "stage");
    const stage = this.#db.transaction(() => {
      this.#db
        .prepare("INSERT INTO work(identity, kind, settings) VALUES(?, ?, ?) ON CONFLICT DO NOTHING")
        .run(identity, kind, settings === undefined ? null : canonicalJson(settings));
      const work = this.#db
        .prepare<{ id: number; finished: string | null }>("SELECT id, finished FROM work WHERE identity = ?")
        .get(identity)!;
      const done = work.finished !== null && this.#hasArtifacts(work.id);
      const now = new Date().toISOString();
      const status = done ? "done" : "running";
      this.#db
        .prepare(`
          INSERT INTO superseded(run, name, work, status, attempts, started, finished, seconds, error, replaced)
          SELECT run, name, work, status, attempts, started, finished, seconds, error, ? FROM stage
          WHERE run = ? AND name = ? AND work <> ? AND status = 'done'`)
        .run(now, this.id, name, work.id);
      this.#db
        .prepare(`
          INSERT INTO stage(run, name, work, status, attempts, started, finished, seconds)
          VALUES(?1, ?2, ?3, ?4, 0, ?5, ?6, 0) ON CONFLICT DO UPDATE SET
            attempts = iif(work = excluded.work, attempts, 0), seconds = iif(work = excluded.work, seconds, 0),
            started = iif(work = excluded.work, started, excluded.started),
            finished = iif(work = excluded.work AND ?4 = 'done', coalesce(finished, ?6), ?6),
            work = excluded.work, status = excluded.status, error = NULL`)
        .run(this.id, name, work.id, status, now, done ? now : null);
      if (!done)
        this.#db.prepare("UPDATE stage SET attempts = attempts + 1 WHERE run = ? AND name = ?").run(this.id, name);
      const { id } = this.#db
        .prepare<{ id: number }>("SELECT id FROM stage WHERE run = ? AND name = ?")
        .get(this.id, name)!;
      return { id, work: work.id };
    });
    const writer = new StageWriter(this.#db, { ...stage, run: this.id, name, identity });
    this.#stages.push(writer);
    return writer;
  }

  /**
   * Removes what a finished stage made and somebody has changed since, and gives the paths: the stage, begun behind this, is
   * made again, as where an artifact was removed.
   */
  async removeChanged(identity: string): Promise<string[]> {
    this.#mustBeOpen();
    const { folder } = this.#db;
    const made = this.#db
      .prepare<{ artifact: string }>(`
        SELECT artifact FROM work_artifact JOIN work ON work.id = work_artifact.work
        WHERE identity = ? AND finished IS NOT NULL ORDER BY artifact`)
      .all(identity);
    const removed: string[] = [];
    try {
      for (const { artifact } of made) {
        const place = artifactPlace(folder, artifact);
        if (!existsSync(place) || (await isIntact(this.#db, artifact))) continue;
        await removeArtifact(folder, artifact);
        removed.push(place);
      }
    } catch (error) {
      throw storeError(error, folder);
    }
    return removed;
  }

  /** Says how far a stage has come, for who watches: at most once a second is enough, and its last word. */
  progress(progress: NewProgress): void {
    this.#mustBeOpen();
    writeProgress(this.#db, this.id, progress, { begins: !this.#watched.has(progress.stage) });
    this.#watched.add(progress.stage);
  }

  /** Adds to the run's stream of events and gives the event's number. */
  event({ kind, stage, message, data }: NewEvent): number {
    this.#mustBeOpen();
    const sequence = this.#sequence + 1;
    this.#db
      .prepare("INSERT INTO event VALUES(?, ?, ?, ?, ?, ?, ?)")
      .run(
        this.id,
        sequence,
        new Date().toISOString(),
        stage ?? null,
        kind,
        message ?? null,
        data === undefined ? null : canonicalJson(data),
      );
    this.#sequence = sequence;
    return sequence;
  }

  /** Ends the run, and its unfinished stages with it; it can be begun again. Gives up the lock even when nothing can be written. */
  end(status: Exclude<RunStatus, "running">, error?: string): void {
    if (this.#ended) return;
    this.#ended = true;
    try {
      this.#db.transaction(() => {
        this.#db
          .prepare("UPDATE run SET status = ?, error = ?, updated = ? WHERE id = ?")
          .run(status, error ?? null, new Date().toISOString(), this.id);
        this.#db
          .prepare("UPDATE stage SET status = ? WHERE run = ? AND status = 'running'")
          .run(status === "failed" ? "failed" : "interrupted", this.id);
      });
    } finally {
      for (const stage of this.#stages) stage.close();
      this.#lock.release();
    }
  }

  /** Whether a finished work's artifacts are still there; if not, somebody removed them by hand and it is unfinished again. */
  #hasArtifacts(work: number): boolean {
    const artifacts = this.#db
      .prepare<{ artifact: string }>("SELECT artifact FROM work_artifact WHERE work = ?")
      .all(work);
    if (artifacts.every(({ artifact }) => existsSync(artifactPlace(this.#db.folder, artifact)))) return true;
    this.#db.prepare("UPDATE work SET finished = NULL, hash = NULL, output = NULL WHERE id = ?").run(work);
    this.#db.prepare("DELETE FROM work_artifact WHERE work = ?").run(work);
    return false;
  }

  #mustBeOpen(): void {
    if (this.#ended) throw new StoreError(`run ${this.id} is ended; begin it again to write`);
  }
}

function readRow(db: Connection, id: string) {
  return db
    .prepare<{ status: RunStatus; pid: number | null; host: string | null; since: string | null }>(
      "SELECT status, pid, host, since FROM run WHERE id = ?",
    )
    .get(id);
}
