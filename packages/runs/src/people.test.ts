import { expect, test } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { hashOf, NotInStoreError, openStore, StoreAccessError, StoreError } from "./index.ts";

const queue = {
  id: "first-thirty",
  name: "First thirty",
  spec: { task: "pair", overlap: 2 },
  items: [{ row: "pair 1" }, { row: "pair 2" }, { row: "pair 3", gold: { p: 1 } }],
  who: "ann",
};

test("a queue is made once, and gives its items with what is known of them", () => {
  const store = openStore(temporaryFolder());
  store.addQueue(queue);
  expect(() => store.addQueue(queue)).toThrow(StoreError);
  const { items, id, name, spec, who } = queue;
  expect(store.queues()).toMatchObject([{ id, name, spec, who, items: 3 }]);
  expect(store.queueItems(id)).toEqual(items);
  expect(() => store.addQueue({ ...queue, id: "other", items: [] })).toThrow(/queue/);
  expect(() => store.addQueue({ ...queue, id: "../other" })).toThrow(/queue/);
  store.close();
});

test("an answer with p is a label; a skip and two bad replies are none; what is taken back leaves no label", () => {
  const store = openStore(temporaryFolder());
  store.addQueue(queue);
  store.addLabel({ pair: "pair 2", p: 0.5, who: "ben" });
  store.addLabel({ pair: "pair 2", p: 0.25, who: "ann" });
  const answer = (row: string, who: string, value: Record<string, string | number>, p?: number) =>
    store.addAnswer({ queue: queue.id, row, who, value, ...(p !== undefined && { p }) });
  // What is known already teaches nobody.
  answer("pair 3", "cleo", { outcome: "preference" }, 1);
  answer("pair 1", "ann", { outcome: "skip" });
  answer("pair 1", "ben", { outcome: "both bad" });
  answer("pair 2", "ann", { outcome: "preference", side: "b left", milliseconds: 1200 }, 1);
  expect(store.labels()).toMatchObject([
    { pair: "pair 2", p: 0.5, who: "ben" },
    { pair: "pair 2", p: 1, who: "ann" },
  ]);
  expect(() => answer("pair 9", "ann", { outcome: "skip" })).toThrow(NotInStoreError);
  expect(() => answer("pair 1", "ann", { outcome: "preference" }, 2)).toThrow(StoreError);

  expect(store.undoAnswer(queue.id, "ann")).toMatchObject({ row: "pair 2", value: { outcome: "preference" } });
  // Their word of before stands again.
  expect(store.labels({ pair: "pair 2" })).toMatchObject([
    { p: 0.5, who: "ben" },
    { p: 0.25, who: "ann" },
  ]);
  expect(store.answers(queue.id)).toMatchObject([
    { row: "pair 3", who: "cleo" },
    { row: "pair 1", who: "ann" },
    { row: "pair 1", who: "ben" },
  ]);
  expect(store.undoAnswer(queue.id, "ann")).toMatchObject({ row: "pair 1" });
  expect(store.undoAnswer(queue.id, "ann")).toBeUndefined();
  expect(store.answers(queue.id)).toHaveLength(2);
  store.close();
});

test("the latest note stands for a run, the latest word of each person and kind for a row; null takes it back", () => {
  const folder = temporaryFolder();
  const store = openStore(folder);
  const run = store.begin({ name: "desk", recipe: {} }).id;
  store.addRunNote({ run, value: { tags: ["a"] }, who: "ann" });
  store.addRunNote({ run, value: { tags: ["b"], pinned: true }, who: "ben" });
  expect(store.runNotes()).toMatchObject([{ run, value: { tags: ["b"], pinned: true }, who: "ben" }]);

  const say = (kind: string, about: string, value: string | null, who = "ann") =>
    store.addAnnotation({ row: "r", kind, about, value, who });
  say("verdict", "kind", "yes");
  say("verdict", "kind", "no");
  say("verdict", "plain", "yes");
  say("verdict", "kind", "yes", "ben");
  say("correction", "", "Better so.");
  say("correction", "", null);
  expect(store.annotations({ row: "r" }).map(({ kind, about, value, who }) => [kind, about, value, who])).toEqual([
    ["verdict", "kind", "no", "ann"],
    ["verdict", "plain", "yes", "ann"],
    ["verdict", "kind", "yes", "ben"],
  ]);
  expect(store.annotations({ row: "other" })).toEqual([]);
  expect(() => store.addAnnotation({ row: "r", kind: "flag", value: 1, who: " " })).toThrow(StoreError);
  store.close();
  const reader = openStore(folder, { readOnly: true });
  expect(reader.annotations()).toHaveLength(3);
  expect(() => reader.addAnnotation({ row: "r", kind: "flag", value: 1, who: "ann" })).toThrow(StoreAccessError);
  expect(() => reader.undoAnswer(queue.id, "ann")).toThrow(StoreAccessError);
  reader.close();
});

test("a queue's id is no path", () => {
  const store = openStore(temporaryFolder());
  for (const id of ["", "-a", "A", "a/b", hashOf("x") + hashOf("y")])
    expect(() => store.addQueue({ ...queue, id })).toThrow(StoreError);
  store.close();
});
