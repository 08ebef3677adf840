// npm run bench -- NAME [--json] [--rounds N] [--peer NAME] [--weights FORMAT] [--verbose]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { benches } from "./benches/index.ts";
import { Child } from "./child.ts";
import { type Bench, compare, formatTable, nearest, type Outcome, roundsOf } from "./harness.ts";
import { PythonMissingError, preparePeers, python } from "./peers/setup.ts";

/** How long an answer is waited for where rounds take minutes on this machine and may take hours on another. */
const SECONDS_OF_A_DAY = 24 * 3600;

const usage = [
  "npm run bench -- NAME [--json] [--rounds N] [--peer NAME] [--weights FORMAT] [--verbose]",
  "",
  ...benches.map((bench) => `  ${bench.name.padEnd(14)}${bench.summary} (against ${peerNames(bench)})`),
  "",
  "  --json      one JSON object a peer, a line each",
  `  --rounds    counted rounds, at least and by default ${roundsOf({ name: "" }).rounds}; ${fewerRounds()}`,
  "  --peer      only this peer",
  "  --weights   how ours holds matrices in benches of language models: float32 (as is), int8 or int4",
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
  const { name, peer, askedRounds, weights, json, verbose } = readArguments();
  if (name === undefined) return console.log(usage);
  const bench = pick("bench", name, benches);
  const { rounds, warmup } = roundsFor(bench, askedRounds);
  const peers = peer === undefined ? bench.peers : [pick("peer", peer, bench.peers)];

  const say = (message: string) => console.error(message);
  if (peers.some(({ command }) => command === python)) await preparePeers(say);
  const threads = availableParallelism();
  const given: { task?: string } = {};
  if (bench.prepare) {
    given.task = join(scratch, "task.json");
    writeFileSync(given.task, JSON.stringify(await bench.prepare()));
  }
  if (weights !== undefined && !bench.weights) throw new UsageError(`${bench.name} takes no --weights.`);
  const start = async (asked: Parameters<typeof Child.start>[0]) => {
    const ofOurs = weights !== undefined && asked.command === process.execPath;
    const contestant = ofOurs ? { ...asked, args: [...asked.args, "--weights", weights] } : asked;
    say(`Building ${contestant.name} …`);
    const patience = bench.rounds ? { answerTimeoutSeconds: SECONDS_OF_A_DAY } : {};
    return Child.start(contestant, { threads, verbose, ...given, ...patience }, (child) => children.add(child));
  };

  const ours = await start(bench.ours);
  const outcomes: Outcome[] = [];
  for (const contestant of peers) {
    // A peer at a time: two of them in memory beside us would crowd out a smaller machine.
    const theirs = await start(contestant);
    say(`${warmup} + ${rounds} rounds of ${ours.name} and ${theirs.name} …`);
    const outcome = await compare(bench, ours, theirs, {
      rounds,
      warmup,
      machine: describeMachine(),
      onRound: ({ name }, { seconds, loss }, counted) => {
        const about = `${loss === undefined ? "" : `, loss ${loss.toFixed(4)}`}${counted ? "" : " (warm-up)"}`;
        if (verbose) say(`${name}: ${seconds.toFixed(3)} s${about}`);
      },
    });
    await theirs.stop();
    children.delete(theirs);
    outcomes.push(outcome);
    if (json) console.log(JSON.stringify(outcome.comparison));
  }
  if (!json) console.log(formatTable(bench, outcomes));
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
  const { peer, weights, rounds: askedRounds, json, verbose } = values;
  return { name: positionals[0], peer, weights, askedRounds, json, verbose };
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
      peer: { type: "string" },
      weights: { type: "string" },
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

/** Enough to judge a figure by, nothing that tells whose machine it is. */
function describeMachine(): string {
  const requireRuntime = createRequire(new URL("../packages/tensor/package.json", import.meta.url));
  const manifest = readFileSync(requireRuntime.resolve("onnxruntime-node/package.json"), "utf8");
  const { version } = JSON.parse(manifest) as { version: string };
  return [
    cpus()[0]?.model.trim() || "unknown processor",
    `${availableParallelism()} cores`,
    `${Math.round(totalmem() / 2 ** 30)} GiB`,
    `${process.platform} ${process.arch}`,
    `node ${process.versions.node}`,
    `onnxruntime ${version}`,
  ].join(", ");
}
