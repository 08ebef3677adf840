import { spawnSync } from "node:child_process";
import { tmpdir } from "node:os";
import { expect, test, vi } from "vitest";
import { temporaryFolder } from "../test/folders.ts";
import { itemAt, itemsUpTo } from "../test/items.ts";
import { Child, childCommand } from "../test/processes.ts";
import { Connection } from "./database.ts";
import { hashOf, openStore, RunBusyError, runId, StageBusyError, StoreFullError } from "./index.ts";
import { prepareSchema } from "./schema.ts";
import { Store } from "./store.ts";

// Each test starts processes, which takes seconds each on a busy machine.
vi.setConfig({ testTimeout: 240_000 });

const COUNT = 600;
const identity = hashOf(["items", COUNT]);
const run = runId({ name: "killed", recipe: { count: COUNT } });

test("kill -9 in the middle of appending loses nothing that was appended, however often", async () => {
  const folder = temporaryFolder();
  let appended = 0;
  let kills = 0;
  let last = "";
  for (let round = 0; round < 6 && !last.startsWith("done"); round++) {
    const child = new Child("append", folder, `${COUNT}`, "killed");
    // A different number of batches each time, and then somewhere within the next.
    await child.printed(2 + ((round * 7) % 23));
    await new Promise((resolve) => setTimeout(resolve, round * 1.7));
    await child.kill();
    kills++;
    expect(child.lines[0]).toMatch(/^begun \d+$/);
    expect(Number(child.lines[0]!.split(" ")[1])).toBeGreaterThanOrEqual(appended);
    last = child.lines.at(-1)!;
    if (last.startsWith("has")) appended = Number(last.split(" ")[1]);

    const reader = openStore(folder, { readOnly: true });
    const { items } = reader.stage(run, "items")!;
    expect(items).toBeGreaterThanOrEqual(appended);
    expect([...reader.rows(identity)]).toEqual(itemsUpTo(items).flatMap(({ rows }) => rows));
    expect(reader.usage(run)[0]!.calls).toBe(items);
    expect(reader.run(run).status).toBe(last.startsWith("done") ? "done" : "interrupted");
    expect(await reader.verify()).toEqual([]);
    reader.close();
  }
  expect(kills).toBeGreaterThan(3);

  const store = openStore(folder);
  const writer = store.begin({ name: "killed", recipe: { count: COUNT } });
  const stage = writer.stage({ name: "items", kind: "items", identity });
  expect(writer.takenOverFrom?.pid).not.toBe(process.pid);
  stage.append(stage.missing(itemsUpTo(COUNT)));
  const { dataset } = stage.finish({ inputs: COUNT });
  const sequences = [];
  for await (const { sequence } of store.events(run)) sequences.push(sequence);
  expect(sequences).toEqual(sequences.map((_, index) => index + 1));
  store.close();

  const undisturbed = openStore(temporaryFolder());
  const other = undisturbed.begin({ name: "whole", recipe: {} }).stage({ name: "items", kind: "items", identity });
  other.append(itemsUpTo(COUNT));
  expect(dataset).toEqual(other.finish().dataset);
  undisturbed.close();
});

test("a second process is refused while the first lives, and takes over when it is dead", async () => {
  const folder = temporaryFolder();
  const child = new Child("hold", folder, "held");
  expect(await child.printed(1)).toEqual(["holds"]);
  const store = openStore(folder);
  const begin = (recipe = {}) => store.begin({ name: "held", recipe });
  const id = runId({ name: "held", recipe: {} });
  expect(begin).toThrow(RunBusyError);
  expect(begin).toThrow(`process ${child.pid} on`);
  expect(() => store.remove(id)).toThrow(RunBusyError);
  expect(store.run(id).status).toBe("running");
  const train = { name: "train", kind: "train", identity: hashOf("train") };
  expect(() => begin({ other: true }).stage(train).scratch()).toThrow(StageBusyError);

  await child.kill();
  expect(store.run(id)).toMatchObject({ status: "interrupted", writer: { pid: child.pid } });
  expect(store.stages(id)).toMatchObject([{ name: "train", status: "interrupted" }]);
  const writer = begin();
  expect(writer.takenOverFrom).toMatchObject({ pid: child.pid });
  expect(writer.info).toMatchObject({ status: "running", writer: { pid: process.pid } });
  expect(writer.stage(train).scratch()).toContain("scratch");
  store.close();
});

