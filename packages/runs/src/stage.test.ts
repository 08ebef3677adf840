import { createHash } from "node:crypto";
import { existsSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemAt, itemsUpTo, type TextRow } from "../test/items.ts";
import {
  canonicalJson,
  hashOf,
  type Item,
  NotInStoreError,
  NotJsonError,
  openStore,
  StageBusyError,
  StoreError,
} from "./index.ts";

function newRun(recipe: unknown = {}, store = openStore(temporaryFolder())) {
  return { store, run: store.begin({ name: "test", recipe }) };
}

const items = { name: "items", kind: "items", identity: hashOf("items") };

test("a dataset is in the order of its inputs and has one hash, whatever order its items arrive in", () => {
  const store = openStore(temporaryFolder());
  const all = itemsUpTo(20);
  const lines = all.flatMap(({ rows }) => rows.map((row) => `${canonicalJson(row)}\n`)).join("");
  const expected = createHash("sha256").update(lines).digest("hex");
  let round = 0;
  fc.assert(
    fc.property(
      fc.shuffledSubarray(all, { minLength: all.length }),
      fc.integer({ min: 1, max: 8 }),
      fc.boolean(),
      (order, batch, known) => {
        const run = store.begin({ name: "order", recipe: round++ });
        // Keys of their own for half of the cases: the other half finds its items in the store.
        const salted = order.map((item) => (known ? item : { ...item, key: hashOf([round, item.ordinal]) }));
        const stage = run.stage({ ...items, identity: hashOf(["items", round]) });
        for (let index = 0; index < salted.length; index += batch)
          stage.append(stage.missing(salted.slice(index, index + batch)));
        const info = stage.finish({ inputs: all.length });
        expect(info.dataset).toEqual({
          hash: expected,
          rows: all.flatMap(({ rows }) => rows).length,
          items: 20,
          aside: 4,
        });
        expect([...store.rows(info.identity)]).toEqual(all.flatMap(({ rows }) => rows));
        run.end("done");
      },
    ),
    { numRuns: 15 },
  );
  store.close();
});

test("datasets longer than a page are read whole, items without rows included", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  const none = Array.from({ length: 700 }, (_, ordinal) => ({ ...itemAt(ordinal), rows: [] }));
  const some = itemsUpTo(1400).slice(700);
  stage.append([...some, ...none]);
  const { dataset } = stage.finish({ inputs: 1400 });
  const rows = some.flatMap((item) => item.rows);
  expect([...store.rows(items.identity)]).toEqual(rows);
  expect(dataset).toMatchObject({ rows: rows.length, items: 1400, aside: 280 });
  expect(run.info.status).toBe("running");
  store.close();
});

test("an empty stage has the hash of nothing", () => {
  const { store, run } = newRun();
  expect(run.stage(items).finish({ inputs: 0 }).dataset).toEqual({
    hash: createHash("sha256").digest("hex"),
    rows: 0,
    items: 0,
    aside: 0,
  });
  store.close();
});

test("what is set aside is listed with its reason, and reasons are counted", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.append([...itemsUpTo(15), { ...itemAt(15), aside: "a NUL\0 inside" }]);
  expect([...store.setAside(items.identity)]).toEqual([
    { input: "prompt-4", ordinal: 4, reason: "reason 0" },
    { input: "prompt-9", ordinal: 9, reason: "reason 1" },
    { input: "prompt-14", ordinal: 14, reason: "reason 0" },
    { input: "prompt-15", ordinal: 15, reason: "a NUL\ufffd inside" },
  ]);
  expect(store.setAsideReasons(items.identity)).toEqual([
    { reason: "reason 0", count: 2 },
    { reason: "a NUL\ufffd inside", count: 1 },
    { reason: "reason 1", count: 1 },
  ]);
  expect(stage.info).toMatchObject({ items: 16, aside: 4, rows: 15 });
  store.close();
});

test("a run begun again continues: items once appended are not missing", () => {
  const folder = temporaryFolder();
  const first = openStore(folder);
  const stage = first.begin({ name: "test", recipe: {} }).stage(items);
  expect(stage.missing(itemsUpTo(6)).map(({ ordinal }) => ordinal)).toEqual([0, 1, 2, 3, 4, 5]);
  stage.append(itemsUpTo(4));
  first.close();

  const { store, run } = newRun({}, openStore(folder));
  const again = run.stage(items);
  expect(again.done).toBe(false);
  expect(again.info).toMatchObject({ attempts: 2, items: 4 });
  expect(again.missing(itemsUpTo(6)).map(({ ordinal }) => ordinal)).toEqual([4, 5]);
  store.close();
});

