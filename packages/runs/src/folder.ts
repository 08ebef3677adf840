import { mkdirSync, statSync } from "node:fs";
import { dirname } from "node:path";

/**
 * Makes a folder and those above it. Node's own `recursive` tries for ever where a file system says that a name does not
 * exist and yet makes none, as /proc does.
 *
 * Errors: those of `mkdirSync`; ENOTDIR where a file is in the way.
 */
export function makeFolder(path: string): void {
  const missing: string[] = [];
  for (let place = path; !exists(place); place = dirname(place)) missing.unshift(place);
  for (const place of missing)
    try {
      mkdirSync(place);
    } catch (error) {
      // Another process was faster.
      if (!exists(place)) throw error;
    }
}

function exists(place: string): boolean {
  const entry = statSync(place, { throwIfNoEntry: false });
  if (entry && !entry.isDirectory())
    throw Object.assign(new Error(`ENOTDIR: ${place} is no folder`), { code: "ENOTDIR" });
  return entry !== undefined;
}
