import { join } from "node:path";
import { cacheFolder, pruneCache } from "@tenet/tensor";

/** Where a cache keeps weights as they are mapped into memory. */
export function weightsFolder(cacheDir: string = cacheFolder()): string {
  return join(cacheDir, "weights");
}

/** Where a cache keeps graphs as the runtime optimised them. */
export function graphsFolder(cacheDir: string = cacheFolder()): string {
  return join(cacheDir, "graphs");
}

/**
 * Removes from a cache what was left half written, and weights and graphs that were not opened for 30 days: they are made again when
 * needed. Returns how many files that were, and their bytes; `dryRun` removes nothing.
 */
export async function collectCache(
  options: { cacheDir?: string; dryRun?: boolean } = {},
): Promise<{ files: number; bytes: number }> {
  const { cacheDir, dryRun = false } = options;
  const folders = [weightsFolder(cacheDir), graphsFolder(cacheDir)];
  const gone = (await Promise.all(folders.map((folder) => pruneCache(folder, { dryRun })))).flat();
  return { files: gone.length, bytes: gone.reduce((sum, { bytes }) => sum + bytes, 0) };
}
