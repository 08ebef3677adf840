// Items into the run store, or with --jsonl into a file of JSON lines, by a process that is killed half-way and another
// that goes on and reads everything back. Both flush every batch to the disk.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import {
  closeSync,
  createReadStream,
  fsyncSync,
  ftruncateSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { hashOf, type Item, openStore, type StoredRow } from "@tenet/runs";
import { serveContestant } from "../contestant.ts";

const BATCH = 1000;

interface Row extends StoredRow {
  text: string;
}

/** Where the items go. */
interface Keeper {
  /** Which of the inputs it does not have yet. */
  missing: (inputs: readonly Item<Row>[]) => readonly Item<Row>[];
  append: (items: readonly Item<Row>[]) => void;
  /** Everything is there. */
  finish: (count: number) => void;
  rows: () => AsyncIterable<Row> | Iterable<Row>;
  close: () => void;
}

const jsonl = process.argv.includes("--jsonl");
const [, folderToWrite, countToWrite] = /^--write=(.*):(\d+)$/.exec(process.argv.at(-1)!) ?? [];

if (folderToWrite) await write(folderToWrite, Number(countToWrite));
else
  await serveContestant({
    build: async ({ task }) => {
      const { items } = task as { items: number };
      return { round: () => round(items) };
    },
  });

async function round(count: number) {
  const folder = mkdtempSync(join(tmpdir(), "tenet-bench-store-"));
  try {
    const first = await killedHalfWay(folder, count);
    let start = performance.now();
    const lap = () => {
      const seconds = (performance.now() - start) / 1000;
      start = performance.now();
      return seconds;
    };
    const keeper = await open(folder);
    let next = 0;
    while (next < count && keeper.missing(batchAt(next, count)).length === 0) next += BATCH;
    const resume = lap();
    const rest = append(keeper, next, count);
    lap();
    keeper.finish(count);
    const finish = lap();
    const seen = createHash("sha256");
    let rows = 0;
    for await (const { id } of keeper.rows()) {
      seen.update(id);
      rows++;
    }
    const read = lap();
    keeper.close();
    if (rows !== count || seen.digest("hex") !== idsUpTo(count))
      throw new Error("what was read is not what was written");
    return {
      work: count,
      notes: {
        "items found by the resumed process": next,
        "processor µs an item appended, first fifth": first.microseconds,
        "processor µs an item appended, last fifth": rest.microseconds,
        "memory at three fifths, MB": rest.early,
        "memory at the end, MB": process.memoryUsage().rss / 1e6,
        "s to find where it stopped": resume,
        "s to hash": finish,
        "items/s read": count / read,
      },
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs `write` in a process of its own and kills it in a batch after the middle. */
function killedHalfWay(folder: string, count: number): Promise<{ microseconds: number }> {
  const args = [fileURLToPath(import.meta.url), ...(jsonl ? ["--jsonl"] : []), `--write=${folder}:${count}`];
  const child = spawn(process.execPath, ["--conditions=source", "--import", "tsx", ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let microseconds = 0;
  createInterface({ input: child.stdout }).on("line", (line) => {
    const { done, spent } = JSON.parse(line) as { done: number; spent: number };
    if (done <= count / 5) microseconds = spent / done;
    if (done > count / 2) child.kill("SIGKILL");
  });
  return new Promise((resolve, reject) => {
    child.once("close", (_code, signal) => {
      if (signal === "SIGKILL") resolve({ microseconds });
      else reject(new Error("the writing process ended by itself"));
    });
  });
}

async function write(folder: string, count: number): Promise<void> {
  const keeper = await open(folder);
  const start = processorMicroseconds();
  for (let next = 0; next < count; next += BATCH) {
    keeper.append(keeper.missing(batchAt(next, count)));
    console.log(JSON.stringify({ done: next + BATCH, spent: processorMicroseconds() - start }));
  }
}

/** Of all threads. Unlike the clock, it tells on a busy machine too whether the last items cost more than the first. */
function processorMicroseconds(): number {
  const { user, system } = process.cpuUsage();
  return user + system;
}

/** Appends the items from `next` on: processor time of an item of the last fifth of all, and memory after the first few. */
function append(keeper: Keeper, next: number, count: number): { microseconds: number; early: number } {
  const late = 0.8 * count;
  let start = 0;
  let counted = 0;
  let early = 0;
  for (let at = next; at < count; at += BATCH) {
    if (counted === 0) start = processorMicroseconds();
    keeper.append(keeper.missing(batchAt(at, count)));
    if (at >= late) counted += BATCH;
    if (early === 0 && at >= 0.6 * count) early = process.memoryUsage().rss / 1e6;
  }
  return { microseconds: (processorMicroseconds() - start) / counted, early };
}

/** Items of about 500 bytes. */
function batchAt(first: number, count: number): Item<Row>[] {
  return Array.from({ length: Math.min(BATCH, count - first) }, (_, index) => {
    const ordinal = first + index;
    const key = hashOf(ordinal);
    const row = { id: idOf(ordinal), origin: { parents: [`prompt ${ordinal}`] }, text: `${key} `.repeat(6) };
    return { key, input: `prompt ${ordinal}`, ordinal, rows: [row] };
  });
}

function idOf(ordinal: number): string {
  return createHash("sha256").update(`row ${ordinal}`).digest("hex").slice(0, 16);
}

function idsUpTo(count: number): string {
  const hash = createHash("sha256");
  for (let ordinal = 0; ordinal < count; ordinal++) hash.update(idOf(ordinal));
  return hash.digest("hex");
}

function open(folder: string): Promise<Keeper> {
  return jsonl ? openFile(join(folder, "items.jsonl")) : openRunStore(folder);
}

async function openRunStore(folder: string): Promise<Keeper> {
  const store = openStore(folder);
  const stage = store
    .begin({ name: "bench", recipe: {} })
    .stage({ name: "items", kind: "items", identity: hashOf("") });
  return {
    missing: (inputs) => stage.missing(inputs),
    append: (items) => stage.append(items),
    finish: (inputs) => stage.finish({ inputs }),
    rows: () => stage.rows<Row>(),
    close: () => store.close(),
  };
}

/** A file of one item a line; what is there is known by reading it once. A line cut off by the kill is cut away. */
async function openFile(path: string): Promise<Keeper> {
  const file = openSync(path, "a+");
  const known = new Set<string>();
  let whole = 0;
  for await (const line of createInterface({ input: createReadStream(path) })) {
    try {
      known.add((JSON.parse(line) as Item<Row>).key);
    } catch {
      break;
    }
    whole += Buffer.byteLength(line) + 1;
  }
  ftruncateSync(file, whole);
  return {
    missing: (inputs) => inputs.filter(({ key }) => !known.has(key)),
    append: (items) => {
      if (items.length === 0) return;
      writeSync(file, items.map((item) => `${JSON.stringify(item)}\n`).join(""));
      fsyncSync(file);
      for (const { key } of items) known.add(key);
    },
    finish: (count) => {
      if (known.size !== count) throw new Error("items are missing");
    },
    rows: async function* () {
      for await (const line of createInterface({ input: createReadStream(path) }))
        yield* (JSON.parse(line) as Item<Row>).rows;
    },
    close: () => closeSync(file),
  };
}
