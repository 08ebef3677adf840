import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { openSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as later } from "node:timers/promises";
import { EngineError } from "./errors.ts";
import { RayJobs } from "./jobs.ts";

export interface ClusterOptions {
  /** With Ray beside it. */
  readonly python: string;
  /** Of its logs, its token and Ray's own files. */
  readonly folder: string;
  /** Nodes, the head among them. Default 1. */
  readonly nodes?: number | undefined;
  /** Processors that each node says it has. Default 1. */
  readonly cpus?: number | undefined;
  /** Of the dashboard. Default 8265. */
  readonly port?: number | undefined;
  /** That a node has to come up. Default 600. */
  readonly startSeconds?: number | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onStatus?: ((status: string) => void) | undefined;
}

/** A Ray cluster whose processes are this one's children. */
export interface LocalCluster {
  readonly address: string;
  readonly token: string;
  /** Which nobody but its owner reads. */
  readonly tokenFile: string;
  readonly jobs: RayJobs;
  /** The head first. */
  readonly nodes: readonly ChildProcess[];
  /** One node more. */
  add(): Promise<ChildProcess>;
  close(): Promise<void>;
}

/*
 * Ray starts its workers at niceness 15, behind whatever else a machine does, and takes what is slow for dead: a worker that has not said hello after 60 s is
 * ended and started again, for ever where importing Ray takes longer than that. On a machine that is shared the first makes sure of the second.
 */
const patience: Readonly<Record<string, string>> = {
  RAY_worker_niceness: "0",
  RAY_worker_register_timeout_seconds: "900",
  RAY_agent_register_timeout_ms: "900000",
  RAY_DASHBOARD_STARTUP_TIMEOUT_S: "600",
  RAY_py_gcs_connect_timeout_s: "300",
  RAY_gcs_rpc_server_connect_timeout_s: "300",
  RAY_gcs_rpc_server_reconnect_timeout_s: "300",
  RAY_gcs_server_request_timeout_seconds: "300",
  RAY_raylet_client_connect_timeout_milliseconds: "60000",
  RAY_health_check_initial_delay_ms: "120000",
  RAY_health_check_timeout_ms: "60000",
};

/** What costs a small machine and serves nobody here. */
const quiet: Readonly<Record<string, string>> = {
  RAY_USAGE_STATS_ENABLED: "0",
  RAY_ENABLE_UV_RUN_RUNTIME_ENV: "0",
  RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S: "0",
  RAY_enable_worker_prestart: "0",
  RAY_prestart_worker_first_driver: "0",
  RAY_enable_metrics_collection: "0",
  RAY_task_events_report_interval_ms: "0",
  RAY_event_stats: "0",
};

/** Times that a node is started which Ray gave up: it waits 30 s for a node to be known, and nothing changes that. */
const mostStarts = 10;

/**
 * Starts a Ray cluster on this machine, with token authentication, and waits until its nodes are there. Where it runs in a network of its own
 * nobody else reaches it; elsewhere Ray listens at every address of the machine, and the token is what keeps others out.
 *
 * Errors: EngineError with the end of a log where a node does not come up.
 */
export async function startCluster(options: ClusterOptions): Promise<LocalCluster> {
  const {
    python,
    folder,
    nodes: wanted = 1,
    cpus = 1,
    port = 8265,
    startSeconds = 600,
    signal,
    onStatus = () => {},
  } = options;
  await mkdir(folder, { recursive: true });
  const token = randomBytes(32).toString("hex");
  const tokenFile = join(folder, "ray-token");
  await writeFile(tokenFile, token, { mode: 0o600 });
  const environment = {
    ...process.env,
    ...patience,
    ...quiet,
    PATH: `${dirname(python)}:${process.env.PATH}`,
    RAY_AUTH_MODE: "token",
    RAY_AUTH_TOKEN_PATH: tokenFile,
  };
  const nodes: ChildProcess[] = [];
  const address = `http://127.0.0.1:${port}`;
  const jobs = new RayJobs({ address, token });
  let started = 0;

  const start = (more: readonly string[]) => {
    const log = join(folder, `node-${started++}.log`);
    const file = openSync(log, "w");
    const common = [
      "start",
      "--block",
      `--num-cpus=${cpus}`,
      "--object-store-memory=100000000",
      "--disable-usage-stats",
    ];
    // A group of its own, so that whatever it starts ends with it.
    const node = spawn(join(dirname(python), "ray"), [...common, "--node-ip-address=127.0.0.1", ...more], {
      ...{ env: environment, stdio: ["ignore", file, file], detached: true },
    });
    nodes.push(node);
    return { node, log };
  };
  /** A node that is there, by `ready`; started anew where Ray gave it up. */
  const up = async (more: readonly string[], what: string, ready: (log: string) => Promise<boolean>) => {
    // Of this node: one that is added later has its own time.
    const until = Date.now() + 1000 * startSeconds;
    for (let tries = 1; ; tries++) {
      const { node, log } = start(more);
      const gone = once(node, "error").then(([error]) => error as Error);
      for (;;) {
        const failed = await Promise.race([gone, later(300)]);
        signal?.throwIfAborted();
        const text = await readFile(log, "utf8").catch(() => "");
        const late = Date.now() > until;
        if (failed instanceof Error || late || (node.exitCode !== null && tries === mostStarts))
          throw new EngineError(
            `the ${what} of a cluster did not come up${late ? ` within ${startSeconds} s` : ""}: ${failed?.message ?? text.slice(-1500)}`,
          );
        if (node.exitCode !== null) break;
        if (await ready(text)) return node;
      }
      onStatus(`the ${what} was given up by Ray, and is started again`);
      nodes.splice(nodes.indexOf(node), 1);
      await end(node);
    }
  };

  // The dashboard answers before Ray has made up its mind about the node.
  const isUp = (log: string) => /Ray runtime started/.test(log);
  const add = () => up(["--address=127.0.0.1:6379"], "node", async (log) => isUp(log));
  const close = async () => {
    for (const node of nodes.splice(0).reverse()) await end(node);
  };
  try {
    const head = ["--head", "--port=6379", `--dashboard-port=${port}`, "--dashboard-host=127.0.0.1"];
    await up(
      [...head, `--temp-dir=${join(folder, "ray")}`],
      "head",
      async (log) =>
        isUp(log) &&
        jobs.version().then(
          () => true,
          () => false,
        ),
    );
    onStatus("the head answers");
    for (let i = 1; i < wanted; i++) {
      await add();
      onStatus(`${i + 1} of ${wanted} nodes`);
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { address, token, tokenFile, jobs, nodes, add, close };
}

/** Ends a node: Ray first, so that it ends what it started; what is left of the group after some seconds with it. */
async function end(node: ChildProcess): Promise<void> {
  if (node.pid === undefined) return;
  if (node.exitCode === null && node.signalCode === null) {
    node.kill("SIGTERM");
    const waiting = new AbortController();
    await Promise.race([once(node, "exit"), later(10_000, undefined, { signal: waiting.signal })]);
    waiting.abort();
  }
  try {
    process.kill(-node.pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
