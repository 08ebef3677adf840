import { spawn } from "node:child_process";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { apart, rayPython } from "../packages/engine/test/ray-namespace.ts";

const found = rayPython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: whole recipes are not run on a real Ray: ${missing}`);

/** How many are killed: one of each kind by default. */
const kills = Number(process.env.TENET_TEST_KILLS ?? 4);
const seed = Number(process.env.TENET_TEST_KILL_SEED ?? 0);

type Line = { readonly what: string } & Readonly<Record<string, unknown>>;

describe.skipIf(missing)("a whole recipe on a Ray cluster of two nodes", () => {
  it(
    "comes to what it comes to here, and to the same bytes whoever is killed",
    async () => {
      const folder = await mkdtemp(join(tmpdir(), "tenet-ray-run-"));
      const { python } = found as { python: string };
      const child = fileURLToPath(new URL("ray-run-child.ts", import.meta.url));
      const node = [process.execPath, "--conditions=source", "--import", "tsx", child, python, folder];
      const run = spawn("unshare", [...apart, ...node, String(kills), String(seed)], {
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
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
      const of = (what: string) => lines.filter((line) => line.what === what);
      expect(of("whole"), errors).toHaveLength(1);
      const [here, whole] = [of("here")[0]!, of("whole")[0]!];
      expect(whole.recommended).toBe(here.recommended);
      expect(whole.loss).toBeLessThan(1e-3);
      expect(whole.replies).toBe(1);
      expect(of("killed"), errors).toHaveLength(kills);
      for (const killed of of("killed"))
        expect(killed, JSON.stringify(killed)).toMatchObject({ equal: [true, true, true] });
    },
    1_200_000 + 900_000 * kills,
  );
});
