import type { ExportPart, ExportRunOptions } from "@tenet/align";
import { CommandUsageError, nearest } from "./errors.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { downloadProgress } from "./progress.ts";
import { stoppable } from "./stop.ts";
import { findRun, type StoreOptions, withStore } from "./store.ts";

export interface ExportCommandOptions extends StoreOptions {
  what?: string;
  checkpoint?: string;
  dtype?: NonNullable<ExportRunOptions["dtype"]>;
  unverified?: boolean;
  proofPrompts?: number;
  offline?: boolean;
}

/** `tenet export`: what a run made, as a folder that others can load. */
export async function exportCommand(
  io: Io,
  name: string,
  folder: string,
  options: ExportCommandOptions,
): Promise<void> {
  const { baseDifference, baseHere, exportRun, proofLines } = await import("@tenet/align");
  const what = await partsOf(options.what);
  const { checkpoint, dtype, offline, unverified, proofPrompts } = options;
  const download = downloadProgress(io);
  await withStore(io, options, async (store) => {
    const run = findRun(store, name);
    const exported = await stoppable(io, (signal) =>
      exportRun(store, run.id, folder, {
        signal,
        environment: io.env,
        onProgress: options.json ? () => {} : download.show,
        onStep: options.json ? () => {} : (step) => tell(io, `${step}\n`),
        ...(what && { what }),
        ...(checkpoint !== undefined && { checkpoint }),
        ...(dtype !== undefined && { dtype }),
        ...(offline !== undefined && { offline }),
        ...(unverified !== undefined && { unverified }),
        ...(proofPrompts !== undefined && { proofPrompts }),
      }),
    ).finally(download.end);
    if (options.json) return printJson(io, { run: run.id, ...exported });
    say(io, `${exported.folder}: ${exported.written.join(", ")} (checkpoint ${exported.checkpoint})\n`);
    for (const proof of exported.proofs) for (const line of proofLines(proof)) say(io, `${line}\n`);
    if (exported.evidence !== undefined)
      say(io, `evidence: SHA-256 of its manifest ${exported.evidence}; keep it for tenet verify --manifest\n`);
    const difference = baseDifference(exported.base);
    if (difference !== undefined) tell(io, `note: ${difference}\n`);
    const here = baseHere(exported.base);
    if (here !== undefined) tell(io, `warning: ${here}\n`);
    if (exported.recommended !== undefined)
      tell(io, `note: the scorecard recommends ${exported.recommended}, not ${exported.checkpoint}\n`);
    if (exported.written.includes("README.md"))
      say(io, "README.md is a draft: read it, and fill in the licence, before you publish\n");
  });
}

async function partsOf(text: string | undefined): Promise<ExportPart[] | undefined> {
  if (text === undefined) return undefined;
  const { exportParts } = await import("@tenet/align");
  return text.split(",").map((given) => {
    const found = exportParts.find((part) => part === given.trim());
    if (found) return found;
    const guess = nearest(given.trim(), exportParts);
    throw new CommandUsageError(
      `--what: there is no part "${given}"${guess ? `; did you mean "${guess}"? There are` : ": there are"} ${exportParts.join(", ")}`,
    );
  });
}
