import { canonicalJson } from "./canonical.ts";
import type { Connection } from "./database.ts";
import type { Rollout } from "./types.ts";

/*
 * What a policy said while it was trained, for who asks how its replies changed. Nothing depends on it.
 */

/** A step that is done again after a restart replaces its replies. */
export function writeRollouts(
  db: Connection,
  work: number,
  step: number,
  replies: readonly Omit<Rollout, "step">[],
): void {
  db.prepare("DELETE FROM rollout WHERE work = ? AND step = ?").run(work, step);
  const insert = db.prepare("INSERT INTO rollout VALUES(?, ?, ?, ?)");
  for (const [ordinal, reply] of replies.entries()) insert.run(work, step, ordinal, canonicalJson(reply));
}

export function readRollouts(db: Connection, run: string, stage: string): Rollout[] {
  return db
    .prepare<{ step: number; json: string }>(`
      SELECT step, json FROM stage JOIN rollout ON rollout.work = stage.work
      WHERE run = ? AND stage.name = ? ORDER BY step, ordinal`)
    .all(run, stage)
    .map(({ step, json }) => ({ step, ...(JSON.parse(json) as Omit<Rollout, "step">) }));
}
