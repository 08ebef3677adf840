import { existsSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemAt, itemsUpTo } from "../test/items.ts";
import { Connection } from "./database.ts";
import {
  hashOf,
  NotInStoreError,
  openStore,
  RunBusyError,
  type RunEvent,
  runId,
  StoreAccessError,
  StoreCorruptError,
  StoreError,
  StoreVersionError,
} from "./index.ts";

const items = { name: "items", kind: "items", identity: hashOf("items") };

async function all(events: AsyncIterable<RunEvent>): Promise<RunEvent[]> {
  const found = [];
  for await (const event of events) found.push(event);
  return found;
}

test("a run's id is its name and its recipe's hash, and begins again what it was", () => {
  const store = openStore(temporaryFolder());
  const recipe = { seed: 1, model: "m" };
  const run = store.begin({ name: "desk", recipe, versions: { tenet: "1.0.0" } });
  expect(run.id).toBe(`desk-${hashOf(recipe).slice(0, 8)}`);
  expect(run.id).toBe(runId({ name: "desk", recipe: { model: "m", seed: 1 } }));
  expect(run.takenOverFrom).toBeUndefined();
  run.end("failed", "no such model");
  run.end("done");
  const before = store.run(run.id);
  expect(before).toMatchObject({ name: "desk", recipe, status: "failed", error: "no such model" });

  const again = store.begin({ name: "desk", recipe, versions: { tenet: "1.0.1" } });
  expect(again.takenOverFrom).toBeUndefined();
  expect(again.info).toMatchObject({ status: "running", versions: { tenet: "1.0.1" }, created: before.created });
  expect(again.info).not.toHaveProperty("error");
  store.begin({ name: "other", recipe });
  expect(store.runs().map(({ name }) => name)).toEqual(["other", "desk"]);
  expect(() => store.run("desk-00000000")).toThrow(/holds no run desk-00000000; it holds other-\w+, desk-\w+/);
  store.close();
});

test("a run has one writer", () => {
  const folder = temporaryFolder();
  const [store, other] = [openStore(folder), openStore(folder)];
  const run = store.begin({ name: "desk", recipe: {} });
  let busy: unknown;
  try {
    other.begin({ name: "desk", recipe: {} });
  } catch (error) {
    busy = error;
  }
  expect(busy).toBeInstanceOf(RunBusyError);
  const { writer, message } = busy as RunBusyError;
  expect(writer).toMatchObject({ pid: process.pid, since: run.info.updated });
  expect(message).toContain(`${run.id} is being written by process ${process.pid} on`);
  expect(() => other.remove(run.id)).toThrow(RunBusyError);
  run.end("done");
  expect(() => run.event({ kind: "late" })).toThrow("is ended");
  expect(() => run.stage(items)).toThrow("is ended");
  other.begin({ name: "desk", recipe: {} }).end("done");
  store.close();
  other.close();
});

test("closing a store interrupts the runs it writes", () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(items);
  store.close();
  expect(() => stage.append([itemAt(0)])).toThrow(StoreError);
  const reader = openStore(folder, { readOnly: true });
  expect(reader.run(run.id).status).toBe("interrupted");
  expect(reader.stages(run.id)).toMatchObject([{ name: "items", status: "interrupted" }]);
  reader.close();
});

test("a store that is only read is not made, not changed, and sees what is written meanwhile", () => {
  const folder = temporaryFolder();
  expect(() => openStore(join(folder, "none"), { readOnly: true })).toThrow(NotInStoreError);
  expect(existsSync(join(folder, "none"))).toBe(false);

  const store = openStore(folder);
  const reader = openStore(folder, { readOnly: true });
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(items);
  stage.append(itemsUpTo(300));
  const reading = reader.rows(items.identity);
  expect(reading.next().value).toEqual(itemAt(1).rows[0]);
  stage.append(itemsUpTo(600));
  expect([...reading]).toHaveLength(600 - 1);
  expect(reader.run(run.id).status).toBe("running");
  expect(reader.stage(run.id, "items")).toMatchObject({ items: 600, status: "running" });

  expect(() => reader.begin({ name: "desk", recipe: {} })).toThrow(StoreAccessError);
  expect(() => reader.addLabel({ pair: "p", p: 1, who: "me" })).toThrow("opened read-only");
  reader.close();
  store.close();
});

