import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { EngineClient } from "./client.ts";
import { EngineError } from "./errors.ts";
import { programFolder } from "./launch.ts";
import { type EngineSpec, PROTOCOL } from "./protocol.ts";

/**
 * The engine as one plain process on the loopback interface, without Ray, ended by `close`.
 * Errors: EngineError with the end of its error output where it does not come up.
 */
export async function startEngine(
  python: string,
  spec: Partial<EngineSpec> & Pick<EngineSpec, "model">,
  { signal }: { readonly signal?: AbortSignal } = {},
) {
  const token = randomBytes(32).toString("hex");
  const whole: EngineSpec = {
    ...{ protocol: PROTOCOL, name: "alone", dtype: "float32", workers: 1, gpus: 0, shard: false, threads: 1 },
    ...{ maxFailures: 0, idleMinutes: 5, host: "127.0.0.1", port: 0, ray: false },
    ...spec,
  };
  const child = spawn(python, ["-m", "tenet_engine"], {
    cwd: programFolder,
    env: { ...process.env, TENET_SPEC: JSON.stringify(whole), TENET_TOKEN: token, PYTHONDONTWRITEBYTECODE: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const port = await servingPort(child);
  const client = new EngineClient({ address: `http://127.0.0.1:${port}`, token, signal });
  return {
    client,
    token,
    pid: child.pid!,
    async close() {
      const ended = child.exitCode !== null || child.signalCode !== null ? undefined : once(child, "exit");
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** The port that it says it listens at; its error output where it ends before. */
async function servingPort(child: ChildProcess): Promise<number> {
  let said = "";
  child.stderr!.on("data", (text) => {
    said = (said + text).slice(-4000);
  });
  for await (const line of createInterface({ input: child.stdout! })) {
    if (!line.startsWith('{"tenet"')) continue;
    const event = JSON.parse(line) as { event: string; port?: number };
    if (event.event === "serving") return event.port!;
  }
  throw new EngineError(`the engine ended before it served:\n${said}`);
}