test("items are shared by key between stages and runs; a changed key is missing alone", () => {
  const { store, run } = newRun(1);
  const stage = run.stage(items);
  stage.append(itemsUpTo(9));
  stage.finish({ inputs: 9 });
  run.end("done");

  const other = store.begin({ name: "test", recipe: 2 }).stage({ ...items, identity: hashOf("other") });
  const changed = itemsUpTo(9).map((item) => (item.ordinal === 5 ? { ...item, key: hashOf("changed") } : item));
  expect(other.missing(changed)).toEqual([changed[5]]);
  expect(other.info).toMatchObject({ items: 8, rows: 7, aside: 1 });
  other.append([{ ...changed[5]!, rows: [] }]);
  expect(other.finish({ inputs: 9 }).dataset).toMatchObject({ items: 9, rows: 7 });
  expect([...store.rows(items.identity)]).toHaveLength(9);
  store.close();
});

test("inputs with one key are asked for once and all get the outcome", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  const twins = [1, 2, 3].map((ordinal) => ({ key: hashOf("same"), ordinal }));
  expect(stage.missing(twins)).toEqual([twins[0]]);
  expect(stage.missing(twins.slice(1))).toEqual([]);
  expect(stage.missing(twins)).toEqual([twins[0]]);
  const row = { id: "row", origin: { parents: [] } };
  stage.append([{ ...twins[0]!, input: "prompt", rows: [row] }]);
  stage.append([{ key: hashOf("same"), ordinal: 0, input: "prompt", rows: [{ ...row, id: "other" }] }]);
  expect([...stage.rows()]).toEqual([row, row, row, row]);
  expect(stage.finish({ inputs: 4 }).dataset).toMatchObject({ items: 4, rows: 4 });
  store.close();
});

test("an append is whole or nothing", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.append([itemAt(0)]);
  const bad = (row: unknown) => [itemAt(1), { ...itemAt(2), rows: [row] } as Item];
  expect(() => stage.append(bad({ id: "r", origin: { parents: [] }, p: Number.NaN }))).toThrow(NotJsonError);
  expect(() => stage.append(bad({ id: "r" }))).toThrow("row 0 of input prompt-2 has no id or no origin.parents");
  expect(() => stage.append(bad(null))).toThrow(StoreError);
  expect(() => stage.append([itemAt(1), { ...itemAt(2), key: "abc" }])).toThrow('"abc" is no memo key');
  expect(() => stage.append([itemAt(1)], { usage: { judge: { calls: -1 } } })).toThrow("usage of judge");
  expect(stage.info.items).toBe(1);
  expect(store.usage(run.id)).toEqual([]);
  stage.append([itemAt(1), itemAt(2)]);
  expect([...stage.rows<TextRow>()].map(({ id }) => id)).toEqual(["row-1-0", "row-2-0", "row-2-1"]);
  store.close();
});

test("one input cannot have two outcomes", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.append([itemAt(3)]);
  stage.append([itemAt(3)]);
  expect(stage.info.items).toBe(1);
  expect(() => stage.append([itemAt(3, "other key")])).toThrow("input 3 already has an outcome under another key");
  store.close();
});

test("a stage with inputs left over is not finished, and a finished one is closed", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.append(itemsUpTo(3));
  expect(() => stage.finish({ inputs: 4 })).toThrow("3 of 4 inputs have an outcome");
  expect(stage.done).toBe(false);
  stage.finish({ inputs: 3 });
  for (const write of [
    () => stage.append([itemAt(3)]),
    () => stage.missing([itemAt(3)]),
    () => stage.finish(),
    () => stage.metrics(1, {}),
    () => stage.scratch(),
    () => stage.fail("late"),
  ])
    expect(write).toThrow("is finished; read its results");
  store.close();
});

test("a finished stage is taken over by other runs, with its results, and costs them nothing", () => {
  const { store, run } = newRun(1);
  const stage = run.stage({ ...items, settings: { seed: 1 } });
  stage.append(itemsUpTo(3), { usage: { writer: { calls: 3, promptTokens: 30 } } });
  stage.metrics(1, { loss: 2 });
  const info = stage.finish({ inputs: 3, output: { model: "m" } });
  run.end("done");

  const other = store.begin({ name: "test", recipe: 2 });
  const taken = other.stage({ ...items, name: "elsewhere" });
  expect(taken.done).toBe(true);
  expect(taken.info).toMatchObject({
    attempts: 0,
    seconds: 0,
    status: "done",
    settings: { seed: 1 },
    output: { model: "m" },
  });
  expect(taken.info.dataset).toEqual(info.dataset);
  expect(store.metrics(other.id)).toEqual([{ stage: "elsewhere", name: "loss", step: 1, value: 2 }]);
  expect(store.usage(other.id)).toEqual([]);

  const again = store.begin({ name: "test", recipe: 1 });
  expect(again.stage(items).info).toEqual({ ...info, status: "done" });
  store.close();
});

