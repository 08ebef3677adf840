// Runs a recipe on a disk that is full, and again each time there is a little more room: `full-disk.ts RECIPE DISK`. Prints
// what stopped it where, and what it came to.
import { statfsSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { results, run } from "./run.ts";

const [recipe, disk] = process.argv.slice(2) as [string, string];
const [store, filler] = [join(disk, "store"), join(disk, "filler")];

/** Bytes left at first, and added each time the run was stopped. */
const more = 192 * 1024;
const mostAttempts = 100;

const { bavail, bsize } = statfsSync(disk);
let filled = bavail * bsize - more;
writeFileSync(filler, Buffer.alloc(filled));

const stopped: { error: string; stage: string }[] = [];
for (let attempt = 0; attempt < mostAttempts; attempt++) {
  const ran = await run(recipe, store).catch((error: unknown) => ({ id: "", error, events: [] }));
  if (ran.error === undefined) {
    process.stdout.write(JSON.stringify({ stopped, end: results(store, ran.id) }));
    break;
  }
  const at = ran.events.findLast((event) => event.type === "stage");
  stopped.push({ error: (ran.error as Error).name, stage: at?.type === "stage" ? at.stage : "" });
  filled -= more;
  truncateSync(filler, filled);
}
