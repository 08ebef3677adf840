import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { apart, rayPython } from "../../engine/test/ray-namespace.ts";

const found = rayPython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: the engine is not tested under Ray: ${missing}`);

type Line = { readonly what: string } & Readonly<Record<string, unknown>>;

/** What the child tells, in a network namespace where nothing but itself is. */
async function told(how: "shard" | "whole", names: readonly string[]): Promise<Line[]> {
  const folder = await mkdtemp(join(tmpdir(), "tenet-ray-"));
  const { python } = found as { python: string };
  const child = fileURLToPath(new URL("../test/ray-child.ts", import.meta.url));
  const node = [process.execPath, "--conditions=source", "--import", "tsx", child, python, folder, how, ...names];
  const run = spawn("unshare", [...apart, ...node], {
    stdio: ["ignore", "pipe", "pipe"],
  });
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
    if (lines.at(-1)?.what !== "down" || !lines.some(({ what }) => what === "stopped")) throw new Error(errors);
    return lines;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

describe.skipIf(missing)("the engine as a job of a Ray cluster of two nodes", () => {
  it.each([
    ["shard", ["sft", "preference", "ppo"]],
    ["whole", ["sft", "judge", "grpo", "rloo", "dpo"]],
  ] as const)(
    "%s: learns as the local trainer, and survives the death of a worker",
    async (how, names) => {
      const lines = await told(how, names);
      const of = (what: string) => lines.filter((line) => line.what === what);
      expect(of("ready")).toEqual([expect.objectContaining({ workers: 2, nodes: 2 })]);
      expect(of("equal").map(({ training }) => training)).toEqual(names);
      for (const { loss, adapter } of of("equal")) {
        expect(loss).toBeLessThan(1e-4);
        expect(adapter).toBeLessThan(1e-3);
      }
      // Bit for bit: the state is the same, and so is what is computed on it.
      expect(of("killed")).toEqual([expect.objectContaining({ adapter: 0, epochs: 1 })]);
      expect(of("killed")[0]!.restarts).toBeGreaterThan(0);
    },
    2_400_000,
  );
});
