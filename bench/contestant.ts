/**
 * A contestant is a process that does one bench's work when told to. It speaks lines of JSON, on stdin and stdout:
 *
 *     (once built)        <- {"ready":true,"peak_rss":123456}
 *     {"cmd":"round"}     <- {"seconds":1.5,"flops":1e9,"peak_rss":123456}     one unit of work, timed by the contestant
 *     {"cmd":"ceiling"}   <- {"gflops":150,"peak_rss":123456}                  a 2048³ product, in the runtime it uses
 *     {"cmd":"reset"}     <- {"reset":true,"peak_rss":123456}                  as it was when it was built; of ours alone
 *     (end of stdin)      the contestant ends
 *
 * Bytes, seconds, floating-point operations. This is the half for contestants in TypeScript; bench/peers/contestant.py
 * is the one for Python.
 */
import { readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import type { DeviceName } from "@tenet/tensor";
import { measureCeiling } from "./ceiling.ts";

export interface BuildOptions {
  /** How many threads to use: as many as the peers. */
  threads: number;
  /** What `prepare` of the bench returned; undefined without one. */
  task: unknown;
}

/** What a round did, where it matters. */
export interface RoundReport {
  /** Units of work done, for a bench that measures a rate: tokens, say. */
  work?: number;
  /** Tokens of the prompts it was given. Both sides must say the same, of this and of `work`. */
  prompt_tokens?: number;
  /** Floating-point operations in matrix products that were executed; overrides `Built.flops`. */
  flops?: number;
  /** The loss, where there is one: shown by --verbose, so that a fast but wrong contestant is seen. */
  loss?: number;
  /** Anything else worth knowing, by name. */
  notes?: Record<string, number>;
}

export interface Built {
  /** One unit of work, whole; its wall time is what is compared. */
  round: () => RoundReport | undefined | Promise<RoundReport | undefined>;
  /** Floating-point operations in matrix products that a round executes. Without it no share of the ceiling is given. */
  flops?: number;
  /** Undoes what rounds have changed, where they change anything: weights that learn. */
  reset?: () => void;
}

/**
 * Makes this process a contestant: builds, then answers commands until stdin ends.
 *
 * @example
 * await serveContestant({
 *   build: async ({ threads }) => {
 *     const step = await buildStep(threads);
 *     return { flops: step.flops, round: async () => ({ loss: await step.run() }) };
 *   },
 * });
 */
export async function serveContestant(contestant: { build: (options: BuildOptions) => Promise<Built> }): Promise<void> {
  console.log = console.error; // stdout belongs to the protocol
  const threads = Number(argument("--threads"));
  const file = argument("--task");
  const task: unknown = file === undefined ? undefined : JSON.parse(readFileSync(file, "utf8"));
  const { round, flops, reset } = await contestant.build({ threads, task });
  answer({ ready: true });
  for await (const line of createInterface({ input: process.stdin })) {
    const { cmd } = JSON.parse(line) as { cmd: string };
    if (cmd === "ceiling") {
      answer({ gflops: await measureCeiling({ threads, device }) });
    } else if (cmd === "reset") {
      reset?.();
      answer({ reset: true });
    } else if (cmd === "round") {
      const start = performance.now();
      const report = await round();
      const seconds = (performance.now() - start) / 1000;
      answer({ seconds, ...(flops === undefined ? {} : { flops }), ...report });
    } else {
      throw new Error(`unknown command ${cmd}`);
    }
  }
  process.exit(0);
}

/** The value behind an argument of this process. */
export function argument(name: string): string | undefined {
  const index = process.argv.indexOf(name);
  return index < 0 ? undefined : process.argv[index + 1];
}

/** Where to compute, as the bench was told. */
export const device: DeviceName = (argument("--device") ?? "cpu") as DeviceName;

function answer(message: object): void {
  writeSync(1, `${JSON.stringify({ ...message, peak_rss: peakRss() })}\n`);
}

/** Bytes. */
function peakRss(): number {
  try {
    const kilobytes = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    if (kilobytes) return Number(kilobytes) * 1024;
  } catch {
    // Not Linux.
  }
  return process.resourceUsage().maxRSS * 1024; // Node gives kilobytes on every system
}
