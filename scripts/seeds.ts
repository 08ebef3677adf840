import { spawn, spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { arch, cpus, platform, totalmem } from "node:os";
import { basename, dirname, extname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { baselineAnswers, type OpenRecipe, openRecipe, runChecks, runSpec, type Scorecard } from "@tenet/align";
import { openingOf, type ResponseRow, rowId } from "@tenet/data";
import { openStore, runId, type StageInfo } from "@tenet/runs";
import { heldTo, instructions } from "../bench/machine.ts";

/*
 * A recipe run once for each of several seeds, and what each seed gave, kept as JSON.
 */

export interface Reply {
  readonly prompt: string;
  /** Whether it breaks any principle; null where no check applies. */
  readonly violates: boolean | null;
  /** Whether a limit of tokens cut it off; absent in what was kept before that was looked at. */
  readonly cut?: boolean;
  /** Ids of the principles that it breaks and keeps to. */
  readonly broken: readonly string[];
  readonly kept: readonly string[];
}

export interface SeedResult {
  readonly seed: number;
  readonly run: string;
  /** The commit of this repository that ran it; absent where that is not known. */
  readonly commit?: string;
  /** What it ran on, where seeds of several processors lie together. */
  readonly processor?: string;
  readonly recommended?: string;
  readonly checkpoints: readonly {
    readonly id: string;
    readonly label: string;
    readonly replies: readonly Reply[];
    /** Distinct first four words over replies. */
    readonly openings: number;
    /** Perplexity of neutral texts over the first checkpoint's, less 1; absent where it was not measured, and for the first. */
    readonly perplexityRise?: number;
    /** Mean score by the run's own preference model less the first checkpoint's; absent likewise. */
    readonly proxyRise?: number;
  }[];
  /** What was measured beside them without training; absent where nothing was. */
  readonly baselines?: readonly { readonly id: string; readonly label: string; readonly replies: readonly Reply[] }[];
  /** Of each stage. */
  readonly seconds: Readonly<Record<string, number>>;
  /** Replies that policies were trained on, and tokens of replies that supervised training learnt; of what the stages report. */
  readonly budget?: { readonly replies: number; readonly supervisedTokens: number };
  /** Peak of the process's memory in bytes, where the system tells. */
  readonly peak?: number;
}

export interface Evidence {
  /** Id of the recipe's run under its own seed: a recipe that says something else has another. */
  readonly recipe: string;
  readonly heldOut: string;
  readonly processor: string;
  readonly instructions: readonly string[];
  readonly memory: number;
  readonly versions: Readonly<Record<string, string>>;
  readonly seeds: SeedResult[];
}

const main = fileURLToPath(new URL("../packages/cli/src/main.ts", import.meta.url));

/** Where runs and evidence lie, and what is said otherwise than in the recipe. */
export interface SeedOptions {
  readonly store: string;
  readonly out: string;
  readonly limit?: number | undefined;
  /** Where local models compute. Default: the processor. */
  readonly device?: string | undefined;
  /** Seeds that share the processors, each with a store of its own. Default 1. */
  readonly atOnce?: number | undefined;
  /** Seeds that are kept are run once more, and replaced: what was kept is of a version that trains otherwise. */
  readonly again?: boolean | undefined;
}

/** `count` seeds, from the first on. */
export function seedsFrom(first: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => first + i);
}

/** Does the work of every job in their order, `atOnce` of them at a time; those that wait are not begun once one has failed. */
export async function sideBySide<Job>(
  jobs: readonly Job[],
  atOnce: number,
  work: (job: Job) => Promise<void>,
): Promise<void> {
  const waiting = [...jobs];
  const worker = async () => {
    for (let job = waiting.shift(); job !== undefined; job = waiting.shift()) {
      await work(job).catch((error) => {
        waiting.length = 0;
        throw error;
      });
    }
  };
  const ended = await Promise.allSettled(Array.from({ length: atOnce }, worker));
  const failed = ended.find((one) => one.status === "rejected");
  if (failed) throw failed.reason;
}

/** What the seeds of a recipe gave so far. */
export class Seeds {
  readonly evidence: Evidence;
  readonly place: string;
  readonly #file: string;
  readonly #options: SeedOptions;

  private constructor(file: string, options: SeedOptions, { evidence, place }: Pick<Seeds, "evidence" | "place">) {
    this.#file = file;
    this.#options = options;
    this.evidence = evidence;
    this.place = place;
  }

  /** Reads what is there: a file of another processor, or of a recipe that says something else, is not gone on with. */
  static async open(file: string, options: SeedOptions): Promise<Seeds> {
    const { out } = options;
    const open = await openRecipe(file, changes(options));
    const { device = "cpu" } = options;
    const accelerator = device === "cpu" ? "" : `, ${acceleratorName(device)}`;
    const held = heldTo() === undefined ? "" : ` held to ${heldTo()}`;
    const processor = `${cpus()[0]?.model.trim() ?? "unknown"}${held}, ${cpus().length} cores${accelerator}, ${platform()} ${arch()}`;
    const place = join(out, `${nameOf(file, options)}.${processor.replaceAll(/\W+/g, "-").toLowerCase()}.json`);
    const kept = existsSync(place) ? (JSON.parse(readFileSync(place, "utf8")) as Evidence) : undefined;
    const recipe = runId(runSpec(open));
    const evidence: Evidence =
      kept?.recipe === recipe
        ? kept
        : {
            recipe,
            heldOut: JSON.stringify(open.written.prompts.heldOut),
            ...{ processor, instructions: instructions(), memory: totalmem() },
            versions: { node: process.versions.node },
            seeds: [],
          };
    return new Seeds(file, options, { evidence, place });
  }

  /**
   * What is kept of the recipe on any processor, as one: each seed says which it ran on. What was kept of a recipe that says something else is
   * left out and named on standard error.
   */
  static async pooled(file: string, options: SeedOptions): Promise<Seeds> {
    const own = await Seeds.open(file, options);
    const { out } = options;
    const kept = (existsSync(out) ? readdirSync(out).sort() : [])
      .filter((name) => name.startsWith(`${nameOf(file, options)}.`) && name.endsWith(".json"))
      .map((name) => ({ name, evidence: JSON.parse(readFileSync(join(out, name), "utf8")) as Evidence }))
      // Of `--limit 24`, where this is of none.
      .filter(({ name }) => options.limit !== undefined || !/\.limit-\d+\./.test(name));
    for (const { name, evidence } of kept)
      if (evidence.recipe !== own.evidence.recipe)
        console.error(`left out: ${name} is of a recipe that says something else`);
    return new Seeds(file, options, {
      place: own.place,
      evidence: pool(
        own.evidence,
        kept.map(({ evidence }) => evidence).filter(({ recipe }) => recipe === own.evidence.recipe),
      ),
    });
  }

  /** Runs a seed and keeps what it gave, unless that is there. A killed call continues: a run that is done is read from the store. */
  async run(seed: number): Promise<void> {
    const { seeds } = this.evidence;
    if (!this.#options.again && seeds.some((one) => one.seed === seed)) return;
    const began = Date.now();
    const peak = await runSeed(this.#file, seed, this.#options);
    const result = readSeed(await openRecipe(this.#file, { ...changes(this.#options), seed }), seed, this.#options);
    const commit = commitOf();
    const before = seeds.findIndex((one) => one.seed === seed);
    if (before >= 0) seeds.splice(before, 1);
    seeds.push({ ...result, ...(commit === undefined ? {} : { commit }), ...(peak === undefined ? {} : { peak }) });
    seeds.sort((a, b) => a.seed - b.seed);
    mkdirSync(this.#options.out, { recursive: true });
    writeFileSync(this.place, `${JSON.stringify(this.evidence)}\n`);
    console.error(`${basename(this.#file)}, seed ${seed}: ${((Date.now() - began) / 1000).toFixed(0)} s`);
  }
}

/** Seeds of several processors as one evidence; `own` says what they are of. */
export function pool(own: Evidence, kept: readonly Evidence[]): Evidence {
  const together = (of: (one: Evidence) => readonly string[]) => [...new Set(kept.flatMap(of))].sort();
  return {
    ...own,
    processor: together(({ processor }) => [processor]).join("; "),
    instructions: together(({ instructions }) => instructions),
    seeds: kept.flatMap(({ processor, seeds }) => seeds.map((seed) => ({ processor, ...seed }))),
  };
}

function nameOf(file: string, { limit }: SeedOptions): string {
  return `${basename(file, extname(file))}${limit === undefined ? "" : `.limit-${limit}`}`;
}

function commitOf(): string | undefined {
  const asked = spawnSync("git", ["rev-parse", "--short=10", "HEAD"], { cwd: dirname(main), encoding: "utf8" });
  return asked.status === 0 ? asked.stdout.trim() : undefined;
}

/** What the driver calls the processor behind a device; the device's own name where it does not tell. */
function acceleratorName(device: string): string {
  if (device !== "cuda") return device;
  const asked = spawnSync("nvidia-smi", ["--query-gpu=name", "--format=csv,noheader"], { encoding: "utf8" });
  return asked.stdout?.split("\n")[0]?.trim() || device;
}

/** Runs at once do not wait for one another's store. */
function storeOf(seed: number, { store, atOnce = 1 }: SeedOptions): string {
  return atOnce > 1 ? join(store, `seed-${seed}`) : store;
}

function changes({ limit }: SeedOptions) {
  return limit === undefined ? {} : { limit };
}

/** Runs one seed to its end in a process of its own; resolves to the peak of its memory in bytes, where the system tells. */
function runSeed(file: string, seed: number, options: SeedOptions): Promise<number | undefined> {
  const { limit, device = "cpu", atOnce = 1 } = options;
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
    storeOf(seed, options),
    "--device",
    device,
    ...(atOnce > 1 ? ["--threads", String(Math.max(1, Math.floor(cpus().length / atOnce)))] : []),
    ...(limit === undefined ? [] : ["--limit", String(limit)]),
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
function readSeed(open: OpenRecipe, seed: number, options: SeedOptions): SeedResult {
  const store = openStore(storeOf(seed, options), { readOnly: true });
  try {
    const run = runId(runSpec(open));
    const card = store.stage(run, "scorecard")?.output as Scorecard | undefined;
    if (!card) throw new Error(`run ${run} has no scorecard`);
    const rise = (name: string, id: string) =>
      card.differences.find(
        ({ metric, checkpoint, against }) =>
          metric === name && checkpoint === id && against === card.checkpoints[0]!.id,
      )?.value;
    const rowsOf = (stage: string) => [...store.rows<ResponseRow>(store.stage(run, stage)!.identity)];
    const judged = (rows: readonly ResponseRow[]) =>
      rows.map((row): Reply => {
        const results = runChecks(open.constitution, row).filter(({ applies }) => applies);
        const named = (violated: boolean) => [
          ...new Set(results.filter((one) => one.violated === violated).map(({ principle }) => principle)),
        ];
        const broken = named(true);
        const kept = named(false).filter((principle) => !broken.includes(principle));
        return {
          prompt: rowId("prompt", row.prompt),
          violates: results.length === 0 ? null : broken.length > 0,
          cut: row.finishReason === "length",
          broken,
          kept,
        };
      });
    const checkpoints = card.checkpoints.map(({ id, label }) => {
      const rows = rowsOf(`answers of ${id}`);
      const replies = judged(rows);
      const [perplexityRise, proxyRise] = [rise("perplexity", id), rise("proxy", id)];
      return {
        ...{
          id,
          label,
          replies,
          openings: new Set(rows.map(({ response }) => openingOf(response))).size / rows.length,
        },
        ...(perplexityRise === undefined ? {} : { perplexityRise }),
        ...(proxyRise === undefined ? {} : { proxyRise }),
      };
    });
    const baselines = card.baselines?.models.flatMap(({ id, label }) =>
      id in baselineAnswers ? [{ id, label, replies: judged(rowsOf(baselineAnswers[id]!)) }] : [],
    );
    const stages = store.stages(run);
    const seconds = Object.fromEntries(stages.map((stage) => [stage.name, stage.seconds]));
    const recommended = card.recommended && { recommended: card.recommended };
    return {
      seed,
      run,
      ...recommended,
      checkpoints,
      ...(baselines && baselines.length > 0 && { baselines }),
      seconds,
      budget: budgetOf(stages),
    };
  } finally {
    store.close();
  }
}

/** What a run's trainings report that they learnt from. */
function budgetOf(stages: readonly StageInfo[]): NonNullable<SeedResult["budget"]> {
  const sum = (kind: string, of: (report: Record<string, unknown>) => unknown) =>
    stages
      .filter((stage) => stage.kind === kind)
      .reduce((total, { output }) => {
        const { report = {} } = (output ?? {}) as { report?: Record<string, unknown> };
        return total + ((of(report) as number | undefined) ?? 0);
      }, 0);
  return {
    replies: sum("policy", ({ history }) => (history as { episode?: number }[] | undefined)?.at(-1)?.episode),
    supervisedTokens: sum("sft", ({ supervisedTokens }) => supervisedTokens),
  };
}
