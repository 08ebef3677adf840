import { type ChildProcess, type StdioPipe, spawn } from "node:child_process";
import { once } from "node:events";

/** A program did not come up with an exported file. */
export class ExportRuntimeError extends Error {
  override name = "ExportRuntimeError";
}

/** A program of others that a proof has started. */
export interface Program {
  readonly child: ChildProcess;
  /** Why it is not running, in its own last words where it has some; undefined while it runs. */
  readonly ended: () => string | undefined;
  /** Ends it as `gently` does, and by force where that takes more than five seconds. */
  stop(gently: () => void): Promise<void>;
}

/**
 * Starts a program; `stdio` is its input and output, what it writes to its errors is kept for people, `environment` is on top of this
 * process's own.
 */
export function startProgram(
  program: string,
  args: readonly string[],
  stdio: readonly ["ignore" | StdioPipe, "ignore" | StdioPipe],
  environment: Readonly<Record<string, string>> = {},
): Program {
  const child = spawn(program, args, { stdio: [...stdio, "pipe"], env: { ...process.env, ...environment } });
  let said = "";
  child.stderr!.setEncoding("utf8").on("data", (text: string) => {
    said = (said + text).slice(-2000);
  });
  let failure: Error | undefined;
  child.on("error", (error) => {
    failure = error;
  });
  const gone = () => child.exitCode !== null || child.signalCode !== null;
  return {
    child,
    ended() {
      if (failure) return `it cannot be started: ${failure.message}`;
      if (!gone()) return undefined;
      const how = child.signalCode === null ? `code ${child.exitCode}` : child.signalCode;
      return `it ended with ${how}: ${said.trim().slice(-500) || "without a word"}`;
    },
    async stop(gently) {
      if (failure || gone()) return;
      const ended = once(child, "exit");
      gently();
      const timer = setTimeout(() => child.kill("SIGKILL"), 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}
