import { dirname, join } from "node:path";
import type { RunOptions } from "../../src/pipeline/index.ts";

/** How every process of these tests runs a recipe. */
export function runOptions(recipe: string, store: string): RunOptions {
  return { store, device: "cpu", threads: 1, cacheDir: join(dirname(recipe), "cache") };
}
