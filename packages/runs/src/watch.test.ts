import { existsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemsUpTo } from "../test/items.ts";
import { hashOf, NotInStoreError, openStore } from "./index.ts";

const spec = (identity: string) => ({ name: "items", kind: "items", identity: hashOf(identity) });

test("progress is the latest word, and its rate counts from where this process began", () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const run = store.begin({ name: "desk", recipe: {} });
  run.progress({ stage: "items", done: 4, total: 10, unit: "rows" });
  run.progress({ stage: "items", done: 7, total: 10, unit: "rows" });
  expect(store.progress(run.id)).toMatchObject([{ stage: "items", done: 7, total: 10, unit: "rows", begun: 4 }]);
  run.end("interrupted");
  const again = store.begin({ name: "desk", recipe: {} });
  again.progress({ stage: "items", done: 8, total: 10, unit: "rows" });
  again.progress({ stage: "train", done: 1, total: 3, unit: "steps" });
  const [items, train] = store.progress(run.id);
  expect(items).toMatchObject({ begun: 8, done: 8 });
  expect(train).toMatchObject({ stage: "train", begun: 1 });
  expect(items!.started <= items!.updated).toBe(true);
  again.end("done");
  expect(() => again.progress({ stage: "items", done: 9, total: 10, unit: "rows" })).toThrow("is ended");
  store.remove(run.id);
  expect(store.progress(run.id)).toEqual([]);
  store.close();
});

test("a step has the time at which its figures were written last", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(spec("train"));
  const before = new Date().toISOString();
  stage.metrics(1, { loss: 2, kl: 0 });
  stage.metrics(2, { loss: 1 });
  const times = store.stepTimes(run.id, "items");
  expect(times.map(({ step }) => step)).toEqual([1, 2]);
  expect(before <= times[0]!.time && times[0]!.time <= times[1]!.time).toBe(true);
  expect(store.stepTimes(run.id, "other")).toEqual([]);
  store.close();
});

test("a page is what stands behind a place; a text finds the rows that hold it", () => {
  const store = openStore(temporaryFolder());
  const run = store.begin({ name: "desk", recipe: {} });
  const stage = run.stage(spec("page"));
  const items = itemsUpTo(25);
  stage.append(items);
  const identity = hashOf("page");
  const all = [...store.rows(identity)].map(({ id }) => id);
  const read: string[] = [];
  let after: number | undefined = -1;
  while (after !== undefined) {
    const page: { rows: { row: { id: string } }[]; next?: number } = store.page(identity, { after, limit: 4 });
    read.push(...page.rows.map(({ row }) => row.id));
    after = page.next;
  }
  expect(read).toEqual(all);
  expect(store.page(identity, { after: 1000, limit: 4 })).toEqual({ rows: [] });
  expect(() => store.page(hashOf("none"), { limit: 1 })).toThrow(NotInStoreError);

  const quoted = { id: "q", origin: { parents: ["p"] }, text: 'She said "Ünique\n words".' };
  stage.append([{ key: hashOf("q"), ordinal: 25, input: "p", rows: [quoted] }]);
  const found = (text: string) => store.page(identity, { limit: 100, text }).rows.map(({ row }) => row.id);
  for (const text of ['said "', "ünique", "SAID", "\n words"])
    expect([text, found(text)]).toEqual([text, text === "ünique" ? [] : ["q"]]);
  expect(found("no such words")).toEqual([]);
  expect(store.row("q")).toEqual(quoted);
  expect(store.row("none")).toBeUndefined();
  expect(store.made("p")).toEqual([{ run: run.id, stage: "items", rows: [quoted] }]);
  store.close();
});

test("a finished result that another replaces stays, with its rows and its artifact; it goes with its run", async () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const run = store.begin({ name: "desk", recipe: {} });
  const finish = async (identity: string, count: number) => {
    const stage = run.stage(spec(identity));
    if (stage.done) return stage.info;
    stage.append(itemsUpTo(count, identity));
    writeFileSync(join(folder, "made"), identity);
    const { hash } = await stage.addArtifact(join(folder, "made"));
    return stage.finish({ output: { identity }, artifacts: [hash] });
  };
  const one = await finish("one", 4);
  const rows = [...store.rows(hashOf("one"))];
  run.stage(spec("unfinished"));
  const two = await finish("two", 6);
  expect(store.stage(run.id, "items")).toMatchObject({ identity: hashOf("two"), output: { identity: "two" } });
  expect(store.superseded(run.id)).toMatchObject([{ ...one, replaced: expect.any(String) }]);
  expect(store.lineage(rows[0]!.id)[0]!.stages).toEqual([{ run: run.id, stage: "items", kind: "items" }]);

  await store.collect({ graceSeconds: 0 });
  expect([...store.rows(hashOf("one"))]).toEqual(rows);
  expect(existsSync(store.artifactPath(one.artifacts[0]!))).toBe(true);
  expect(await store.verify()).toEqual([]);

  // Back to what it was: nothing is done again, and the second is now what was replaced.
  expect((await finish("one", 4)).dataset).toEqual(one.dataset);
  expect(store.superseded(run.id).map(({ identity }) => identity)).toEqual([hashOf("one"), hashOf("two")]);
  run.end("done");
  store.remove(run.id);
  expect(store.superseded(run.id)).toEqual([]);
  await store.collect({ graceSeconds: 0 });
  expect(() => store.page(hashOf("one"), { limit: 1 })).toThrow(NotInStoreError);
  expect(() => store.artifactPath(two.artifacts[0]!)).toThrow(NotInStoreError);
  store.close();
});