test("events are one stream a run, numbered without gaps, also after a restart", async () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const other = store.begin({ name: "other", recipe: {} });
  expect(run.event({ kind: "stage-started", stage: "items", message: "Items" })).toBe(1);
  expect(other.event({ kind: "stage-started" })).toBe(1);
  expect(run.event({ kind: "progress", data: { done: 1, of: [2] } })).toBe(2);
  run.end("interrupted");
  expect(store.begin({ name: "desk", recipe: {} }).event({ kind: "again" })).toBe(3);
  const events = await all(store.events(run.id));
  expect(events).toMatchObject([
    { sequence: 1, kind: "stage-started", stage: "items", message: "Items" },
    { sequence: 2, kind: "progress", data: { done: 1, of: [2] } },
    { sequence: 3, kind: "again" },
  ]);
  expect(Object.keys(events[2]!)).toEqual(["sequence", "time", "kind"]);
  expect(await all(store.events(run.id, { after: 2 }))).toEqual([events[2]]);
  store.close();
});

test("a follower sees events as they come and ends with the run", async () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const reader = openStore(folder, { readOnly: true });
  const run = store.begin({ name: "desk", recipe: {} });
  for (let n = 0; n < 650; n++) run.event({ kind: "early" });
  const following = all(reader.events(run.id, { follow: true, after: 100 }));
  setTimeout(() => run.event({ kind: "late" }), 50);
  setTimeout(() => {
    run.event({ kind: "last" });
    run.end("done");
  }, 300);
  const seen = await following;
  expect(seen.map(({ sequence }) => sequence)).toEqual(Array.from({ length: 552 }, (_, n) => 101 + n));
  expect(seen.at(-1)!.kind).toBe("last");
  reader.close();
  store.close();
});

test("a follower can be called off", async () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const controller = new AbortController();
  const following = all(store.events(run.id, { follow: true, signal: controller.signal }));
  setTimeout(() => controller.abort(), 20);
  await expect(following).rejects.toThrow(/abort/);
  store.close();
});

test("metrics keep every number, and a step done again replaces its figures", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(items);
  stage.metrics(1, { loss: 2.5, "grad norm": Number.POSITIVE_INFINITY });
  stage.metrics(2, { loss: 9 });
  stage.metrics(2, { loss: Number.NaN });
  run.stage({ ...items, name: "other", identity: hashOf("other") }).metrics(1, { loss: -0.1 });
  expect(store.metrics(run.id)).toEqual([
    { stage: "items", step: 1, name: "grad norm", value: Number.POSITIVE_INFINITY },
    { stage: "items", step: 1, name: "loss", value: 2.5 },
    { stage: "items", step: 2, name: "loss", value: Number.NaN },
    { stage: "other", step: 1, name: "loss", value: -0.1 },
  ]);
  expect(store.metrics(run.id, { stage: "items", name: "loss", afterStep: 1 })).toHaveLength(1);
  expect(store.metrics(run.id, { stage: "other" })).toHaveLength(1);
  store.close();
});

test("usage adds up by role; an unknown price stays unknown", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(items);
  stage.append([itemAt(0)], { usage: { judge: { promptTokens: 5, completionTokens: 2, calls: 1, seconds: 0.5 } } });
  stage.append([itemAt(1)], { usage: { judge: { promptTokens: 1, dollars: 0.25 }, critic: { calls: 2 } } });
  stage.usage("judge", { dollars: 0.5 });
  const none = { promptTokens: 0, completionTokens: 0, calls: 0, seconds: 0 };
  expect(store.usage(run.id)).toEqual([
    { ...none, stage: "items", role: "critic", calls: 2 },
    { stage: "items", role: "judge", promptTokens: 6, completionTokens: 2, calls: 1, seconds: 0.5, dollars: 0.75 },
  ]);
  store.close();
});

