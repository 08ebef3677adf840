// npx tsx --conditions=source scripts/evidence.ts RECIPE [--seeds 8] [--held-out FILE] [--store FOLDER] [--out FOLDER]
//
// Runs a recipe once for each seed, one after the other, and says what holds over all of them: for every checkpoint the mean, the worst seed
// and a 95 % interval of its violations, and the same of the change from one checkpoint to the next. The interval is a bootstrap over
// seeds and, within it, over prompts, since neither the seeds nor the prompts of one run stand for others.
//
// A killed call continues: a seed whose run is done is read from the store. What each seed gave is kept in FOLDER as JSON, with the
// processor's name and instruction set; a file of another processor is never written into. `--summary` reads what is there and runs nothing.
import { spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { basename, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { type OpenRecipe, openRecipe, randomStream, runChecks, runSpec, type Scorecard } from "@tenet/align";
import { openingOf, type ResponseRow, rowId } from "@tenet/data";
import { openStore, runId } from "@tenet/runs";

interface Reply {
  readonly prompt: string;
  /** Whether it breaks any principle; null where no check applies. */
  readonly violates: boolean | null;
  /** Ids of the principles that it breaks and keeps to. */
  readonly broken: readonly string[];
  readonly kept: readonly string[];
}

interface SeedResult {
  readonly seed: number;
  readonly run: string;
  readonly recommended?: string;
  readonly checkpoints: readonly {
    readonly id: string;
    readonly label: string;
    readonly replies: readonly Reply[];
    /** Distinct first four words over replies. */
    readonly openings: number;
    /** Perplexity of neutral texts over the first checkpoint's, less 1; absent where it was not measured, and for the first. */
    readonly perplexityRise?: number;
  }[];
  /** Of each stage. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Peak of the process's memory in bytes, where the system tells. */
  readonly peak?: number;
}

interface Evidence {
  /** Id of the recipe's run under its own seed: a recipe that says something else has another. */
  readonly recipe: string;
  readonly heldOut: string;
  readonly processor: string;
  readonly instructions: readonly string[];
  readonly memory: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly seeds: SeedResult[];
}

const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "8" },
    "held-out": { type: "string" },
    store: { type: "string", default: "runs" },
    out: { type: "string", default: "docs/evidence" },
    summary: { type: "boolean", default: false },
  },
});
const [recipe] = positionals;
const count = Number(options.seeds);
if (recipe === undefined || !Number.isInteger(count) || count < 1) {
  console.error(
    "usage: scripts/evidence.ts RECIPE [--seeds 8] [--held-out FILE] [--store FOLDER] [--out FOLDER] [--summary]",
  );
  process.exit(2);
}

const main = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));

/** What of the processor's instruction set decides how products round. Empty where the system does not tell. */
function instructions(): string[] {
  if (!existsSync("/proc/cpuinfo")) return [];
  const flags = new Set(/^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1]?.trim().split(" "));
  const known = { avx2: "AVX2", avx512f: "AVX-512", avx512_vnni: "AVX-512 VNNI", avx_vnni: "AVX-VNNI" };
  return Object.entries(known).flatMap(([flag, name]) => (flags.has(flag) ? [name] : []));
}

/** Runs one seed to its end in a process of its own; resolves to the peak of its memory in bytes, where the system tells. */
function runSeed(file: string, seed: number): Promise<number | undefined> {
  // One process, so that its memory is the run's.
  const args = [
    "--conditions=source",
    "--import",
    "tsx",
    main,
    "run",
    file,
    "--seed",
    String(seed),
    "--store",
    options.store,
  ];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  let peak: number | undefined;
  const look = setInterval(() => {
    const status = `/proc/${child.pid}/status`;
    const kilobytes = existsSync(status) ? /^VmHWM:\s*(\d+)/m.exec(readFileSync(status, "utf8"))?.[1] : undefined;
    if (kilobytes) peak = Math.max(peak ?? 0, Number(kilobytes) * 1024);
  }, 1000);
  return new Promise((resolve, reject) => {
    child.once("error", reject);
    child.once("close", (code) => {
      clearInterval(look);
      // 3: a gate refused the preference model; what was trained before it is measured.
      if (code === 0 || code === 3) resolve(peak);
      else reject(new Error(`seed ${seed} ended with exit code ${code}`));
    });
  });
}

