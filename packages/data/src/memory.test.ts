import { mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Dataset, exportDataset, openDataset, type PreferenceRow, rowsOf } from "./index.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-memory-"));
});
afterAll(() => rm(folder, { recursive: true }));

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;
const MIB = 2 ** 20;

function held(): number {
  collectGarbage();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

async function file(name: string, parts: Iterable<string>): Promise<string> {
  const path = join(folder, name);
  const handle = await open(path, "w");
  for (const part of parts) await handle.write(part);
  await handle.close();
  return path;
}

/** Rows read, and the most memory that they held at once over what was held before. */
async function reading(dataset: Dataset<PreferenceRow>, every: number): Promise<{ rows: number; most: number }> {
  const before = held();
  let [rows, most] = [0, 0];
  for await (const _ of rowsOf(dataset)) if (++rows % every === 0) most = Math.max(most, held() - before);
  return { rows, most };
}

const filler = "word ".repeat(800); // 4 kB

it("40 MB of JSON Lines are read and exported with a fraction of it in memory", async () => {
  function* lines() {
    for (let i = 0; i < 5000; i++)
      yield `${JSON.stringify({ prompt: `prompt ${i}`, chosen: `a ${filler}`, rejected: `b ${filler}` })}\n`;
  }
  const dataset = await openDataset(await file("large.jsonl", lines()), { as: "preferences" });
  const { rows, most } = await reading(dataset, 500);
  expect(rows).toBe(5000);
  expect(most).toBeLessThan(8 * MIB);

  const exported = join(folder, "dataset");
  const before = held();
  let [seen, peak] = [0, 0];
  async function* watched() {
    for await (const row of rowsOf(dataset)) {
      if (++seen % 500 === 0) peak = Math.max(peak, held() - before);
      yield row;
    }
  }
  await exportDataset(exported, { as: "preferences", name: "large", splits: { train: watched() } });
  // A row group of 8 MiB, and as much encoded.
  expect(peak).toBeLessThan(26 * MIB);
  const parquet = await openDataset(join(exported, "data/train-00000-of-00001.parquet"), { as: "preferences" });
  const back = await reading(parquet, 500);
  expect(back.rows).toBe(5000);
  expect(back.most).toBeLessThan(32 * MIB);
});

it("a dump of 24 MB is paired with a bound of 2 MB of posts, in any order", async () => {
  const threads = 1500;
  function* posts() {
    yield "<posts>";
    // All answers before all questions, and neighbours far apart.
    for (let i = 0; i < 3 * threads; i++)
      yield `<row Id="${i + 1}" PostTypeId="2" ParentId="${100_000 + (i % threads)}" Score="${4 ** Math.floor(i / threads)}" Body="${i} ${filler}" />\n`;
    for (let i = 0; i < threads; i++)
      yield `<row Id="${100_000 + i}" PostTypeId="1" Score="1" Title="t${i}" Body="${filler}" />\n`;
    yield "</posts>";
  }
  const path = await file("Posts.xml", posts());
  const stackexchange = { memory: 2 * MIB, temporary: folder };
  const { rows, most } = await reading(await openDataset(path, { as: "preferences", stackexchange }), 250);
  expect(rows).toBe(3 * threads);
  expect(most).toBeLessThan(12 * MIB);
});
