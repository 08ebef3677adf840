// npx tsx --conditions=source scripts/evidence.ts RECIPE [--seeds 8] [--from 0] [--store FOLDER] [--out FOLDER] [--device cpu] [--at-once 1] [--again]
//
// Runs a recipe once for each seed, one after the other or `--at-once` several, and says what holds over all of them: for every checkpoint the mean, the worst seed
// and a 95 % interval of its violations, and the same of the change from one checkpoint to the next. The interval is a bootstrap over
// seeds and, within it, over prompts, since neither the seeds nor the prompts of one run stand for others.
//
// A killed call continues: a seed whose run is done is read from the store. `--again` runs seeds that are kept once more: an earlier version's.
// What each seed gave is kept in FOLDER as JSON, with the processor's name and instruction set; a file of another processor is never written into. `--summary` reads what is there and runs nothing.
import { parseArgs } from "node:util";
import { breaks, differences, percent, summarise, summaryLine, tableOf, violates } from "./seed-tables.ts";
import { type Evidence, Seeds, seedsFrom, sideBySide } from "./seeds.ts";

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "8" },
    from: { type: "string", default: "0" },
    store: { type: "string", default: "runs" },
    out: { type: "string", default: "docs/evidence" },
    summary: { type: "boolean", default: false },
    device: { type: "string", default: "cpu" },
    "at-once": { type: "string", default: "1" },
    again: { type: "boolean", default: false },
  },
});
const [recipe] = positionals;
const count = Number(options.seeds);
const from = Number(options.from);
const atOnce = Number(options["at-once"]);
const positive = (value: number) => Number.isInteger(value) && value > 0;
if (recipe === undefined || ![count, from + 1, atOnce].every(positive)) {
  console.error(
    "usage: scripts/evidence.ts RECIPE [--seeds 8] [--from 0] [--store FOLDER] [--out FOLDER] [--device cpu] [--at-once 1] [--again] [--summary]",
  );
  process.exit(2);
}

function print(evidence: Evidence): void {
  const { seeds } = evidence;
  const checkpoints = seeds[0]!.checkpoints.map(({ id, label }) => ({ id, label }));
  const must = [
    ...new Set(
      seeds.flatMap((one) => one.checkpoints.flatMap(({ replies }) => replies.flatMap(({ broken }) => broken))),
    ),
  ];
  console.log(
    `${seeds.length} seeds on ${evidence.processor} (${evidence.instructions.join(", ") || "instruction set unknown"}); per cent and points\n`,
  );
  console.log("| | mean (95 % interval) | worst seed |\n|---|---|---|");
  for (const { id, label } of checkpoints)
    console.log(summaryLine(`${label}: violations`, summarise(tableOf(evidence, id, violates))));
  for (const { id, label } of checkpoints) {
    const cut = tableOf(evidence, id, (reply) => (reply.cut === undefined ? undefined : Number(reply.cut)));
    const ended = tableOf(evidence, id, (reply) => (reply.cut === false ? violates(reply) : undefined));
    if (![...cut.values()].some((row) => row.size > 0)) continue;
    console.log(summaryLine(`${label}: replies that the limit cut off`, summarise(cut)));
    console.log(summaryLine(`${label}: violations of those that ended`, summarise(ended)));
  }
  for (const [i, { id, label }] of checkpoints.entries()) {
    if (i === 0) continue;
    const before = checkpoints[i - 1]!;
    const change = (of: Parameters<typeof tableOf>[2]) =>
      summarise(differences(tableOf(evidence, id, of), tableOf(evidence, before.id, of)));
    console.log(summaryLine(`${label} − ${before.label}: violations`, change(violates)));
    for (const principle of must)
      console.log(summaryLine(`${label} − ${before.label}: ${principle}`, change(breaks(principle))));
  }
  const baselines = new Map(seeds.flatMap((one) => (one.baselines ?? []).map(({ id, label }) => [id, label] as const)));
  for (const [id, label] of baselines) {
    const untrained = tableOf(evidence, id, violates);
    const of = untrained.size < seeds.length ? ` (${untrained.size} seeds)` : "";
    console.log(summaryLine(`${label}, untrained: violations${of}`, summarise(untrained)));
    for (const trained of checkpoints.slice(1)) {
      const change = summarise(differences(tableOf(evidence, trained.id, violates), untrained));
      console.log(summaryLine(`${trained.label} − ${label}: violations`, change));
    }
  }
  for (const { id, label } of checkpoints) {
    const own = seeds.flatMap((one) => one.checkpoints.filter((checkpoint) => checkpoint.id === id));
    const rises = own.flatMap(({ perplexityRise }) => perplexityRise ?? []);
    const openings = own.map((one) => one.openings);
    const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
    if (rises.length > 0)
      console.log(`| ${label}: perplexity | ${percent(mean(rises))} | ${percent(Math.max(...rises))} |`);
    console.log(
      `| ${label}: kinds of openings over replies | ${percent(mean(openings))} | ${percent(Math.min(...openings))} |`,
    );
  }
  const recommended = new Map<string, number>();
  for (const { recommended: id = "none" } of seeds) recommended.set(id, (recommended.get(id) ?? 0) + 1);
  console.log(`\nrecommended: ${[...recommended].map(([id, times]) => `${id} ${times} ×`).join(", ")}`);
  const stages = new Set(seeds.flatMap(({ seconds }) => Object.keys(seconds)));
  const times = [...stages].map((name) => {
    const all = seeds.map(({ seconds }) => seconds[name] ?? 0);
    return [name, all.reduce((a, b) => a + b, 0) / all.length] as const;
  });
  const total = times.reduce((sum, [, seconds]) => sum + seconds, 0);
  const shown = times.filter(([, seconds]) => seconds >= 1).map(([name, seconds]) => `${name} ${seconds.toFixed(0)}`);
  console.log(`seconds, mean over seeds: ${total.toFixed(0)} in all; ${shown.join(", ")}`);
  const peaks = seeds.flatMap(({ peak }) => peak ?? []);
  if (peaks.length > 0) console.log(`peak memory: ${(Math.max(...peaks) / 2 ** 30).toFixed(1)} GiB at most`);
}

const seeds = await Seeds.open(recipe, { ...options, atOnce });
if (!options.summary) await sideBySide(seedsFrom(from, count), atOnce, (seed) => seeds.run(seed));
if (seeds.evidence.seeds.length === 0) console.error(`${seeds.place} holds no seed of this recipe yet`);
else print(seeds.evidence);
