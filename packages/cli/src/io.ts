import { constants } from "node:os";
import type { Readable, Writable } from "node:stream";
import { printable } from "./format.ts";

/** The streams and surroundings of a command; the process's own, or a test's. */
export interface Io {
  readonly stdin: Readable & { isTTY?: boolean };
  readonly stdout: Writable & { isTTY?: boolean };
  readonly stderr: Writable & { isTTY?: boolean; columns?: number };
  readonly env: Record<string, string | undefined>;
  /**
   * Calls `listener` with an exit code whenever the process is asked to end, until the returned function is called: at Ctrl-C,
   * at SIGTERM, when its terminal closes, and when who reads stdout goes away.
   */
  onInterrupt(listener: (code: number) => void): () => void;
  /** Ends the process at once: for the second Ctrl-C, when the first did not get through. */
  exit(code: number): void;
}

/** What a person types to call this program: in a clone of the project npm stands before it. */
export function commandName({ env }: Pick<Io, "env">): string {
  return env.npm_package_name === "tenet-workspace" ? "npm run -s tenet --" : "tenet";
}

/** Ends with these as with Ctrl-C; without a listener each ends the process by itself. */
const endings = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/** 128 and the signal's number, as shells have it. */
export function exitCodeOfSignal(signal: (typeof endings)[number] | "SIGPIPE"): number {
  return 128 + (constants.signals[signal] ?? 13);
}

export function processIo(): Io {
  const listeners = new Set<(code: number) => void>();
  const tell = (signal: (typeof endings)[number] | "SIGPIPE") => {
    for (const listener of listeners) listener(exitCodeOfSignal(signal));
  };
  // A reader that has seen enough (`tenet models ls | head -1`) is no error; work that it leaves unfinished is stopped, once.
  let read = true;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code !== "EPIPE") process.exit(1);
    if (listeners.size === 0 && read) process.exit(0);
    if (read) tell("SIGPIPE");
    read = false;
  });
  return {
    stdin: process.stdin,
    stdout: process.stdout,
    stderr: process.stderr,
    env: process.env,
    onInterrupt(listener) {
      const heard = endings.map((signal) => [signal, () => listener(exitCodeOfSignal(signal))] as const);
      listeners.add(listener);
      for (const [signal, hear] of heard) process.on(signal, hear);
      return () => {
        listeners.delete(listener);
        for (const [signal, hear] of heard) process.off(signal, hear);
      };
    },
    exit: (code) => process.exit(code),
  };
}

/*
 * All that is printed goes through these. Names of files, what servers and models say, and what stands in a store that came
 * from elsewhere must not move a terminal's cursor or write over what it shows.
 */

/** Writes to stdout: results. */
export function say(io: Io, text: string): void {
  io.stdout.write(printable(text));
}

/** Writes to stderr: everything else. */
export function tell(io: Io, text: string): void {
  io.stderr.write(printable(text));
}

/** Puts a line in the place of the terminal's last one, cut to its width; with "" it is left empty. */
export function redraw(io: Io, line: string): void {
  io.stderr.write(`\r\u001b[K${printable(line).slice(0, (io.stderr.columns ?? 80) - 1)}`);
}

/** One JSON value on a line of stdout. JSON escapes the control characters below U+0020 only. */
export function printJson(io: Io, value: unknown): void {
  const text = JSON.stringify(value).replace(
    /[\u007f-\u009f]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
  io.stdout.write(`${text}\n`);
}
