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
  /** Ends it as `gently` does, and by force where that takes longer than so many seconds, by default five. */
  stop(gently: () => void, seconds?: number): Promise<void>;
}

/** Characters of what a program writes to its errors that are kept. */
const mostKept = 16_000;

/** The first error that is named in what a program said, and its end: what comes last is often only that something went wrong. */
function lastWords(said: string): string {
  const end = said.trim().slice(-500);
  const [named] = /^.*\w(?:Error|Exception): .+$/m.exec(said) ?? [];
  return named === undefined || end.includes(named) ? end : `${named.trim().slice(0, 500)} … ${end}`;
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
    said = (said + text).slice(-mostKept);
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
      return `it ended with ${how}: ${lastWords(said) || "without a word"}`;
    },
    async stop(gently, seconds = 5) {
      if (failure || gone()) return;
      const ended = once(child, "exit");
      gently();
      const timer = setTimeout(() => child.kill("SIGKILL"), 1000 * seconds);
      await ended;
      clearTimeout(timer);
    },
  };
}