test("a person's latest label counts, everybody's is kept apart, and collecting leaves them", async () => {
  const store = openStore(temporaryFolder());
  store.addLabel({ pair: "a", p: 1, who: "Ada" });
  store.addLabel({ pair: "b", p: 0.5, who: "Ada", note: "both evade" });
  store.addLabel({ pair: "a", p: 0, who: "Grace" });
  store.addLabel({ pair: "a", p: 0.2, who: "Ada" });
  await store.collect({ graceSeconds: 0 });
  const labels = store.labels().map(({ time, ...label }) => {
    expect(Date.parse(time)).toBeGreaterThan(0);
    return label;
  });
  expect(labels).toEqual([
    { pair: "b", p: 0.5, who: "Ada", note: "both evade" },
    { pair: "a", p: 0, who: "Grace" },
    { pair: "a", p: 0.2, who: "Ada" },
  ]);
  expect(store.labels({ pair: "b" })).toHaveLength(1);
  expect(() => store.addLabel({ pair: "a", p: 1.2, who: "Ada" })).toThrow(/label: .*<=1/);
  store.close();
});

test("lineage walks from a row through every stage to the prompts", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const row = (id: string, parents: string[], more: object = {}) => ({ id, origin: { parents, ...more } });
  const write = (name: string, rows: ReturnType<typeof row>[]) => {
    const stage = run.stage({ name, kind: name, identity: hashOf(name) });
    stage.append([{ key: hashOf(["key", name]), input: "input", ordinal: 0, rows }]);
  };
  const chain = row("chain", ["reply", "unknown"], { principles: ["kind", "plain"], models: { critic: "c" }, seed: 7 });
  write("prompts", [row("prompt", []), row("other prompt", [])]);
  write("replies", [row("reply", ["prompt"])]);
  write("chains", [chain]);
  write("pairs", [row("pair", ["chain", "reply"])]);
  const stages = (...names: string[]) => names.map((stage) => ({ run: run.id, stage, kind: stage }));
  expect(store.lineage("pair")).toEqual([
    { id: "pair", depth: 0, row: row("pair", ["chain", "reply"]), stages: stages("pairs") },
    { id: "chain", depth: 1, row: chain, stages: stages("chains") },
    { id: "reply", depth: 1, row: row("reply", ["prompt"]), stages: stages("replies") },
    { id: "unknown", depth: 2, stages: [] },
    { id: "prompt", depth: 2, row: row("prompt", []), stages: stages("prompts") },
  ]);
  write("loop", [row("loop", ["loop"])]);
  expect(store.lineage("loop")).toHaveLength(1);
  expect(store.lineage("nothing")).toEqual([{ id: "nothing", depth: 0, stages: [] }]);
  store.close();
});

test("unknown files in the folder are left alone", async () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const artifacts = join(folder, "artifacts");
  const { mkdirSync } = await import("node:fs");
  mkdirSync(join(folder, "scratch", "mine"), { recursive: true });
  mkdirSync(artifacts);
  for (const name of ["notes.txt", "artifacts/readme", "scratch/mine/file"]) writeFileSync(join(folder, name), "mine");
  expect(await store.collect({ graceSeconds: 0 })).toMatchObject({ artifacts: 0, scratch: 0, bytes: 0 });
  store.close();
  expect(readdirSync(artifacts)).toEqual(["readme"]);
  expect(readFileSync(join(folder, "scratch", "mine", "file"), "utf8")).toBe("mine");
});

test("a store of a newer Tenet is named as such, and not touched", () => {
  const folder = temporaryFolder();
  openStore(folder).close();
  const db = new Connection(folder);
  db.exec("PRAGMA user_version = 7");
  db.close();
  for (const readOnly of [false, true]) {
    expect(() => openStore(folder, { readOnly })).toThrow(StoreVersionError);
    expect(() => openStore(folder, { readOnly })).toThrow("newer Tenet (store version 7; this one knows 3)");
  }
});

