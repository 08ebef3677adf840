import { describe, expect, it } from "vitest";
import { rayPython, toldApart } from "../packages/engine/test/ray-namespace.ts";

const found = rayPython();
const missing = "missing" in found ? found.missing : undefined;
if (missing) console.log(`skipped: the engine is not tested under Ray: ${missing}`);

const child = new URL("../packages/train/test/ray-child.ts", import.meta.url);

describe.skipIf(missing)("the engine as a job of a Ray cluster of two nodes", () => {
  it.each(["shard", "whole"])(
    "%s: learns as the local trainer, and survives the death of a worker",
    async (how) => {
      const lines = await toldApart(child, (found as { python: string }).python, [how]);
      const of = (what: string) => lines.filter((line) => line.what === what);
      expect(of("ready")).toEqual([expect.objectContaining({ workers: 2, nodes: 2 })]);
      expect(of("compared").length).toBeGreaterThanOrEqual(11);
      for (const compared of of("compared")) expect(compared).toMatchObject({ equal: true });
      // Bit for bit: the state is the same, and so is what is computed on it.
      expect(of("killed")).toEqual([expect.objectContaining({ adapter: 0, epochs: 1 })]);
      expect(of("killed")[0]!.restarts).toBeGreaterThan(0);
      expect(of("stopped")).toHaveLength(1);
    },
    2_400_000,
  );
});
