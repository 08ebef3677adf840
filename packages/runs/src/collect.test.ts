import { existsSync, mkdirSync, readdirSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemAt, itemsUpTo } from "../test/items.ts";
import { Connection } from "./database.ts";
import { hashOf, openStore, type Store } from "./index.ts";

const everything = { graceSeconds: 0 };

function fileOf(text: string): string {
  const path = join(temporaryFolder(), "file");
  writeFileSync(path, text);
  return path;
}

/** A finished run: items `from` to `to`, and an adapter of its own besides one that all runs have. */
async function finishedRun(store: Store, name: string, from: number, to: number): Promise<string> {
  const run = store.begin({ name, recipe: {} });
  const stage = run.stage({ name: "items", kind: "items", identity: hashOf(["items", from, to]) });
  const items = itemsUpTo(to)
    .slice(from)
    .map((item) => ({ ...item, ordinal: item.ordinal - from }));
  stage.append(stage.missing(items));
  stage.finish({ inputs: to - from });
  const train = run.stage({ name: "train", kind: "train", identity: hashOf(["train", name]) });
  train.scratch();
  await train.addArtifact(fileOf(`adapter of ${name}`));
  await train.addArtifact(fileOf("tokenizer"));
  train.metrics(1, { loss: 1 });
  train.finish();
  run.end("done");
  return run.id;
}

function countsOf(store: Store): Record<string, number> {
  const db = new Connection(store.folder);
  const tables = [
    "run",
    "work",
    "stage",
    "item",
    "row",
    "member",
    "artifact",
    "work_artifact",
    "metric",
    "event",
    "usage",
  ];
  const count = (table: string) => db.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).get()!.n;
  const counts = Object.fromEntries(tables.map((table) => [table, count(table)]));
  db.close();
  return counts;
}

test("what a run needs stays, what only removed runs needed goes", async () => {
  const store = openStore(temporaryFolder());
  const [first, second] = [await finishedRun(store, "first", 0, 30), await finishedRun(store, "second", 20, 60)];
  const before = { counts: countsOf(store), stages: store.stages(second) };
  expect(await store.collect(everything)).toEqual({ works: 0, items: 0, artifacts: 0, scratch: 0, bytes: 0 });
  expect(countsOf(store)).toEqual(before.counts);

  store.remove(first);
  const dry = await store.collect({ ...everything, dryRun: true });
  expect(dry).toMatchObject({ works: 2, items: 20, artifacts: 1, scratch: 0 });
  expect(dry.bytes).toBeGreaterThan("adapter of first".length + 20 * 50);
  expect(countsOf(store).item).toBe(60);
  expect(await store.collect(everything)).toEqual(dry);

  expect(countsOf(store)).toMatchObject({ run: 1, work: 2, stage: 2, item: 40, member: 40, artifact: 2, metric: 1 });
  expect(store.stages(second)).toEqual(before.stages);
  const rows = itemsUpTo(60)
    .slice(20)
    .flatMap((item) => item.rows);
  expect([...store.rows(hashOf(["items", 20, 60]))]).toEqual(rows);
  expect(countsOf(store).row).toBe(rows.length);
  expect(store.lineage("row-22-0")[0]!.stages).toHaveLength(1);
  expect(store.lineage("row-1-0")[0]).not.toHaveProperty("row");
  expect(await store.verify()).toEqual([]);
  expect(readdirSync(join(store.folder, "artifacts"))).toHaveLength(2);

  store.remove(second);
  await store.collect(everything);
  expect(Object.values(countsOf(store)).every((count) => count === 0)).toBe(true);
  expect(readdirSync(join(store.folder, "artifacts"))).toEqual([]);
  store.close();
});

test("an unfinished stage keeps its items and its scratch folder; one that no run has any more loses them", async () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "run", recipe: {} });
  const stage = run.stage({ name: "train", kind: "train", identity: hashOf("train") });
  stage.append(itemsUpTo(5));
  const scratch = stage.scratch();
  writeFileSync(join(scratch, "checkpoint"), Buffer.alloc(1000));
  run.end("interrupted");
  expect(await store.collect(everything)).toMatchObject({ items: 0, scratch: 0 });
  expect(existsSync(join(scratch, "checkpoint"))).toBe(true);

  store.begin({ name: "run", recipe: {} }).stage({ name: "train", kind: "train", identity: hashOf("changed") });
  const collected = await store.collect(everything);
  expect(collected).toMatchObject({ works: 1, items: 5, scratch: 1 });
  expect(collected.bytes).toBeGreaterThanOrEqual(1000);
  expect(existsSync(scratch)).toBe(false);
  store.close();
});

test("an artifact that no stage names has an hour to find one", async () => {
  const store = openStore(temporaryFolder());
  const { hash } = await store.addArtifact(fileOf("weights"));
  expect(await store.collect()).toMatchObject({ artifacts: 0 });
  const stage = store.begin({ name: "run", recipe: {} }).stage({ name: "s", kind: "s", identity: hashOf("s") });
  stage.finish({ artifacts: [hash] });
  expect(await store.collect(everything)).toMatchObject({ artifacts: 0 });
  const other = await store.addArtifact(fileOf("others"));
  expect(await store.collect(everything)).toMatchObject({ artifacts: 1, bytes: 6 });
  expect(store.artifactPath(hash)).toContain(hash);
  expect(() => store.artifactPath(other.hash)).toThrow("holds no artifact");
  store.close();
});

test("copies that a killed process left are removed once they are old", async () => {
  const store = openStore(temporaryFolder());
  const left = join(store.folder, "artifacts", ".tmp-1234-abc");
  mkdirSync(left, { recursive: true });
  writeFileSync(join(left, "half"), "half");
  await store.collect();
  expect(existsSync(left)).toBe(true);
  utimesSync(left, 0, 0);
  expect(await store.collect()).toMatchObject({ artifacts: 0, bytes: 4 });
  expect(existsSync(left)).toBe(false);
  store.close();
});

test("collecting gives the room back", async () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "run", recipe: {} });
  const stage = run.stage({ name: "s", kind: "s", identity: hashOf("s") });
  const text = "x".repeat(3000);
  const row = (n: number) => ({ id: `row ${n}`, origin: { parents: [] }, text });
  stage.append(Array.from({ length: 1200 }, (_, n) => ({ ...itemAt(n), rows: [row(n)] })));
  run.end("done");
  const pages = () => {
    const db = new Connection(store.folder);
    const count = db.prepare<{ page_count: number }>("PRAGMA page_count").get()!.page_count;
    db.close();
    return count;
  };
  const before = pages();
  store.remove(run.id);
  expect(await store.collect(everything)).toMatchObject({ items: 1200 });
  expect(pages()).toBeLessThan(before / 10);
  store.close();
});
