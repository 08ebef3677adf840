import type { Readable, Writable } from "node:stream";

/** The streams and surroundings of a command; the process's own, or a test's. */
export interface Io {
  readonly stdin: Readable & { isTTY?: boolean };
  readonly stdout: Writable & { isTTY?: boolean };
  readonly stderr: Writable & { isTTY?: boolean; columns?: number };
  readonly env: Record<string, string | undefined>;
  /** Calls `listener` at every Ctrl-C until the returned function is called. */
  onInterrupt(listener: () => void): () => void;
  /** Ends the process at once: for the second Ctrl-C, when the first did not get through. */
  exit(code: number): void;
}

/** What a person types to call this program: in a clone of the project npm stands before it. */
export function commandName({ env }: Pick<Io, "env">): string {
  return env.npm_package_name === "tenet-workspace" ? "npm run -s tenet --" : "tenet";
}

export function processIo(): Io {
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onInterrupt(listener) {
      process.on("SIGINT", listener);
      return () => process.off("SIGINT", listener);
    },
    exit: (code) => process.exit(code),
  };
}
