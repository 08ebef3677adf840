import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { EngineSettings } from "@tenet/align";
import type { EngineClient, EngineHealth } from "@tenet/engine";
import type { TrainingCompared } from "@tenet/train";
import { type EngineOptions, jobsOf } from "./engine.ts";
import { CommandUsageError, EXIT } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { openChanged } from "./run-recipe.ts";
import { stoppable } from "./stop.ts";

export interface SelfTestOptions extends EngineOptions {
  selfTest?: boolean;
  /** Names with commas between them. */
  trainings?: string;
  local?: boolean;
  workers?: number;
  gpus?: number;
  shard?: boolean;
  port?: number;
  python?: string;
}

/** What only a self-test is told. */
const ofSelfTest = ["trainings", "local", "workers", "gpus", "shard", "port", "python"] as const;

/**
 * `tenet engine check`: whether a cluster answers, takes our token, and runs what the engine was tested with; with `--self-test` whether it computes
 * what this machine does. Gives the exit code: 1 where a training differs.
 */
export async function checkEngine(io: Io, file: string | undefined, options: SelfTestOptions): Promise<number> {
  const given = ofSelfTest.find((name) => options[name] !== undefined);
  if (given && !options.selfTest) throw new CommandUsageError(`--${given} is for --self-test: give both`);
  if (options.local && (file !== undefined || options.ray !== undefined))
    throw new CommandUsageError("--local starts an engine of this machine: give no recipe and no --ray beside it");
  const settings = await settingsOf(file, options);
  if (!options.local) await checkCluster(io, { ...options, ray: settings.ray });
  return options.selfTest ? selfTest(io, settings, options) : EXIT.done;
}

async function checkCluster(io: Io, options: SelfTestOptions & { ray: string }): Promise<void> {
  const { testedWith } = await import("@tenet/engine");
  const jobs = await jobsOf(io, options);
  const { ray_version: ray } = await jobs.version();
  const tested = (await testedWith()).ray;
  // Of a self-test there is one object in the end.
  if (options.json && !options.selfTest) return printJson(io, { address: jobs.address, ray, testedWith: tested });
  const note = ray === tested ? "as tested" : `the engine was tested with ${tested}`;
  (options.json ? tell : say)(io, `${jobs.address}: Ray ${ray} (${note})\n`);
}

/** The engine as a recipe has it, changed by what the command says. */
async function settingsOf(file: string | undefined, options: SelfTestOptions): Promise<EngineSettings> {
  const { ray, workers, gpus, shard, port, python, local } = options;
  if (local && ((workers ?? 1) !== 1 || shard))
    throw new CommandUsageError("--local is one process: expected neither --workers nor --shard beside it");
  const recipe = file === undefined ? undefined : await openChanged(file, {});
  const engine = recipe?.recipe.engine;
  if (recipe && engine === undefined)
    throw new CommandUsageError(`${file}: expected an engine in the recipe, there is none; give --ray instead`);
  const said = Object.fromEntries(
    Object.entries({ ray, workers, gpus, shard, port, python }).filter(([, value]) => value !== undefined),
  );
  const { engineSchema } = await import("@tenet/align");
  const whole = { ray: "http://localhost:8265", ...(local && { gpus: 0 }), ...engine, ...said };
  const parsed = engineSchema.safeParse(whole);
  const [issue] = parsed.error?.issues ?? [];
  if (!parsed.success) throw new CommandUsageError(`--${issue?.path.join(".")}: ${issue?.message}`);
  return parsed.data;
}

/** An engine under test. */
interface UnderTest {
  readonly client: EngineClient;
  readonly health: EngineHealth;
  close(): Promise<void>;
}