/** What a run that is done gave. */
function readSeed(open: OpenRecipe, seed: number): SeedResult {
  const store = openStore(options.store);
  try {
    const run = runId(runSpec(open));
    const card = store.stage(run, "scorecard")?.output as Scorecard | undefined;
    if (!card) throw new Error(`run ${run} has no scorecard`);
    const perplexity = (id: string) =>
      card.differences.find(
        ({ metric, checkpoint, against }) =>
          metric === "perplexity" && checkpoint === id && against === card.checkpoints[0]!.id,
      )?.value;
    const checkpoints = card.checkpoints.map(({ id, label }) => {
      const rows = [...store.rows<ResponseRow>(store.stage(run, `answers of ${id}`)!.identity)];
      const replies = rows.map((row) => {
        const results = runChecks(open.constitution, row).filter(({ applies }) => applies);
        const named = (violated: boolean) => [
          ...new Set(results.filter((one) => one.violated === violated).map(({ principle }) => principle)),
        ];
        const broken = named(true);
        const kept = named(false).filter((principle) => !broken.includes(principle));
        return {
          prompt: rowId("prompt", row.prompt),
          violates: results.length === 0 ? null : broken.length > 0,
          broken,
          kept,
        };
      });
      const rise = perplexity(id);
      return {
        ...{
          id,
          label,
          replies,
          openings: new Set(rows.map(({ response }) => openingOf(response))).size / rows.length,
        },
        ...(rise === undefined ? {} : { perplexityRise: rise }),
      };
    });
    const seconds = Object.fromEntries(store.stages(run).map((stage) => [stage.name, stage.seconds]));
    return { seed, run, ...(card.recommended && { recommended: card.recommended }), checkpoints, seconds };
  } finally {
    store.close();
  }
}

interface Summary {
  readonly mean: number;
  readonly worst: number;
  readonly interval: readonly [number, number];
}

/** A value for each seed and prompt; what has none is left out. */
type Table = ReadonlyMap<number, ReadonlyMap<string, number>>;

const draws = 4000;

/** Mean over seeds of the mean over prompts, the largest seed's, and a bootstrap over seeds and prompts (percentiles). */
function summarise(table: Table): Summary {
  const seeds = [...table.values()];
  const prompts = [...new Set(seeds.flatMap((row) => [...row.keys()]))];
  const meanOf = (rows: readonly ReadonlyMap<string, number>[], drawn: readonly string[]) => {
    const means = rows.map((row) => {
      const values = drawn.flatMap((prompt) => row.get(prompt) ?? []);
      return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
    });
    const known = means.flatMap((mean) => mean ?? []);
    return known.reduce((a, b) => a + b, 0) / known.length;
  };
  const imagined = Array.from({ length: draws }, (_, i) => {
    const { uniform } = randomStream({ seed: 0, stage: "evidence", item: "bootstrap", sample: i });
    let at = 0;
    const pick = <T>(from: readonly T[]) => from[Math.floor(uniform(at++) * from.length)]!;
    const rows = seeds.map(() => pick(seeds));
    return meanOf(
      rows,
      prompts.map(() => pick(prompts)),
    );
  })
    .filter(Number.isFinite)
    .sort((a, b) => a - b);
  const quantile = (q: number) => imagined[Math.round(q * (imagined.length - 1))]!;
  return {
    mean: meanOf(seeds, prompts),
    worst: Math.max(...seeds.map((row) => meanOf([row], prompts)).filter(Number.isFinite)),
    interval: [quantile(0.025), quantile(0.975)],
  };
}

