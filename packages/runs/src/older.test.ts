import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { Connection } from "./database.ts";
import { hashOf, openStore, type Store } from "./index.ts";
import { SCHEMA_VERSION } from "./schema.ts";

/** A store as SQLite 3.45.1 (libsql 0.5.29) left it, killed: of 22 items the last two are in the log. See make.ts there. */
function olderStore(): string {
  const folder = temporaryFolder();
  for (const name of ["store.db", "store.db-wal"]) {
    const packed = readFileSync(new URL(`../test/libsql-0.5.29/${name}.gz`, import.meta.url));
    writeFileSync(join(folder, name), gunzipSync(packed));
  }
  return folder;
}

const spec = { name: "replies", kind: "respond", identity: hashOf("replies") };
const item = (n: number) => ({
  key: hashOf(["item", n]),
  input: `prompt ${n}`,
  ordinal: n,
  rows: n % 10 === 9 ? [] : [{ id: `row ${n}`, text: `é ${n} – ok`, origin: { parents: [`prompt ${n}`] } }],
  ...(n % 10 === 9 ? { aside: "it says nothing" } : {}),
});
const upTo = (count: number) => Array.from({ length: count }, (_, n) => item(n));

test("the store of an older SQLite is read with what was in its log, and continued", async () => {
  const folder = olderStore();
  const store = openStore(folder);
  const [run] = store.runs();
  expect(run).toMatchObject({ name: "desk", status: "interrupted", recipe: { seed: 1 }, versions: { tenet: "0.0.0" } });
  expect(store.stage(run!.id, "replies")).toMatchObject({ status: "interrupted", items: 22, aside: 2, rows: 20 });
  expect([...store.rows(spec.identity)]).toEqual(upTo(22).flatMap(({ rows }) => rows));
  expect(store.setAsideReasons(spec.identity)).toEqual([{ reason: "it says nothing", count: 2 }]);
  expect(store.usage(run!.id)).toMatchObject([
    { role: "generator", calls: 22, promptTokens: 400, completionTokens: 100, seconds: 1.5, dollars: 0.25 },
  ]);
  expect(store.metrics(run!.id)).toEqual([
    { stage: "replies", step: 1, name: "loss", value: 2.5 },
    { stage: "replies", step: 1, name: "none", value: Number.NaN },
    { stage: "replies", step: 1, name: "ratio", value: 0.1 + 0.2 },
  ]);
  expect(store.labels()).toMatchObject([{ pair: "row 0", p: 0.5, who: "reader" }]);
  expect(await store.verify()).toEqual([]);

  const writer = store.begin({ name: "desk", recipe: { seed: 1 } });
  expect(writer.id).toBe(run!.id);
  const stage = writer.stage(spec);
  const missing = stage.missing(upTo(30));
  expect(missing.map(({ ordinal }) => ordinal)).toEqual([22, 23, 24, 25, 26, 27, 28, 29]);
  stage.append(missing);
  const { dataset } = stage.finish({ inputs: 30 });
  writer.end("done");
  expect(await store.verify()).toEqual([]);
  store.close();

  const fresh = openStore(temporaryFolder());
  const other = fresh.begin({ name: "desk", recipe: { seed: 1 } }).stage(spec);
  other.append(upTo(30));
  expect(other.finish().dataset).toEqual(dataset);
  fresh.close();
});

test("a store of version 1 gets the tables of later versions when it is opened to write, once; read, it lacks nothing", () => {
  const folder = olderStore();
  const version = () => {
    const db = new Connection(folder);
    const found = db.prepare<{ user_version: number }>("PRAGMA user_version").get()!.user_version;
    db.close();
    return found;
  };
  const look = (store: Store) => ({
    runs: store.runs().map(({ id }) => store.stages(id).map(({ name, rows }) => [name, rows])),
    labels: store.labels().length,
    row: store.row("row 3")?.id,
    page: store.page(spec.identity, { after: 8, limit: 3 }).rows.map(({ row }) => row.id),
    stages: store.lineage("row 3")[0]!.stages.map(({ stage }) => stage),
  });
  const before = {
    runs: [[["replies", 20]]],
    labels: 1,
    row: "row 3",
    page: ["row 10", "row 11"],
    stages: ["replies"],
  };

  const reader = openStore(folder, { readOnly: true });
  const { id } = reader.runs()[0]!;
  expect(look(reader)).toEqual(before);
  expect([
    reader.progress(id),
    reader.superseded(id),
    reader.queues(),
    reader.annotations(),
    reader.runNotes(),
  ]).toEqual([[], [], [], [], []]);
  expect(reader.stepTimes(id, "replies")).toEqual([]);
  reader.close();
  expect(version()).toBe(1);

  for (const _ of [1, 2]) {
    const store = openStore(folder);
    expect(look(store)).toEqual(before);
    store.addLabel({ pair: "row 0", p: 1, who: "reader" });
    expect(store.labels()).toMatchObject([{ pair: "row 0", p: 1 }]);
    store.close();
    expect(version()).toBe(SCHEMA_VERSION);
  }
});

test("who reads a store of version 1 sees what is written into it once another process has given it its tables", () => {
  const folder = olderStore();
  const reader = openStore(folder, { readOnly: true });
  const { id } = reader.runs()[0]!;
  expect([reader.runNotes(), reader.progress(id)]).toEqual([[], []]);
  const writer = openStore(folder);
  writer.addRunNote({ run: id, value: { name: "first" }, who: "reader" });
  expect(reader.runNotes()).toMatchObject([{ run: id, value: { name: "first" } }]);
  expect(reader.queues()).toEqual([]);
  expect(reader.lineage("row 3")[0]!.stages.map(({ stage }) => stage)).toEqual(["replies"]);
  expect(() => reader.addRunNote({ run: id, value: {}, who: "reader" })).toThrow("read-only");
  writer.close();
  reader.close();
});

test("the SQLite in use is one without the WAL-reset bug and CVE-2025-6965", () => {
  const db = new Connection(temporaryFolder());
  const { version } = db.prepare<{ version: string }>("SELECT sqlite_version() AS version").get()!;
  const [major, minor, patch] = version.split(".").map(Number) as [number, number, number];
  expect(major * 1_000_000 + minor * 1_000 + patch).toBeGreaterThanOrEqual(3_051_003);
  db.close();
});
