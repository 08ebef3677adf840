import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { EngineRefusedError } from "./errors.ts";

/*
 * Tokens of jobs that run, so that a later command finds its job again: in files that only their owner reads, never in a run or a log.
 */

function place(id: string): string {
  return join(process.env.TENET_HOME ?? join(homedir(), ".tenet"), "engine", `${id}.token`);
}

export async function keepToken(id: string, token: string): Promise<void> {
  const file = place(id);
  await mkdir(join(file, ".."), { recursive: true, mode: 0o700 });
  await writeFile(file, token, { mode: 0o600 });
}

/** Errors: EngineRefusedError where the job is another machine's. */
export async function tokenOf(id: string): Promise<string> {
  try {
    return (await readFile(place(id), "utf8")).trim();
  } catch (error) {
    throw new EngineRefusedError(
      `the job ${id} runs already, and its token is not on this machine: it was started from another. Continue there, or stop it (tenet engine stop) and run again`,
      { cause: error },
    );
  }
}

export async function forgetToken(id: string): Promise<void> {
  await rm(place(id), { force: true });
}
