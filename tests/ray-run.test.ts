import { describe, expect, it } from "vitest";
import { rayPython, toldApart } from "../packages/engine/test/ray-namespace.ts";

const found = rayPython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: whole recipes are not run on a real Ray: ${missing}`);

/** How many are killed: one of each kind by default. */
const kills = Number(process.env.TENET_TEST_KILLS ?? 4);
const seed = process.env.TENET_TEST_KILL_SEED ?? "0";

describe.skipIf(missing)("a whole recipe on a Ray cluster of two nodes", () => {
  it(
    "comes to what it comes to here, and to the same bytes whoever is killed",
    async () => {
      const child = new URL("ray-run-child.ts", import.meta.url);
      const lines = await toldApart(child, (found as { python: string }).python, [String(kills), seed]);
      const of = (what: string) => lines.filter((line) => line.what === what);
      const [here, whole] = [of("here")[0]!, of("whole")[0]!];
      expect(whole.recommended).toBe(here.recommended);
      expect(whole.loss).toBeLessThan(1e-3);
      expect(whole.replies).toBe(1);
      expect(of("killed")).toHaveLength(kills);
      for (const killed of of("killed"))
        expect(killed, JSON.stringify(killed)).toMatchObject({ equal: [true, true, true] });
    },
    1_200_000 + 900_000 * kills,
  );
});