test("a name stands for the identity it was last begun with", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.append(itemsUpTo(3));
  stage.finish();
  const changed = run.stage({ ...items, identity: hashOf("changed") });
  expect(changed.done).toBe(false);
  expect(changed.info).toMatchObject({ attempts: 1, items: 0, status: "running" });
  expect(store.stages(run.id)).toHaveLength(1);
  store.close();
});

test("two runs may compute one stage at once: the first outcome stands", () => {
  const store = openStore(temporaryFolder());
  const [first, second] = [1, 2].map((recipe) => store.begin({ name: "test", recipe }).stage(items));
  first!.append(itemsUpTo(4));
  expect(second!.missing(itemsUpTo(6)).map(({ ordinal }) => ordinal)).toEqual([4, 5]);
  first!.append(itemsUpTo(6));
  first!.finish({ inputs: 6, output: "first" });
  second!.append(itemsUpTo(6).map((item) => ({ ...item, rows: [] })));
  expect(() => second!.append([itemAt(6)])).toThrow("finished it with fewer inputs");
  expect(second!.finish({ inputs: 6, output: "second" })).toMatchObject({ output: "first", dataset: { rows: 6 } });
  store.close();
});

test("a failed stage says why and can be begun again", () => {
  const { store, run } = newRun();
  const stage = run.stage(items);
  stage.fail("the endpoint is gone");
  expect(store.stage(run.id, "items")).toMatchObject({ status: "failed", error: "the endpoint is gone" });
  expect(() => stage.append([itemAt(0)])).toThrow("has ended without a result");
  const again = run.stage(items);
  expect(again.info).toMatchObject({ status: "running", attempts: 2 });
  expect(again.info).not.toHaveProperty("error");
  store.close();
});

test("a scratch folder is the same after a restart, belongs to one run at a time, and goes with the end of the stage", () => {
  const store = openStore(temporaryFolder());
  const begin = (recipe: number) => store.begin({ name: "test", recipe });
  const run = begin(1);
  const stage = run.stage(items);
  writeFileSync(join(stage.scratch(), "checkpoint"), "step 3");
  const other = begin(2).stage(items);
  expect(() => other.scratch()).toThrow(StageBusyError);
  run.end("interrupted");
  const path = other.scratch();
  expect(existsSync(join(path, "checkpoint"))).toBe(true);
  other.finish();
  expect(existsSync(path)).toBe(false);
  store.close();
});

test("a stage keeps the time of all its attempts", async () => {
  const { store, run } = newRun();
  const wait = () => new Promise((resolve) => setTimeout(resolve, 30));
  await wait();
  const stage = run.stage(items);
  await wait();
  stage.append([itemAt(0)]);
  const first = stage.info.seconds;
  expect(first).toBeGreaterThan(0.025);
  run.end("interrupted");
  const again = store.begin({ name: "test", recipe: {} }).stage(items);
  await wait();
  expect(again.finish().seconds).toBeGreaterThan(first + 0.025);
  store.close();
});

test("artifacts that were removed by hand make their stage unfinished", async () => {
  const { store, run } = newRun();
  const file = join(temporaryFolder(), "weights");
  writeFileSync(file, "weights");
  const stage = run.stage(items);
  const { hash } = await stage.addArtifact(file);
  expect(() => stage.finish({ artifacts: [hashOf("no artifact")] })).toThrow(NotInStoreError);
  expect(stage.finish({ output: hash }).artifacts).toEqual([hash]);
  expect(run.stage(items).done).toBe(true);
  rmSync(store.artifactPath(hash));
  expect(run.stage(items).info).toMatchObject({ status: "running", artifacts: [] });
  store.close();
});

test("specifications are checked", () => {
  const { store, run } = newRun();
  expect(() => run.stage({ ...items, identity: "../../outside" })).toThrow(/identity/);
  expect(() => run.stage({ ...items, name: "" })).toThrow(/name/);
  expect(() => store.begin({ name: "../outside", recipe: {} })).toThrow(/name/);
  expect(() => store.begin({ name: "test", recipe: { at: new Date() } })).toThrow(NotJsonError);
  store.close();
});
