// npm run bench -- NAME [--json] [--rounds N] [--peer NAME]… [--device NAME] [--weights FORMAT] [--model PATH] [--python PATH] [--anyway] [--verbose]
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benches } from "./benches/index.ts";
import { Child } from "./child.ts";
import { type Bench, compare, formatTable, nearest, type Outcome, roundsOf } from "./harness.ts";
import { busyShare, describeMachine, quiet, watchOthers } from "./machine.ts";
import { PythonMissingError, preparePeers, python } from "./peers/setup.ts";

/** How long an answer is waited for where rounds take minutes on this machine and may take hours on another. */
const SECONDS_OF_A_DAY = 24 * 3600;

const usage = [
  "npm run bench -- NAME [--json] [--rounds N] [--peer NAME]… [--device NAME] [--weights FORMAT] [--model PATH] [--python PATH] [--anyway] [--verbose]",
  "",
  ...benches.map((bench) => `  ${bench.name.padEnd(14)}${bench.summary} (against ${peerNames(bench)})`),
  "",
  "  --json      one JSON object a peer, a line each",
  `  --rounds    counted rounds, at least and by default ${roundsOf({ name: "" }).rounds}; ${fewerRounds()}`,
  "  --peer      only this peer; may be given several times",
  "  --device    where all compute: cpu (as is), cuda, or for ours alone webgpu",
  "  --weights   how ours holds matrices in benches of language models: float32 (as is), int8 or int4",
  "  --model     of the language model's benches, instead of SmolLM2-135M-Instruct: a GGUF file or a folder; one without weights gets random ones",
  "  --python    an interpreter that has what the peers import, instead of one that is made for them",
  "  --anyway    compare although other programs keep the processors busy",
  "  --verbose   every round, and what the contestants write to stderr",
].join("\n");

/** A mistake in the arguments, or a machine that lacks what a bench needs. */
class UsageError extends Error {}

const children = new Set<Child>();
const scratch = mkdtempSync(join(tmpdir(), "tenet-bench-"));
process.on("exit", () => rmSync(scratch, { recursive: true, force: true }));
for (const [signal, code] of [
  ["SIGINT", 130],
  ["SIGTERM", 143],
] as const) {
  process.on(signal, () => {
    for (const child of children) child.kill();
    process.exit(code);
  });
}

try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = error instanceof UsageError || error instanceof PythonMissingError ? 2 : 1;
} finally {
  await Promise.all([...children].map((child) => child.stop()));
}

async function main(): Promise<void> {
  const {
    name,
    peer,
    askedRounds,
    weights,
    device,
    model,
    python: interpreter,
    anyway,
    json,
    verbose,
  } = readArguments();
  if (name === undefined) return console.log(usage);
  const bench = pick("bench", name, benches);
  const { rounds, warmup } = roundsFor(bench, askedRounds);
  if (device !== "cpu" && !bench.devices) throw new UsageError(`${bench.name} takes no --device.`);
  const possible = bench.peers.filter(({ only }) => only === undefined || only === device);
  const peers = peer === undefined ? possible : peer.map((one) => pick("peer", one, possible));
  if (model !== undefined) process.env.TENET_BENCH_MODEL = model;

  const say = (message: string) => console.error(message);
  if (interpreter === undefined && peers.some(({ command }) => command === python)) await preparePeers(say);
  const threads = availableParallelism();
  const given: { task?: string } = {};
  if (bench.prepare) {
    given.task = join(scratch, "task.json");
    writeFileSync(given.task, JSON.stringify(await bench.prepare()));
  }
  if (weights !== undefined && !bench.weights) throw new UsageError(`${bench.name} takes no --weights.`);
  const start = async (asked: Parameters<typeof Child.start>[0]) => {
    const ofOurs = weights !== undefined && asked.command === process.execPath;
    const more = [...(ofOurs ? ["--weights", weights] : []), ...(bench.devices ? ["--device", device] : [])];
    const command = asked.command === python ? (interpreter ?? python) : asked.command;
    const contestant = { ...asked, command, args: [...asked.args, ...more] };
    say(`Building ${contestant.name} …`);
    const patience = bench.rounds ? { answerTimeoutSeconds: SECONDS_OF_A_DAY } : {};
    return Child.start(contestant, { threads, verbose, ...given, ...patience }, (child) => children.add(child));
  };

  const share = await busyShare();
  if (share > quiet && !anyway)
    throw new UsageError(
      `Others keep ${(100 * share).toFixed(0)} % of the processors busy (at most ${100 * quiet} % are let pass): a ratio would say more about them. Wait until they are done, or give --anyway.`,
    );
  const busy = share > quiet ? share : undefined;
  const ours = await start(bench.ours);
  const outcomes: Outcome[] = [];
  for (const contestant of peers) {
    // A peer at a time: two of them in memory beside us would crowd out a smaller machine.
    const theirs = await start(contestant);
    say(`${warmup} + ${rounds} rounds of ${ours.name} and ${theirs.name} …`);
    const outcome = await compare(bench, ours, theirs, {
      rounds,
      warmup,
      machine: describeMachine(device),
      sameLoss: contestant.sameLoss,
      busy,
      others: othersBeside([ours, theirs]),
      onRound: ({ name }, { seconds, loss }, counted) => {
        const about = `${loss === undefined ? "" : `, loss ${loss.toFixed(4)}`}${counted ? "" : " (warm-up)"}`;
        if (verbose) say(`${name}: ${seconds.toFixed(3)} s${about}`);
      },
    });
    if (device === "cuda") {
      const [mine, others] = [memoryOn(ours.pid), memoryOn(theirs.pid)];
      if (mine !== undefined && others !== undefined) outcome.comparison.gpu_memory = { ours: mine, theirs: others };
    }
    await theirs.stop();
    children.delete(theirs);
    outcomes.push(outcome);
    if (json) console.log(JSON.stringify(outcome.comparison));
  }
  if (!json) console.log(formatTable(bench, outcomes));
}

