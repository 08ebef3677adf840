// npx tsx --conditions=source scripts/arrangements.ts [RECIPE …] [--seeds 3] [--from 0] [--limit COUNT] [--store FOLDER] [--out FOLDER] [--at-once 1] [--again] [--summary] [--pool]
//
// Runs arrangements of equal budget on the same prompts and lays them beside each other: what the last checkpoint of each violates, and how
// much more or less that is than the first recipe's, prompt by prompt, with a bootstrap over seeds and prompts. Without recipes the
// five of docs/arrangements.md.
//
// All recipes of a seed come before the next seed, in one store: what they share is run once, and a call that is cut short has compared
// all five on the seeds it has. `--at-once` runs several seeds, each in a store of its own, where `evidence.ts` finds them too. It goes on where it
// stopped (see seeds.ts); `--again` runs seeds that are kept once more: an earlier version's. `--limit` is that of `tenet run`, for a machine that has not the hours;
// its figures are kept apart. Seeds add up over machines: `--from` is the first seed to run, and `--pool` prints what is kept of any processor (and runs nothing).
import { basename, extname } from "node:path";
import { parseArgs } from "node:util";
import { differences, percent, summarise, type Table, tableOf, violates } from "./seed-tables.ts";
import { type SeedResult, Seeds, seedsFrom, sideBySide } from "./seeds.ts";

const five = ["clinical-desk.quick", "reverse", "iterative", "joint", "constrained"].map(
  (name) => `recipes/${name}.yaml`,
);

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "3" },
    from: { type: "string", default: "0" },
    limit: { type: "string" },
    store: { type: "string", default: "runs" },
    out: { type: "string", default: "docs/evidence" },
    "at-once": { type: "string", default: "1" },
    again: { type: "boolean", default: false },
    summary: { type: "boolean", default: false },
    pool: { type: "boolean", default: false },
  },
});
const count = Number(options.seeds);
const from = Number(options.from);
const limit = options.limit === undefined ? undefined : Number(options.limit);
const atOnce = Number(options["at-once"]);
if (![count, limit ?? 1, from + 1, atOnce].every((one) => Number.isInteger(one) && one >= 1)) {
  console.error(
    "usage: scripts/arrangements.ts [RECIPE …] [--seeds 3] [--from 0] [--limit COUNT] [--store FOLDER] [--out FOLDER] [--at-once 1] [--again] [--summary] [--pool]",
  );
  process.exit(2);
}

const recipes = positionals.length > 0 ? positionals : five;
const { store, out, again } = options;
const all: { readonly name: string; readonly seeds: Seeds }[] = [];
for (const recipe of recipes)
  all.push({
    name: basename(recipe, extname(recipe)),
    seeds: await Seeds[options.pool ? "pooled" : "open"](recipe, { store, out, limit, atOnce, again }),
  });
if (!options.summary && !options.pool)
  await sideBySide(seedsFrom(from, count), atOnce, async (seed) => {
    for (const { seeds } of all) await seeds.run(seed);
  });
print();

function print(): void {
  const begun = all.filter(({ seeds }) => seeds.evidence.seeds.length > 0);
  for (const { seeds } of all)
    if (seeds.evidence.seeds.length === 0) console.error(`${seeds.place} holds no seed of this recipe yet`);
  const [first] = begun;
  if (!first) return;
  const commits = new Set(begun.flatMap(({ seeds }) => seeds.evidence.seeds.map(({ commit = "unknown" }) => commit)));
  const { processor, instructions, heldOut } = first.seeds.evidence;
  if (begun.some(({ seeds }) => seeds.evidence.heldOut !== heldOut))
    throw new Error(`the recipes are measured on different prompts: ${begun.map(({ name }) => name).join(", ")}`);
  console.log(
    `${processor} (${instructions.join(", ") || "instruction set unknown"}); violations in per cent of replies to ${heldOut}, differences in points, with 95 % intervals\n`,
  );
  console.log(`Commits: ${[...commits].join(", ")}\n`);
  console.log(
    `| arrangement | seeds | violations | − ${first.name} | worst seed | perplexity | own proxy | policy's replies | supervised tokens | minutes |`,
  );
  console.log(`|${"---|".repeat(10)}`);
  const before = lastOf(first.seeds);
  for (const { name, seeds } of begun) {
    const after = lastOf(seeds);
    const { mean, worst, interval } = summarise(after);
    // Of the seeds that both have.
    const change = name === first.name ? undefined : summarise(differences(after, before));
    const of = (value: (result: SeedResult) => number | undefined) =>
      meanOf(seeds.evidence.seeds.map(value).filter((one) => one !== undefined));
    const cells = [
      name,
      seeds.evidence.seeds.length,
      `${percent(mean)} ${between(interval)}`,
      change ? `${percent(change.mean)} ${between(change.interval)}` : "",
      percent(worst),
      shown(
        of((one) => one.checkpoints.at(-1)!.perplexityRise),
        (rise) => `${percent(rise)} %`,
      ),
      shown(
        of((one) => one.checkpoints.at(-1)!.proxyRise),
        (rise) => rise.toFixed(2),
      ),
      shown(
        of(({ budget }) => budget?.replies),
        (replies) => replies.toFixed(0),
      ),
      shown(
        of(({ budget }) => budget?.supervisedTokens),
        (tokens) => tokens.toFixed(0),
      ),
      shown(
        of(({ seconds }) => Object.values(seconds).reduce((sum, one) => sum + one, 0) / 60),
        (minutes) => minutes.toFixed(0),
      ),
    ];
    console.log(`| ${cells.join(" | ")} |`);
  }
  console.log(
    "\nperplexity and own proxy: of the last checkpoint less the first; the proxy is each arrangement's own preference model, whose units are not another's. Minutes count stages that another recipe of the store had run before.",
  );
}

/** Violations of the checkpoint that an arrangement ends with, by seed and prompt. */
function lastOf({ evidence }: Seeds): Table {
  return tableOf(evidence, evidence.seeds[0]!.checkpoints.at(-1)!.id, violates);
}

function between([low, high]: readonly [number, number]): string {
  return `(${percent(low)} to ${percent(high)})`;
}

function meanOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((sum, one) => sum + one, 0) / values.length;
}

/** What was not measured is not shown. */
function shown(value: number | undefined, text: (value: number) => string): string {
  return value === undefined ? "—" : text(value);
}
