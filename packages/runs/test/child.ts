// Processes for the tests of this package: `child.ts append|hold|fill FOLDER …`, or `child.ts mount closed|killed write|read FOLDER`.

import { readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hashOf, openStore, type RunWriter, type StageWriter, StoreError } from "../src/index.ts";
import { itemsUpTo } from "./items.ts";

const [what, folder, ...rest] = process.argv.slice(2) as [string, string, ...string[]];
if (what === "mount") {
  await onMount(folder as "closed" | "killed", rest[0]!, rest[1]!);
  process.exit();
}
const store = openStore(folder);
try {
  if (what === "append") append(Number(rest[0]), rest[1]!);
  else if (what === "fill") await fillDisk();
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

/** Appends to a small disk until it is full, frees some of it, and goes on. Prints what happened. */
async function fillDisk(): Promise<void> {
  const ballast = join(folder, "ballast");
  writeFileSync(ballast, Buffer.alloc(2_000_000));
  const run = store.begin({ name: "full", recipe: {} });
  const stage = run.stage({ name: "items", kind: "items", identity: hashOf("full") });
  const bigItem = (ordinal: number) => {
    const row = { id: `row ${ordinal}`, origin: { parents: [] }, text: `${ordinal} `.repeat(3000) };
    return { key: hashOf(ordinal), ordinal, input: `${ordinal}`, rows: [row] };
  };
  let appended = 0;
  const append = (to: number) => {
    for (; appended < to; appended++) stage.append([bigItem(appended)]);
  };
  console.log(nameOf(() => append(10_000)));
  console.log(stage.info.items === appended && appended > 0 ? "kept" : `lost: ${appended} became ${stage.info.items}`);
  console.log(
    await store.addArtifact(ballast).then(
      () => "added",
      (error: Error) => error.name,
    ),
  );
  rmSync(ballast);
  const count = appended + 5;
  console.log(nameOf(() => append(count)));
  console.log(stage.finish({ inputs: count }).status, [...stage.rows()].length === count, await store.verify());
  run.end("done");
}

function nameOf(call: () => void): string {
  try {
    call();
    return "nothing";
  } catch (error) {
    return (error as Error).name;
  }
}

/** Writes a store and ends as `left` says; then, when the disk it is on can only be read, reads it and tries to write. */
async function onMount(left: "closed" | "killed", access: string, place: string): Promise<void> {
  const spec = { name: "items", kind: "items", identity: hashOf("mount") };
  if (access === "write") {
    const written = openStore(place);
    const run = written.begin({ name: "mount", recipe: {} });
    const stage = run.stage(spec);
    stage.append(itemsUpTo(10));
    const file = join(place, "file");
    writeFileSync(file, "contents");
    const { hash } = await stage.addArtifact(file);
    if (left === "closed") {
      stage.finish({ artifacts: [hash] });
      run.end("done");
      written.close();
    }
    console.log("written");
    // Nothing is closed, as where the process is killed, and the shell goes on.
    (process as unknown as { reallyExit(code: number): never }).reallyExit(0);
  }
  const read = openStore(place, { readOnly: true });
  const [run] = read.runs();
  const [stage] = read.stages(run!.id);
  const [hash] = readdirSync(join(place, "artifacts"));
  const intact = (await read.intactArtifact(hash!)) === read.artifactPath(hash!);
  const damage = await read.verify();
  const artifact = `artifact ${intact ? "as it was made" : "changed"}, ${damage.join() || "nothing"} damaged`;
  console.log(`run ${run!.status}, stage ${stage!.status}, ${[...read.rows(spec.identity)].length} rows, ${artifact}`);
  read.close();
  try {
    openStore(place).close();
    console.log("it can be written");
  } catch (error) {
    console.log(`${(error as Error).name}: ${(error as Error).message}`);
  }
}
