import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterEach } from "vitest";

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

/** Starts `child.ts` with its arguments: the process, which ends with the test, and the first line that it prints. */
export async function child(...args: string[]): Promise<{ process: ChildProcess; line: string }> {
  const script = fileURLToPath(new URL("child.ts", import.meta.url));
  const started = spawn(process.execPath, ["--conditions=source", "--import", "tsx", script, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  children.push(started);
  const [line] = (await once(createInterface({ input: started.stdout! }), "line")) as [string];
  return { process: started, line };
}
