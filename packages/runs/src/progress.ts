import type { Connection } from "./database.ts";
import type { Progress, StepTime } from "./types.ts";

/*
 * How far the stage at work has come, for who watches. It says nothing that results depend on, and is written over.
 */

/** What `RunWriter.progress` is given. */
export type NewProgress = Pick<Progress, "stage" | "done" | "total" | "unit">;

/** `begins`: this is the first word of a process about the stage, from which its rate counts. */
export function writeProgress(
  db: Connection,
  run: string,
  { stage, done, total, unit }: NewProgress,
  { begins }: { begins: boolean },
): void {
  const now = new Date().toISOString();
  db.prepare(`
    INSERT INTO progress VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?3, ?6) ON CONFLICT DO UPDATE SET
      done = excluded.done, total = excluded.total, unit = excluded.unit, updated = excluded.updated,
      started = iif(?7, excluded.started, started), begun = iif(?7, excluded.begun, begun)`).run(
    run,
    stage,
    done,
    total,
    unit,
    now,
    begins ? 1 : 0,
  );
}

export function readProgress(db: Connection, run: string): Progress[] {
  return db
    .prepare<Progress>(
      "SELECT stage, done, total, unit, started, begun, updated FROM progress WHERE run = ? ORDER BY updated, stage",
    )
    .all(run);
}

export function readStepTimes(db: Connection, run: string, stage: string): StepTime[] {
  return db
    .prepare<StepTime>(`
      SELECT step, time FROM stage JOIN step ON step.work = stage.work WHERE run = ? AND stage.name = ? ORDER BY step`)
    .all(run, stage);
}
