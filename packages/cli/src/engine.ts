import { homedir } from "node:os";
import { join } from "node:path";
import { CommandUsageError, EXIT } from "./errors.ts";
import { table } from "./format.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { stoppable } from "./stop.ts";

export interface EngineOptions {
  json?: boolean;
  /** Of Ray's dashboard. */
  ray?: string;
}

/** Where a local cluster listens, and the near end of a tunnel to another. */
const usual = "http://localhost:8265";

export async function jobsOf(io: Io, { ray = usual }: EngineOptions) {
  if (!URL.canParse(ray) || !/^https?:$/.test(new URL(ray).protocol))
    throw new CommandUsageError(`--ray: expected the address of a Ray dashboard such as ${usual}, got ${ray}`);
  const { RayJobs, rayToken } = await import("@tenet/engine");
  return new RayJobs({ address: ray, token: await rayToken(io.env) });
}

/** Jobs of ours on a cluster, by id. */
async function ours(io: Io, options: EngineOptions) {
  const jobs = await jobsOf(io, options);
  const all = Object.entries(await jobs.jobs()).filter(([, { metadata }]) => metadata?.tenet !== undefined);
  return { jobs, all };
}

export interface EngineUpOptions {
  json?: boolean;
  workers?: number;
  port?: number;
}

/** `tenet engine up`: a cluster of this machine, to try engines on, until it is interrupted. */
export async function engineUp(io: Io, { json, workers = 2, port = 8265 }: EngineUpOptions): Promise<void> {
  if (workers < 1) throw new CommandUsageError(`--workers: expected at least 1, got ${workers}`);
  const { enginePython, startCluster } = await import("@tenet/engine");
  const found = enginePython(io.env);
  if ("missing" in found) throw new CommandUsageError(`a cluster needs Python with Ray: ${found.missing}`);
  const { python } = found;
  const folder = join(io.env.TENET_HOME ?? join(homedir(), ".tenet"), "engine", "cluster");
  await stoppable(io, async (signal) => {
    const cluster = await startCluster({
      ...{ python, folder, nodes: workers, port, signal },
      onStatus: (status) => tell(io, `${status}\n`),
    });
    try {
      const engine = { ray: cluster.address, workers, gpus: 0, python };
      const { tokenFile } = cluster;
      if (json) printJson(io, { engine, tokenFile });
      else
        say(
          io,
          `${workers} nodes at ${cluster.address}; Ctrl-C ends them. In a recipe:\n\n    engine: ${JSON.stringify(engine)}\n\nand for its commands: export RAY_AUTH_TOKEN_PATH=${tokenFile}\n`,
        );
      await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      signal.throwIfAborted();
    } finally {
      await cluster.close();
    }
  });
}

/** `tenet engine status`: the engines of a cluster, one for each run that trains there. */
export async function engineStatus(io: Io, options: EngineOptions): Promise<void> {
  const { all } = await ours(io, options);
  const rows = all.map(([id, { status, metadata, message }]) => {
    return { id, run: metadata?.run ?? "", status, message: message?.split("\n")[0] ?? "" };
  });
  if (options.json) return printJson(io, { engines: rows });
  if (rows.length === 0) return say(io, "no engine of ours was started on this cluster\n");
  say(io, table([["engine", "run", "status", ""], ...rows.map((row) => [row.id, row.run, row.status, row.message])]));
}

/** An engine by the run that it is for, or by its own id. */
async function find(io: Io, name: string, options: EngineOptions) {
  const { jobs, all } = await ours(io, options);
  const found = all.filter(([id, { metadata }]) => id === name || metadata?.run === name);
  // The one that runs, else the latest.
  const [first] = found.sort(
    ([, a], [, b]) =>
      Number(b.status === "RUNNING") - Number(a.status === "RUNNING") || (b.start_time ?? 0) - (a.start_time ?? 0),
  );
  if (first) return { jobs, id: first[0], job: first[1] };
  const known = all.map(([, { metadata }]) => metadata?.run).join(", ");
  throw new CommandUsageError(
    `there is no engine of a run ${name} on ${jobs.address}; ${known ? `there are those of ${known}` : "there is none"}`,
  );
}

/** `tenet engine logs`: what an engine has said so far. */
export async function engineLogs(io: Io, name: string, options: EngineOptions): Promise<void> {
  const { jobs, id } = await find(io, name, options);
  const logs = await jobs.logs(id);
  if (options.json) return printJson(io, { id, logs });
  say(io, logs);
}

/** `tenet engine stop`: ends an engine. Nothing is lost by it: what is trained is in the run's checkpoints. */
export async function stopEngine(io: Io, name: string, options: EngineOptions): Promise<number> {
  const { forgetToken } = await import("@tenet/engine");
  const { jobs, id, job } = await find(io, name, options);
  const running = job.status === "RUNNING" || job.status === "PENDING";
  if (running) await jobs.stop(id);
  await forgetToken(id);
  if (options.json) printJson(io, { id, stopped: running });
  else
    say(
      io,
      running ? `${id} is stopped; the next run goes on from its last checkpoint\n` : `${id} had ended already\n`,
    );
  return EXIT.done;
}
