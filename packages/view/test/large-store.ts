import { join } from "node:path";
import { DatabaseSync } from "@photostructure/sqlite";
import { hashOf, openStore } from "@tenet/runs";
import { writeStore } from "./store.ts";

/*
 * A large store in seconds: one run is written as runs are, and its lines are copied in the database under other names. Only for
 * measuring; nothing but tests may write a store behind its back.
 */

export interface LargeStore {
  /** The run with the rows. */
  readonly long: string;
  /** One of the many. */
  readonly typical: string;
}

export function writeLargeStore(folder: string, { runs, rows }: { runs: number; rows: number }): LargeStore {
  const { store, done } = writeStore(folder, { prompts: 40, done: 1 });
  const typical = done[0]!;
  const long = writeLongRun(folder, typical, rows);
  const there = store.runs().length;
  store.close();
  copyRun(join(folder, "store.db"), typical, Math.max(0, runs - there));
  return { long, typical };
}

/** Held-out prompts with replies of two checkpoints, and labelled pairs; as many rows together as are asked for. */
function writeLongRun(folder: string, like: string, rows: number): string {
  const store = openStore(folder);
  const run = store.begin({ name: "long", recipe: { rows } });
  run.event({ kind: "opened", data: store.lastEvent(like, "opened")!.data });
  const counts = { answers: Math.floor(rows * 0.4), pairs: Math.floor(rows * 0.2) };
  const write = (name: string, kind: string, count: number, row: (ordinal: number) => object) => {
    const stage = run.stage({ name, kind, identity: hashOf([name, rows]) });
    for (let from = 0; from < count; from += 5000)
      stage.append(
        Array.from({ length: Math.min(5000, count - from) }, (_, i) => {
          const ordinal = from + i;
          const parent = `prompt ${ordinal}`;
          const made = { id: `${name} ${ordinal}`, origin: { parents: [parent] }, ...row(ordinal) };
          return { key: hashOf(made.id), input: parent, ordinal, rows: [made] };
        }),
      );
    stage.finish();
  };
  const asked = (ordinal: number) => [{ role: "user", content: `I have had a cough for ${ordinal} days. What now?` }];
  const said = (ordinal: number, often: number) =>
    ordinal % often === 0 ? "It passes. Take 400 mg of ibuprofen." : "Rest; if it gets worse, see a doctor.";
  for (const [id, often] of [
    ["base", 3],
    ["rl", 50],
  ] as const)
    write(`answers of ${id}`, "respond", counts.answers, (ordinal) => ({
      prompt: asked(ordinal),
      response: said(ordinal, often),
      finishReason: "stop",
    }));
  write("labels", "label", counts.pairs, (ordinal) => {
    const p = ((ordinal * 7919) % 1000) / 1000;
    const read = (first: "a" | "b", own: number) => ({ step: "reading", principle: "warm", first, p: own });
    return {
      prompt: asked(ordinal),
      a: said(ordinal, 3),
      b: said(ordinal, 50),
      p,
      label: "ai",
      explanation: [read("a", p), read("b", p)],
    };
  });
  for (let i = 0; i < 2000; i++) run.event({ kind: "message", message: `something happened for the ${i}th time` });
  run.end("done");
  store.close();
  return run.id;
}

function copyRun(path: string, like: string, times: number): void {
  const db = new DatabaseSync(path);
  db.exec("BEGIN");
  const columns = (table: string) =>
    (db.prepare(`PRAGMA table_info(${table})`).all() as { name: string }[]).map(({ name }) => name);
  /** Copies the lines of a table that belong to the run, with some columns otherwise. */
  const copy = (table: string, where: string, changed: Readonly<Record<string, string>>) => {
    const kept = columns(table).filter((name) => changed[name] !== "NULL");
    const values = kept.map((name) => changed[name] ?? name);
    return db.prepare(
      `INSERT INTO ${table}(${kept.join(", ")}) SELECT ${values.join(", ")} FROM ${table} WHERE ${where}`,
    );
  };
  const copies = [
    copy("run", "id = ?1", { id: "?2", created: "?3" }),
    copy("stage", "run = ?1", { id: "NULL", run: "?2", error: "nullif(error, ?3)" }),
    copy("event", "run = ?1", { run: "?2", message: "nullif(message, ?3)" }),
    copy("usage", "run = ?1", { run: "?2", stage: "coalesce(stage, ?3)" }),
  ];
  // Each has a scorecard of its own to be read.
  const card = copy("work", "id = (SELECT work FROM stage WHERE run = ?1 AND name = 'scorecard')", {
    id: "NULL",
    identity: "?2",
  });
  const own = db.prepare(
    "UPDATE stage SET work = (SELECT id FROM work WHERE identity = ?2) WHERE run = ?1 AND name = 'scorecard'",
  );
  for (let i = 0; i < times; i++) {
    const id = `copy-${hashOf(i).slice(0, 8)}`;
    for (const statement of copies) statement.run(like, id, new Date(Date.UTC(2026, 0, 1) + i * 60_000).toISOString());
    card.run(like, hashOf(["card", i]));
    own.run(id, hashOf(["card", i]));
  }
  db.exec("COMMIT");
  db.close();
}
