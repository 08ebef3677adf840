import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";

/**
 * Runs a script of this folder, which prints a line for each step and its result last, in a process of its own; killed some
 * milliseconds after some lines, or to the end: then its result.
 */
export async function trainingChild<Result>(
  script: string,
  args: readonly string[],
  kill?: { readonly lines: number; readonly delay: number },
): Promise<Result | undefined> {
  const path = fileURLToPath(new URL(script, import.meta.url));
  const started = spawn(process.execPath, ["--conditions=source", "--import", "tsx", path, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = new Promise<NodeJS.Signals | null>((resolve) => started.once("close", (_, signal) => resolve(signal)));
  let last = "";
  let lines = 0;
  for await (const line of createInterface({ input: started.stdout })) {
    last = line;
    if (++lines === kill?.lines) setTimeout(() => started.kill("SIGKILL"), kill.delay);
  }
  const signal = await ended;
  if (!kill) return JSON.parse(last) as Result;
  expect(signal).toBe("SIGKILL");
  return undefined;
}
