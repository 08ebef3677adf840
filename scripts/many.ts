// npx tsx --conditions=source scripts/many.ts JOBS … [--at-once 8] [--limit COUNT] [--store FOLDER] [--out FOLDER]
//
// Runs recipes under seeds, several runs at once on one machine, for one that is lent for minutes. JOBS are DEVICE:RECIPE[+RECIPE …]:SEED[-SEED],
// such as cuda:recipes/clinical-desk.quick.yaml:0-7. Recipes joined by + go one after another in one store, where what they share is run once;
// all else runs side by side. Jobs begin in the order given: of each group the first seed, then the second, so that a call that is cut short has
// something of everything. What a run gave is in FOLDER as soon as it ends, as scripts/evidence.ts and scripts/arrangements.ts keep it, and the
// machine's memory is looked at meanwhile; a run that fails is named and keeps no other from being done.
import { basename, extname, join } from "node:path";
import { parseArgs } from "node:util";
import { Seeds, seedsFrom, sideBySide } from "./seeds.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    "at-once": { type: "string", default: "8" },
    limit: { type: "string" },
    store: { type: "string", default: "runs" },
    out: { type: "string", default: "docs/evidence" },
  },
});
const atOnce = Number(options["at-once"]);
const limit = options.limit === undefined ? undefined : Number(options.limit);
const groups = positionals.map((one) => /^(\w+):([^:]+):(\d+)(?:-(\d+))?$/.exec(one));
if (groups.length === 0 || groups.includes(null) || !Number.isInteger(atOnce) || atOnce < 1) {
  console.error("usage: scripts/many.ts DEVICE:RECIPE[+RECIPE …]:SEED[-SEED] … [--at-once 8] [--limit COUNT]");
  process.exit(2);
}

interface Job {
  readonly device: string;
  readonly recipes: readonly string[];
  readonly seed: number;
}

const jobs = groups
  .flatMap((group) => {
    const [, device, recipes, first, last = first] = group as unknown as [string, string, string, string, string?];
    return seedsFrom(Number(first), Number(last) - Number(first) + 1).map((seed, turn): Job & { turn: number } => ({
      ...{ device, recipes: recipes.split("+"), seed },
      turn,
    }));
  })
  .sort((a, b) => a.turn - b.turn);

/** Of a device and a recipe, with a store that no other group writes. */
const opened = new Map<string, Promise<Seeds>>();
function seedsOf(device: string, recipe: string, recipes: readonly string[]): Promise<Seeds> {
  const key = `${device}:${recipe}`;
  const group = recipes.map((one) => basename(one, extname(one))).join("+");
  const seeds =
    opened.get(key) ??
    // Each seed has a store of its own within the group's.
    Seeds.open(recipe, { store: join(options.store, `${device}-${group}`), out: options.out, device, limit, atOnce: Math.max(2, atOnce) }); // biome-ignore format: one call
  opened.set(key, seeds);
  return seeds;
}

let failed = 0;
await sideBySide(jobs, atOnce, async ({ device, recipes, seed }) => {
  for (const recipe of recipes) {
    try {
      await (await seedsOf(device, recipe, recipes)).run(seed);
    } catch (error) {
      failed++;
      console.error(`${device}:${recipe}, seed ${seed}: ${error instanceof Error ? error.message : error}`);
      break;
    }
  }
});
process.exitCode = failed === 0 ? 0 : 1;