test("two processes write two runs into one store at once", async () => {
  const folder = temporaryFolder();
  const children = ["one", "two"].map((name) => new Child("append", folder, "150", name));
  await Promise.all(children.map((child) => child.ended()));
  const [first, second] = children.map(({ lines }) => lines.at(-1));
  expect(first).toMatch(/^done \w{64}$/);
  expect(second).toBe(first);
  const store = openStore(folder, { readOnly: true });
  expect(store.runs().map(({ status }) => status)).toEqual(["done", "done"]);
  expect([...store.rows(hashOf(["items", 150]))]).toEqual(itemsUpTo(150).flatMap(({ rows }) => rows));
  expect(await store.verify()).toEqual([]);
  store.close();
});

test("a reader sees whole batches in order while another process writes", async () => {
  const folder = temporaryFolder();
  const child = new Child("append", folder, `${COUNT}`, "killed");
  await child.printed(3);
  const reader = openStore(folder, { readOnly: true });
  let looks = 0;
  for (let items = 0; items < COUNT; looks++) {
    const rows = [...reader.rows(identity)];
    const before = items;
    items = reader.stage(run, "items")!.items;
    expect(items).toBeGreaterThanOrEqual(before);
    expect(rows).toEqual(
      itemsUpTo(COUNT)
        .flatMap((item) => item.rows)
        .slice(0, rows.length),
    );
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(looks).toBeGreaterThan(2);
  await child.ended();
  expect(reader.run(run).status).toBe("done");
  reader.close();
});

test("a full disk is named, nothing is half written, and the run continues when there is room", () => {
  const folder = temporaryFolder();
  const db = new Connection(folder);
  prepareSchema(db);
  const store = new Store(db, false);
  const writer = store.begin({ name: "full", recipe: {} });
  const stage = writer.stage({ name: "items", kind: "items", identity });
  stage.append(itemsUpTo(20));
  const pages = db.prepare<{ page_count: number }>("PRAGMA page_count").get()!.page_count;
  db.exec(`PRAGMA max_page_count = ${pages + 20}`);

  const row = (n: number) => ({ id: `row ${n}`, origin: { parents: [] }, text: "x".repeat(9000) });
  const big = (n: number) => ({ ...itemAt(n), rows: [row(n)] });
  let appended = 20;
  const fill = () => {
    for (; appended < 60; appended += 2) stage.append([big(appended), big(appended + 1)]);
  };
  expect(fill).toThrow(StoreFullError);
  expect(fill).toThrow(/Free some, .* and start again/);
  expect(appended).toBeGreaterThan(22);
  expect(stage.info.items).toBe(appended);
  expect(stage.missing(Array.from({ length: 60 }, (_, n) => itemAt(n)))[0]!.ordinal).toBe(appended);
  expect(() => stage.append([big(appended)])).toThrow(StoreFullError);
  expect(stage.info.items).toBe(appended);

  db.exec("PRAGMA max_page_count = 1000000");
  fill();
  expect(stage.finish({ inputs: 60 }).dataset).toMatchObject({ items: 60 });
  store.close();
});

const smallDisk = 'mount -t tmpfs -o size=4m none "$0" && exec "$@"';
const canMount =
  process.platform === "linux" && spawnSync("unshare", ["-rm", "sh", "-c", smallDisk, tmpdir(), "true"]).status === 0;

test.skipIf(!canMount)("a disk that is really full: the same (skipped where no small disk can be mounted)", () => {
  const folder = temporaryFolder();
  const { stdout, stderr } = spawnSync(
    "unshare",
    ["-rm", "sh", "-c", smallDisk, folder, ...childCommand("fill", folder)],
    { encoding: "utf8" },
  );
  expect({ lines: stdout.trim().split("\n"), stderr }).toEqual({
    lines: ["StoreFullError", "kept", "StoreFullError", "nothing", "done true []"],
    stderr: "",
  });
});

test("a run that cannot write down its end gives up its lock all the same", () => {
  const folder = temporaryFolder();
  const db = new Connection(folder);
  prepareSchema(db);
  const writer = new Store(db, false).begin({ name: "full", recipe: {} });
  db.exec("PRAGMA query_only = ON");
  expect(() => writer.end("done")).toThrow("is read-only");
  db.close();
  const store = openStore(folder);
  expect(store.run(writer.id).status).toBe("interrupted");
  expect(store.begin({ name: "full", recipe: {} }).id).toBe(writer.id);
  store.close();
});
