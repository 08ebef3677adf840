/*
 * Run by ray-run.test.ts in a network and with processes of its own: a whole recipe with `engine:` on a Ray cluster of two nodes, then the same recipe while a worker,
 * a node, the job or Tenet itself is killed at a random moment. Prints one JSON object a line.
 *
 *   ray-run-child.ts <python> <folder> <kills> <seed>
 */
import { readdirSync, readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { randomStream } from "@tenet/data";
import { startCluster } from "@tenet/engine";
import { reinforcedRecipe, writeRecipe } from "../packages/align/test/pipeline/fixture.ts";
import { RunProcess } from "../packages/align/test/pipeline/process.ts";
import { reading, runWhole } from "../packages/align/test/pipeline/run.ts";

const [python = "", folder = "", kills = "4", seed = "0"] = process.argv.slice(2);
const tell = (what: string, value: object = {}) => console.log(JSON.stringify({ what, ...value }));
const began = performance.now();
const seconds = () => Number(((performance.now() - began) / 1000).toFixed(1));

process.env.TENET_HOME = folder;
const cluster = await startCluster({
  ...{ python, folder: join(folder, "cluster"), nodes: 2, startSeconds: 900 },
  onStatus: (status) => tell("cluster", { status, seconds: seconds() }),
});
process.env.RAY_AUTH_TOKEN = cluster.token;

/** Processes of this namespace whose command line is such. */
function processes(such: (command: string) => boolean): number[] {
  return readdirSync("/proc").flatMap((name) => {
    if (!/^\d+$/.test(name)) return [];
    try {
      return such(readFileSync(`/proc/${name}/cmdline`, "utf8").replaceAll("\0", " ").trim()) ? [Number(name)] : [];
    } catch {
      return []; // it has ended meanwhile
    }
  });
}

const trained = ["supervised", "preference model", "policy"];
const artifacts = (store: string, id: string) =>
  reading(store, (reader) => trained.map((stage) => reader.stage(id, stage)?.artifacts[0]));
const idOf = (store: string) => reading(store, (reader) => reader.runs()[0]!.id);
const verdict = (store: string, id: string) =>
  reading(store, (reader) => (reader.stage(id, "scorecard")!.output as { recommended?: string }).recommended ?? null);

/** Who is killed, and what has to be done so that the run can go on. */
const victims: Readonly<Record<string, (run: RunProcess) => Promise<void>>> = {
  async worker() {
    for (const pid of processes((command) => command.startsWith("ray::RayTrainWorker")).slice(-1))
      process.kill(pid, "SIGKILL");
  },
  async node() {
    const node = cluster.nodes.at(-1)!;
    process.kill(-node.pid!, "SIGKILL");
    await cluster.add();
  },
  async job() {
    for (const pid of processes((command) => /python \S*-m tenet_engine|python -m tenet_engine/.test(command)))
      process.kill(pid, "SIGKILL");
  },
  async tenet(run) {
    await run.kill();
  },
};

try {
  const local = await writeRecipe(join(folder, "recipe"), { recipe: reinforcedRecipe, prompts: 8 });
  const engine = { ray: cluster.address, gpus: 0, workers: 2, shard: true, python, startMinutes: 15 };
  const recipe = join(folder, "recipe", "on-engine.yaml");
  await writeFile(recipe, `${reinforcedRecipe}engine: ${JSON.stringify(engine)}\n`);

  const here = await runWhole(local, join(folder, "here"));
  tell("here", { seconds: seconds(), recommended: verdict(join(folder, "here"), here.id) });
  const whole = new RunProcess(recipe, join(folder, "whole"));
  await whole.ended();
  const last = whole.lines.at(-1)!;
  if (!("status" in last) || last.status !== "done") throw new Error(JSON.stringify(whole.lines.slice(-3)));
  const id = idOf(join(folder, "whole"));
  const expected = artifacts(join(folder, "whole"), id);
  const values = (store: string, run: string, stage: string) =>
    reading(store, (reader) => reader.metrics(run, { stage, name: "loss" }).map(({ value }) => value));
  const apart = (stage: string) => {
    const [mine, theirs] = [values(join(folder, "here"), here.id, stage), values(join(folder, "whole"), id, stage)];
    return Math.max(...mine.map((value, i) => Math.abs(value - theirs[i]!) / Math.max(1e-2, Math.abs(value))));
  };
  const replies = (store: string, run: string, stage: string) =>
    reading(store, (reader) =>
      [...reader.rows(reader.stage(run, stage)!.identity)].map(
        (row) => (row as unknown as { response: string }).response,
      ),
    );
  const alike = ["responses", "answers of base", "answers of sl", "answers of rl"].map((stage) => {
    const [mine, theirs] = [replies(join(folder, "here"), here.id, stage), replies(join(folder, "whole"), id, stage)];
    return mine.filter((text, i) => text === theirs[i]).length / mine.length;
  });
  tell("whole", {
    seconds: seconds(),
    took: (whole.times.at(-1)! - whole.times[0]!) / 1000,
    loss: Math.max(apart("supervised"), apart("preference model")),
    replies: Math.min(...alike),
    recommended: verdict(join(folder, "whole"), id),
  });

  // The engine's training begins here, and ends where the scorecard is made.
  const starts = whole.lines.findIndex((line) => line.type === "stage" && line.stage === "supervised");
  const [from, to] = [whole.times[starts]!, whole.times.at(-1)!];
  const { uniform } = randomStream({ seed: Number(seed), stage: "ray kill", item: "moment" });
  for (let kill = 0; kill < Number(kills); kill++) {
    const who = Object.keys(victims)[kill % Object.keys(victims).length]!;
    const store = join(folder, `store-${kill}`);
    const moment = from + uniform(kill) * (to - from);
    const before = whole.times.findLastIndex((time) => time <= moment);
    let run = new RunProcess(recipe, store);
    await run.printed(() => run.lines.length > before);
    await later(moment - whole.times[before]!);
    const begun = seconds();
    await victims[who]!(run);
    await run.ended();
    let restarts = 0;
    const done = () => {
      const end = run.lines.at(-1);
      return end !== undefined && "status" in end && end.type === "run" && end.status === "done";
    };
    for (; !done() && restarts < 4; restarts++) {
      run = new RunProcess(recipe, store);
      await run.ended();
    }
    const found = artifacts(store, id);
    if (!done()) tell("not done", { who, end: run.lines.slice(-2) });
    const messages = run.lines.flatMap((line) => (line.type === "message" ? [line.message] : []));
    tell("killed", {
      ...{ who, behind: before, of: whole.lines.length, restarts, seconds: Number((seconds() - begun).toFixed(1)) },
      equal: expected.map((hash, i) => hash !== undefined && hash === found[i]),
      resumed: messages.filter((text) => /on from the last checkpoint|asked again/.test(text)).length,
    });
  }
} finally {
  await cluster.close();
  tell("down", { seconds: seconds() });
}
process.exit(process.exitCode ?? 0);
