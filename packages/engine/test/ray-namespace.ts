import { spawn, spawnSync } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { enginePython } from "../src/environment.ts";

/** A network and processes of its own: nobody reaches the cluster in it, and all of it ends with its first process. */
const apart = [
  ...["--net", "--pid", "--fork", "--kill-child", "--mount-proc"],
  ...["sh", "-c", 'ip link set lo up && exec "$@"', "sh"],
];

/** Bytes that a cluster of two nodes with a job of two workers takes, and the test beside it. */
const memory = 6e9;

/** An object that a script prints, one a line. */
export type Line = { readonly what: string } & Readonly<Record<string, unknown>>;

/**
 * Runs a script `child <python> <folder> <more …>` apart, in a folder that is removed behind it, and gives what it printed.
 * Errors: its error output where it did not print `down`, its last.
 */
export async function toldApart(child: URL, python: string, more: readonly string[]): Promise<Line[]> {
  const folder = await mkdtemp(join(tmpdir(), "tenet-ray-"));
  const node = [process.execPath, "--conditions=source", "--import", "tsx", fileURLToPath(child), python, folder];
  const run = spawn("unshare", [...apart, ...node, ...more], { stdio: ["ignore", "pipe", "pipe"] });
  let errors = "";
  run.stderr.on("data", (text) => {
    errors = (errors + text).slice(-4000);
  });
  const lines: Line[] = [];
  try {
    for await (const line of createInterface({ input: run.stdout })) {
      console.log(line);
      if (line.startsWith("{")) lines.push(JSON.parse(line));
    }
    if (lines.at(-1)?.what !== "down" || errors.includes("Error")) throw new Error(errors || "the script ended early");
    return lines;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Python to test a real Ray with, or why not. */
export function rayPython(): { readonly python: string } | { readonly missing: string } {
  if (process.env.TENET_ENGINE_RAY !== "1")
    return { missing: "it takes minutes and 4 GB; npm run test:engine runs it" };
  const found = enginePython();
  if ("missing" in found) return found;
  if (spawnSync("unshare", [...apart, "true"]).status !== 0)
    return {
      missing:
        "unshare does not work here: a cluster listens at every address of its machine, so that one of its own is needed",
    };
  // Ray ends its own jobs where a machine is out of memory, whoever took it.
  if (freemem() < memory)
    return { missing: `${(freemem() / 1e9).toFixed(1)} GB of memory are free, ${memory / 1e9} are needed` };
  const { status } = spawnSync(found.python, ["-c", "import importlib.util as u; exit(u.find_spec('ray') is None)"]);
  return status === 0 ? found : { missing: `${found.python} has no Ray` };
}