/** Watches who else works from now on, where that is told and too much. */
function othersBeside(contestants: readonly Child[]): () => number | undefined {
  const share = watchOthers(contestants.flatMap(({ pid }) => pid ?? []));
  return () => {
    const now = share();
    return now !== undefined && now > quiet ? now : undefined;
  };
}

function readArguments() {
  let parsed: ReturnType<typeof parse>;
  try {
    parsed = parse();
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : error}\n\n${usage}`);
  }
  const { values, positionals } = parsed;
  if (positionals.length > 1) throw new UsageError(`One bench at a time, got ${positionals.join(", ")}.`);
  const { rounds: askedRounds, ...others } = values;
  return { name: positionals[0], askedRounds, ...others };
}

function roundsFor(bench: Bench, asked: string | undefined) {
  try {
    return roundsOf(bench, asked);
  } catch (error) {
    throw new UsageError((error as RangeError).message);
  }
}

function parse() {
  return parseArgs({
    allowPositionals: true,
    options: {
      json: { type: "boolean", default: false },
      rounds: { type: "string" },
      peer: { type: "string", multiple: true },
      device: { type: "string", default: "cpu" },
      weights: { type: "string" },
      model: { type: "string" },
      python: { type: "string" },
      anyway: { type: "boolean", default: false },
      verbose: { type: "boolean", default: false },
    },
  });
}

function pick<T extends { name: string }>(kind: string, name: string, all: readonly T[]): T {
  const found = all.find((one) => one.name === name);
  if (found) return found;
  const names = all.map((one) => one.name);
  throw new UsageError(
    `There is no ${kind} "${name}"; did you mean "${nearest(name, names)}"? All: ${names.join(", ")}.`,
  );
}

/** Benches that are played less often than others. */
function fewerRounds(): string {
  const few = benches.filter(({ rounds }) => rounds !== undefined);
  return few.map(({ name, rounds }) => `${rounds!.fewest} of ${name}`).join(", ");
}

function peerNames(bench: (typeof benches)[number]): string {
  return bench.peers.map((one) => one.name).join(" and ");
}

/** What the driver says a process holds on the graphics processor, in bytes. */
function memoryOn(pid: number | undefined): number | undefined {
  const query = ["--query-compute-apps=pid,used_memory", "--format=csv,noheader,nounits"];
  const { stdout } = spawnSync("nvidia-smi", query, { encoding: "utf8" });
  const line = stdout?.split("\n").find((one) => Number(one.split(",")[0]) === pid);
  const mebibytes = Number(line?.split(",")[1]?.trim());
  return line !== undefined && Number.isFinite(mebibytes) ? mebibytes * 2 ** 20 : undefined;
}