/** Of replies to one prompt the mean. `of` says what a reply counts for; undefined leaves it out. */
function tableOf(evidence: Evidence, id: string, of: (reply: Reply) => number | undefined): Table {
  return new Map(
    evidence.seeds.flatMap(({ seed, checkpoints }) => {
      const checkpoint = checkpoints.find((one) => one.id === id);
      if (!checkpoint) return [];
      const values = checkpoint.replies.flatMap((reply): [string, number][] => {
        const value = of(reply);
        return value === undefined ? [] : [[reply.prompt, value]];
      });
      return [[seed, new Map(values)] as const];
    }),
  );
}

const violates = ({ violates }: Reply) => (violates === null ? undefined : Number(violates));

const breaks =
  (principle: string) =>
  ({ broken, kept }: Reply) =>
    broken.includes(principle) ? 1 : kept.includes(principle) ? 0 : undefined;

/** Where both have a value. */
function differences(after: Table, before: Table): Table {
  return new Map(
    [...after].flatMap(([seed, row]) => {
      const old = before.get(seed);
      if (!old) return [];
      return [
        [
          seed,
          new Map(
            [...row].flatMap(([prompt, x]) => (old.has(prompt) ? [[prompt, x - old.get(prompt)!] as const] : [])),
          ),
        ] as const,
      ];
    }),
  );
}

function print(evidence: Evidence): void {
  const percent = (x: number) => (100 * x).toFixed(1);
  const line = (name: string, { mean, worst, interval: [low, high] }: Summary) =>
    `| ${name} | ${percent(mean)} (${percent(low)} to ${percent(high)}) | ${percent(worst)} |`;
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
    console.log(line(`${label}: violations`, summarise(tableOf(evidence, id, violates))));
  for (const [i, { id, label }] of checkpoints.entries()) {
    if (i === 0) continue;
    const before = checkpoints[i - 1]!;
    const change = (of: Parameters<typeof tableOf>[2]) =>
      summarise(differences(tableOf(evidence, id, of), tableOf(evidence, before.id, of)));
    console.log(line(`${label} − ${before.label}: violations`, change(violates)));
    for (const principle of must)
      console.log(line(`${label} − ${before.label}: ${principle}`, change(breaks(principle))));
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

const file = recipe;
const open = await openRecipe(file);
const { heldOut } = open.written.prompts;
const name = basename(file, extname(file));
const processor = `${cpus()[0]?.model.trim() ?? "unknown"}, ${cpus().length} cores, ${platform()} ${arch()}`;
const place = join(options.out, `${name}.${processor.replaceAll(/\W+/g, "-").toLowerCase()}.json`);
const kept = existsSync(place) ? (JSON.parse(readFileSync(place, "utf8")) as Evidence) : undefined;
const hash = runId(runSpec(open));
const evidence: Evidence =
  kept?.recipe === hash
    ? kept
    : {
        recipe: hash,
        heldOut: JSON.stringify(heldOut),
        ...{ processor, instructions: instructions(), memory: totalmem() },
        versions: { node: process.versions.node },
        seeds: [],
      };
if (!options.summary)
  for (let seed = 0; seed < count; seed++) {
    if (evidence.seeds.some((one) => one.seed === seed)) continue;
    const began = Date.now();
    const peak = await runSeed(file, seed);
    const result = readSeed(await openRecipe(file, { seed }), seed);
    evidence.seeds.push({ ...result, ...(peak === undefined ? {} : { peak }) });
    evidence.seeds.sort((a, b) => a.seed - b.seed);
    mkdirSync(options.out, { recursive: true });
    writeFileSync(place, `${JSON.stringify(evidence)}\n`);
    console.error(`seed ${seed}: ${((Date.now() - began) / 1000).toFixed(0)} s`);
  }
if (evidence.seeds.length === 0) console.error(`${place} holds no seed of this recipe yet`);
else print(evidence);