test("another program's database is not written into", () => {
  const folder = temporaryFolder();
  const db = new Connection(folder);
  db.exec("CREATE TABLE theirs(a); INSERT INTO theirs VALUES(1)");
  db.close();
  for (const readOnly of [false, true])
    expect(() => openStore(folder, { readOnly })).toThrow("belongs to another program");
});

test("an empty file, as a crash at the very start leaves it, becomes a store", () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "store.db"), "");
  const store = openStore(folder);
  expect(store.runs()).toEqual([]);
  store.close();
});

test("a damaged database is named, with what to do", async () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "store.db"), "no database at all ".repeat(500));
  expect(() => openStore(folder)).toThrow(StoreCorruptError);
  expect(() => openStore(folder)).toThrow(/Restore a copy, or rescue/);

  const other = temporaryFolder();
  const store = openStore(other);
  const run = store.begin({ name: "desk", recipe: {} });
  run.stage(items).append(itemsUpTo(500));
  await store.collect(); // writes the log into the file
  store.close();
  truncateSync(join(other, "store.db"), Math.floor(statSync(join(other, "store.db")).size / 8192) * 4096);
  const damaged = () => {
    const reader = openStore(other, { readOnly: true });
    try {
      return [...reader.rows(items.identity)].length;
    } finally {
      reader.close();
    }
  };
  expect(damaged).toThrow(StoreCorruptError);
});

test("verify names what was changed in the database: rows, outputs, recipes", async () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: { seed: 1 } });
  const stage = run.stage(items);
  stage.append(itemsUpTo(50));
  stage.finish({ output: { loss: 2.5 } });
  expect(await store.verify()).toEqual([]);
  const db = new Connection(store.folder);
  const changes: [string, string, string][] = [
    ["item", "jsonl", `rows of stage ${run.id} items were changed`],
    ["work", "output", `output of stage ${run.id} items was changed`],
    ["run", "recipe", `recipe of run ${run.id} was changed`],
  ];
  for (const [table, column, problem] of changes) {
    const { id, text } = db
      .prepare<{ id: string; text: string }>(`SELECT id, ${column} AS text FROM ${table} WHERE ${column} <> '' LIMIT 1`)
      .get()!;
    const changed = text.replace(/\d(?=\D*$)/, (digit) => String((Number(digit) + 1) % 10));
    expect(changed).not.toBe(text);
    db.prepare(`UPDATE ${table} SET ${column} = ? WHERE id = ?`).run(changed, id);
    expect(await store.verify()).toEqual([problem]);
    db.prepare(`UPDATE ${table} SET ${column} = ? WHERE id = ?`).run(text, id);
  }
  // A store from before there were seals is read and written as ever.
  db.exec("DROP TABLE seal");
  expect(await store.verify()).toEqual([]);
  db.close();
  store.close();
  const again = openStore(store.folder, { readOnly: true });
  expect(await again.verify()).toEqual([]);
  again.close();
});

test("verify finds nothing in a sound store", async () => {
  const store = openStore(temporaryFolder());
  store.begin({ name: "desk", recipe: {} }).stage(items).append(itemsUpTo(50));
  expect(await store.verify()).toEqual([]);
  store.close();
});

test("an empty database is no other program's: there is no run in it yet", () => {
  const folder = temporaryFolder();
  writeFileSync(join(folder, "store.db"), "");
  expect(() => openStore(folder, { readOnly: true })).toThrow(NotInStoreError);
  expect(() => openStore(folder, { readOnly: true })).toThrow("holds no run yet");
});

test("a folder that cannot be made is named", () => {
  const file = join(temporaryFolder(), "file");
  writeFileSync(file, "");
  expect(() => openStore(join(file, "store"))).toThrow(StoreAccessError);
  expect(() => openStore(join(file, "store"))).toThrow(/file.*Name another folder/s);
});

test.skipIf(!existsSync("/proc/self"))(
  "a folder that no file system makes is an error at once (where there is /proc)",
  () => {
    expect(() => openStore("/proc/tenet/store")).toThrow(/no run store can be made in \/proc\/tenet\/store: ENOENT/);
  },
);
