import { createHash, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { EngineClient } from "./client.ts";
import { EngineError, EngineGoneError, RayJobsError } from "./errors.ts";
import { RayJobs } from "./jobs.ts";
import { type EngineHealth, type EngineSpec, PROTOCOL } from "./protocol.ts";
import { forgetToken, keepToken, tokenOf } from "./tokens.ts";
import { filesOf, zipFiles } from "./zip.ts";

/** The program of the job, as it is shipped. */
export const programFolder = fileURLToPath(new URL("../python", import.meta.url));

export interface LaunchOptions {
  /** Of Ray's dashboard. */
  readonly ray: string;
  /** Names the job: the run that it is for. */
  readonly run: string;
  readonly spec: Omit<EngineSpec, "protocol" | "name" | "ray" | "port">;
  /** Where the job's port is reached from here. Default: the host of `ray`. */
  readonly reach?: string | undefined;
  readonly port: number;
  /** Folder of a small model here that is sent along with the program, which `spec.model` names then. */
  readonly sent?: string | undefined;
  /** Python of the workers. Default `python`. */
  readonly python?: string | undefined;
  /** More of Ray's runtime environment: `image_uri`, `uv`. */
  readonly environment?: Readonly<Record<string, unknown>> | undefined;
  /** Minutes until all workers have to be there. Default 10. */
  readonly startMinutes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly variables?: Readonly<Record<string, string | undefined>>;
  readonly onStatus?: ((status: string) => void) | undefined;
}

export interface LaunchedEngine {
  readonly id: string;
  readonly client: EngineClient;
  readonly jobs: RayJobs;
  readonly health: EngineHealth;
  /** Whether it was running already. */
  readonly attached: boolean;
}

/** The cluster's token, from where Ray's own tools take it; nothing where there is none. */
export async function rayToken(variables: Readonly<Record<string, string | undefined>> = process.env) {
  const { RAY_AUTH_TOKEN: token, RAY_AUTH_TOKEN_PATH: path } = variables;
  if (token?.trim()) return token.trim();
  const file = path ?? join(homedir(), ".ray", "auth_token");
  if (path === undefined && !existsSync(file)) return undefined;
  return (await readFile(file, "utf8")).trim();
}

/** The id of a run's first job, which those behind it begin with: the same run with the same specification finds them again. */
export function jobId(run: string, spec: LaunchOptions["spec"]): string {
  const digest = createHash("sha256")
    .update(JSON.stringify([PROTOCOL, spec]))
    .digest("hex")
    .slice(0, 8);
  return `tenet-${run}-${digest}`;
}

/** Bytes of a job's log that are shown where it ended. */
const shownLines = 40;

/**
 * Starts the engine as a job of a Ray cluster, or finds the one that runs already, and waits until all its workers are there.
 *
 * Errors: RayJobsError, EngineGoneError with the last lines of the log where the job ended, EngineError where it has not its workers in time.
 */
export async function launchEngine(options: LaunchOptions): Promise<LaunchedEngine> {
  const { ray, run, spec, port, signal, variables = process.env, onStatus = () => {}, startMinutes = 10 } = options;
  const clusterToken = await rayToken(variables);
  const { hostname } = new URL(ray);
  if (clusterToken === undefined && !isLoopback(hostname))
    throw new RayJobsError(
      `${ray} is no address of this machine, and there is no token for it: without one anybody can run programs there. Set RAY_AUTH_TOKEN, or reach the cluster through a tunnel (ssh -L 8265:localhost:8265 …)`,
    );
  const jobs = new RayJobs({ address: ray, token: clusterToken, signal });
  await jobs.version();
  const { id, running, over } = await jobOf(jobs, jobId(run, spec));
  for (const ended of over) await forgetToken(ended);
  const token = running ? await tokenOf(id) : randomBytes(32).toString("hex");
  if (!running) {
    onStatus("sending the program");
    const { uri } = await jobs.upload(await packed(options));
    await keepToken(id, token);
    const whole: EngineSpec = { ...spec, protocol: PROTOCOL, name: id, port };
    await jobs.submit({
      entrypoint: `${options.python ?? "python"} -m tenet_engine`,
      submission_id: id,
      runtime_env: {
        ...options.environment,
        working_dir: uri,
        env_vars: {
          TENET_SPEC: JSON.stringify(whole),
          TENET_TOKEN: token,
          RAY_TRAIN_V2_ENABLED: "1",
          // As long as a start may take: by default Ray gives a group up after a minute, and begins anew.
          RAY_TRAIN_ENABLE_PREEMPTION_WATCHER: "0", // what is lost is found out by its calls
          RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S: String(Math.ceil(60 * startMinutes)),
          TOKENIZERS_PARALLELISM: "false",
        },
      },
      metadata: { tenet: String(PROTOCOL), run },
    });
  }
  const address = options.reach ?? `http://${hostname}:${port}`;
  const ended = async () => {
    // Where the cluster cannot be asked either, patience is all there is.
    const job = await jobs.job(id).catch(() => ({ status: "unknown", message: undefined }));
    return job === undefined || hasEnded(job.status) ? endedError(jobs, id, job?.message ?? job?.status) : undefined;
  };
  const client = new EngineClient({ address, token, signal, ended });
  const health = await ready({ jobs, id, address, token, signal, startMinutes, onStatus }).catch(async (error) => {
    // What does not come up would take what it waits for as soon as that is free; somebody who interrupts it comes back.
    if (!signal?.aborted && !(error instanceof EngineGoneError)) await stopJob(jobs, id, error);
    throw error;
  });
  // What a process left that was killed.
  if (running) await client.call("drop", {});
  return { id, client, jobs, health, attached: running };
}

/**
 * The job of a run that is there, or the id of the next: each start has an id of its own, since Ray keeps the name of a job that was removed
 * for as long as any process of it is there.
 */
async function jobOf(jobs: RayJobs, first: string) {
  const nth = (id: string) => (id === first ? 1 : Number(id.slice(first.length + 1)));
  const all = Object.entries(await jobs.jobs()).filter(
    ([id]) => id === first || (id.startsWith(`${first}-`) && Number.isInteger(nth(id))),
  );
  const there = all.find(([, { status }]) => !hasEnded(status));
  if (there) return { id: there[0], running: true, over: [] };
  const over = all.map(([id]) => id);
  const last = Math.max(0, ...over.map(nth));
  return { id: last === 0 ? first : `${first}-${last + 1}`, running: false, over };
}

/** The program as it is uploaded, with what goes along. */
export async function packed({ sent, spec }: Pick<LaunchOptions, "sent" | "spec">): Promise<Buffer> {
  const program = await filesOf(join(programFolder, "tenet_engine"), "tenet_engine");
  return zipFiles(new Map([...program, ...(sent === undefined ? [] : await filesOf(sent, spec.model))]));
}

async function ready({
  jobs,
  id,
  address,
  token,
  signal,
  startMinutes,
  onStatus,
}: {
  readonly jobs: RayJobs;
  readonly id: string;
  readonly address: string;
  readonly token: string;
  readonly signal: AbortSignal | undefined;
  readonly startMinutes: number;
  readonly onStatus: (status: string) => void;
}): Promise<EngineHealth> {
  const until = Date.now() + 60_000 * startMinutes;
  // Until it listens nobody answers: each look has no patience of its own.
  const looking = new EngineClient({ address, token, signal, patienceSeconds: 0 });
  for (;;) {
    signal?.throwIfAborted();
    const job = await jobs.job(id);
    if (job === undefined || hasEnded(job.status)) throw await endedError(jobs, id, job?.message ?? job?.status);
    const health = await looking.health().catch((error) => {
      if (error instanceof EngineGoneError) return undefined;
      throw error;
    });
    if (health?.broken) throw await endedError(jobs, id, health.broken);
    if (health && health.workers.length === health.wanted) return health;
    onStatus(health ? `${health.workers.length} of ${health.wanted} workers` : job.status.toLowerCase());
    if (Date.now() > until) {
      const kinds = Object.entries(health?.resources ?? {});
      const free = kinds.map(([kind, { have, free }]) => `${free} ${kind} free of ${have}`).join(", ");
      throw new EngineError(
        `engine ${address}: ${health?.workers.length ?? 0} of ${health?.wanted ?? "its"} workers are there after ${startMinutes} minutes${free ? `; the cluster has ${free}` : "; the job is pending, so the cluster may have too little free"}. Ask for fewer, or free some`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
}

/** Ends a job that is of no use, and says where that failed too. @param why it is of no use: what is thrown in the end anyway */
export async function stopJob(jobs: RayJobs, id: string, why: Error): Promise<void> {
  try {
    await jobs.stop(id);
  } catch (error) {
    const words = `${why.message}. The job ${id} was not stopped either (${(error as Error).message})`;
    throw new EngineError(words, { cause: why });
  }
}

/** What became of a job, with the end of its log. */
export async function endedError(jobs: RayJobs, id: string, why: string | undefined): Promise<EngineGoneError> {
  const log = await jobs.logs(id).catch((error) => `(no log: ${(error as Error).message})`);
  const lines = log.trimEnd().split("\n").slice(-shownLines).join("\n");
  return new EngineGoneError(
    `the job ${id} has ended${why ? `: ${why.split("\n")[0]}` : ""}. The end of its log:\n${lines}`,
  );
}

const hasEnded = (status: string) => ["FAILED", "STOPPED", "SUCCEEDED"].includes(status);

function isLoopback(hostname: string): boolean {
  return hostname === "localhost" || hostname === "[::1]" || /^127\./.test(hostname);
}
