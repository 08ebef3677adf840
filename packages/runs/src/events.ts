import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./database.ts";
import type { RunEvent } from "./types.ts";

/** How often a follower looks for new events. */
const LOOK_MILLISECONDS = 200;

const PAGE = 500;

interface EventRow {
  sequence: number;
  time: string;
  stage: string | null;
  kind: string;
  message: string | null;
  data: string | null;
}

/** Events behind `after`; with `follow` also those to come, until the run is no longer written. */
export async function* readEvents(
  db: Connection,
  run: string,
  options: { after: number; follow: boolean; signal?: AbortSignal | undefined; isRunning: () => boolean },
): AsyncGenerator<RunEvent> {
  const page = db.prepare<EventRow>(
    `SELECT sequence, time, stage, kind, message, data FROM event WHERE run = ? AND sequence > ?
     ORDER BY sequence LIMIT ${PAGE}`,
  );
  let { after } = options;
  for (;;) {
    options.signal?.throwIfAborted();
    // Asked before reading: an event written in between is not missed.
    const last = !options.follow || !options.isRunning();
    const found = page.all(run, after);
    for (const row of found) {
      after = row.sequence;
      yield eventOf(row);
    }
    if (found.length === PAGE) continue;
    if (last) return;
    await sleep(LOOK_MILLISECONDS, undefined, options.signal ? { signal: options.signal } : {});
  }
}

/** Events behind number `after`, `limit` of them at most. */
export function eventsBehind(db: Connection, run: string, after: number, limit: number): RunEvent[] {
  return db
    .prepare<EventRow>(
      `SELECT sequence, time, stage, kind, message, data FROM event WHERE run = ? AND sequence > ?
       ORDER BY sequence LIMIT ?`,
    )
    .all(run, after, limit)
    .map(eventOf);
}

/** The last event behind number `after`, or the last of a kind. */
export function lastEvent(db: Connection, run: string, kind: string | undefined, after: number): RunEvent | undefined {
  const row = db
    .prepare<EventRow>(
      `SELECT sequence, time, stage, kind, message, data FROM event
       WHERE run = ?1 AND sequence > ?3 AND (?2 IS NULL OR kind = ?2) ORDER BY sequence DESC LIMIT 1`,
    )
    .get(run, kind ?? null, after);
  return row && eventOf(row);
}

/** Number of the last event; 0 where there is none. */
export function lastSequence(db: Connection, run: string): number {
  return db.prepare<{ last: number }>("SELECT coalesce(max(sequence), 0) AS last FROM event WHERE run = ?").get(run)!
    .last;
}

function eventOf({ sequence, time, stage, kind, message, data }: EventRow): RunEvent {
  return {
    sequence,
    time,
    kind,
    ...(stage === null ? {} : { stage }),
    ...(message === null ? {} : { message }),
    ...(data === null ? {} : { data: JSON.parse(data) }),
  };
}