/** Compares every training, and says what differs. */
async function selfTest(io: Io, settings: EngineSettings, options: SelfTestOptions): Promise<number> {
  const { writeTinyModel } = await import("@tenet/lm");
  const { equalityBounds: bounds, openSelfTest } = await import("@tenet/train");
  const { versionsApart } = await import("@tenet/align");
  const folder = await mkdtemp(join(tmpdir(), "tenet-self-test-"));
  try {
    const model = await writeTinyModel(join(folder, "model"));
    return await stoppable(io, async (signal) => {
      const engine = await (options.local ? local : onCluster)(io, { settings, model, signal });
      try {
        const { health } = engine;
        const differences = await versionsApart(health);
        const nodes = new Set(health.workers.map(({ node }) => node)).size;
        const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
        const where = `${count(health.workers.length, "worker")} on ${count(nodes, "node")}`;
        const of = `${where}, ${health.workers[0]?.device}${settings.shard ? ", sharded" : ""}`;
        tell(io, `engine ${engine.client.address}: ${of}\n`);
        for (const difference of differences) tell(io, `warning: ${difference}\n`);
        const test = await openSelfTest({ model, folder, engine: engine.client });
        const rows: TrainingCompared[] = [];
        try {
          for (const name of chosen(options.trainings, test.trainings)) {
            signal.throwIfAborted();
            const row = await test.compare(name);
            rows.push(row);
            tell(io, `${name}: ${row.equal ? "equal" : "DIFFERENT"}\n`);
          }
        } finally {
          await test.close();
        }
        const equal = rows.every((row) => row.equal);
        if (options.json) {
          const { versions, workers } = health;
          const { shard } = settings;
          printJson(io, { address: engine.client.address, versions, differences, workers, shard, bounds, rows, equal });
        } else say(io, `${tableOf(rows)}\n\n${verdictOf(rows, { of, bounds })}\n`);
        return equal ? EXIT.done : EXIT.failed;
      } finally {
        await engine.close();
      }
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Errors: CommandUsageError for a name that is none. */
function chosen(names: string | undefined, all: readonly string[]): readonly string[] {
  const wanted = names?.split(",").map((name) => name.trim()) ?? all;
  const unknown = wanted.find((name) => !all.includes(name));
  if (unknown !== undefined)
    throw new CommandUsageError(`--trainings: there is no "${unknown}"; expected some of ${all.join(", ")}`);
  return wanted;
}

function tableOf(rows: readonly TrainingCompared[]): string {
  const small = (value: number) => (value === 0 ? "0" : value.toExponential(1));
  return table([
    ["training", "events", "loss", "gradient norm", "adapter", "seconds here", "there", ""],
    ...rows.map(({ training, steps, loss, gradNorm, adapter, here, there, equal }) => [
      ...[training, String(steps), small(loss), gradNorm === undefined ? "–" : small(gradNorm), small(adapter)],
      ...[here.toFixed(1), there.toFixed(1), equal ? "equal" : "different"],
    ]),
  ]);
}

function verdictOf(
  rows: readonly TrainingCompared[],
  { of, bounds }: { of: string; bounds: { loss: number; adapter: number } },
): string {
  const limits = `losses within ${bounds.loss}, adapters within ${bounds.adapter}`;
  const wrong = rows.filter(({ equal }) => !equal).map(({ training }) => training);
  if (wrong.length === 0)
    return `All ${rows.length} trainings come to the same there and here (${limits}, relative): ${of}.`;
  return `${wrong.join(", ")} ${wrong.length === 1 ? "differs" : "differ"} (${limits}, relative): ${of}. This engine is not to be trained with; compare its versions with those that were tested (packages/engine/python/requirements.txt).`;
}

interface Start {
  readonly settings: EngineSettings;
  /** The small model's folder here. */
  readonly model: string;
  readonly signal: AbortSignal;
}

/** A job of its own on the cluster, to which the model is sent along with the program. */
async function onCluster(io: Io, { settings, model, signal }: Start): Promise<UnderTest> {
  const { forgetToken, jobId, launchEngine } = await import("@tenet/engine");
  const { launchOptions } = await import("@tenet/align");
  const run = `self-test-${randomBytes(4).toString("hex")}`;
  const path = "self-test-model";
  const launch = launchOptions({ ...settings, dtype: "float32", model: path }, { run, path });
  // Of its own, so that it still speaks where the command was interrupted.
  const jobs = await jobsOf(io, settings);
  const id = jobId(run, launch.spec);
  const close = async () => {
    if (await jobs.job(id)) await jobs.stop(id);
    await forgetToken(id);
  };
  const statuses = new Set<string>();
  const onStatus = (status: string) => {
    if (!statuses.has(status)) tell(io, `${status}\n`);
    statuses.add(status);
  };
  try {
    const { client, health } = await launchEngine({ ...launch, sent: model, signal, variables: io.env, onStatus });
    return { client, health, close };
  } catch (error) {
    await close();
    throw error;
  }
}

/** One process of this machine. */
async function local(io: Io, { settings, model, signal }: Start): Promise<UnderTest> {
  const { enginePython, startEngine } = await import("@tenet/engine");
  const found = enginePython(io.env);
  if ("missing" in found) throw new CommandUsageError(`an engine needs Python with PyTorch: ${found.missing}`);
  const { gpus, threads } = settings;
  const { client, close } = await startEngine(found.python, { model, gpus, threads }, { signal });
  try {
    return { client, health: await client.health(), close };
  } catch (error) {
    await close();
    throw error;
  }
}
