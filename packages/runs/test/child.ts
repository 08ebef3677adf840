// Processes for the tests of this package: `child.ts append|hold FOLDER …`.
import { setTimeout as sleep } from "node:timers/promises";
import { hashOf, openStore, type RunWriter, type StageWriter, StoreError } from "../src/index.ts";
import { itemsUpTo } from "./items.ts";

const [what, folder, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
const store = openStore(folder);
try {
  if (what === "append") append(Number(rest[0]), rest[1]!);
  else await hold(rest[0]!);
} catch (error) {
  if (!(error instanceof StoreError)) throw error;
  console.log(`${error.name}: ${error.message}`);
}
store.close();

/** Appends what is missing of `count` items, three at a time, and prints how many it has after each batch. */
function append(count: number, name: string): void {
  const run = store.begin({ name, recipe: { count } });
  const stage = run.stage({ name: "items", kind: "items", identity: hashOf(["items", count]) });
  if (!stage.done) fill(run, stage, count);
  console.log(`done ${stage.info.dataset!.hash}`);
  run.end("done");
}

function fill(run: RunWriter, stage: StageWriter, count: number): void {
  const missing = stage.missing(itemsUpTo(count));
  console.log(`begun ${count - missing.length}`);
  for (let index = 0; index < missing.length; index += 3) {
    stage.append(missing.slice(index, index + 3), {
      usage: { writer: { calls: Math.min(3, missing.length - index) } },
    });
    run.event({ kind: "batch", data: index });
    console.log(`has ${stage.info.items}`);
  }
  stage.finish({ inputs: count });
}

/** Begins a run and its training stage, and stays. */
async function hold(name: string): Promise<void> {
  const run = store.begin({ name, recipe: {} });
  run.stage({ name: "train", kind: "train", identity: hashOf("train") }).scratch();
  console.log("holds");
  await sleep(60_000);
}
