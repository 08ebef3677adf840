import type { ExportPart, ExportRunOptions, PartProof } from "@tenet/align";
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
  offline?: boolean;
}

/** `tenet export`: what a run made, as a folder that others can load. */
export async function exportCommand(
  io: Io,
  name: string,
  folder: string,
  options: ExportCommandOptions,
): Promise<void> {
  const { exportRun } = await import("@tenet/align");
  const what = await partsOf(options.what);
  const { checkpoint, dtype, offline, unverified } = options;
  const download = downloadProgress(io);
  await withStore(io, options, async (store) => {
    const run = findRun(store, name);
    const exported = await stoppable(io, (signal) =>
      exportRun(store, run.id, folder, {
        signal,
        environment: io.env,
        onProgress: options.json ? () => {} : download.show,
        ...(what && { what }),
        ...(checkpoint !== undefined && { checkpoint }),
        ...(dtype !== undefined && { dtype }),
        ...(offline !== undefined && { offline }),
        ...(unverified !== undefined && { unverified }),
      }),
    ).finally(download.end);
    if (options.json) return printJson(io, { run: run.id, ...exported });
    say(io, `${exported.folder}: ${exported.written.join(", ")} (checkpoint ${exported.checkpoint})\n`);
    for (const proof of exported.proofs) for (const line of proofLines(proof)) say(io, `${line}\n`);
    if (exported.evidence !== undefined)
      say(io, `evidence: SHA-256 of its manifest ${exported.evidence}; keep it for tenet verify --manifest\n`);
    if (exported.recommended !== undefined)
      tell(io, `note: the scorecard recommends ${exported.recommended}, not ${exported.checkpoint}\n`);
    if (exported.written.includes("README.md"))
      say(io, "README.md is a draft: read it, and fill in the licence, before you publish\n");
  });
}

/** What was found when a part was opened again, a line each. */
function proofLines({ part, runtimes, faults, notices, unverified }: PartProof): string[] {
  const verdict = faults.length > 0 ? "FAILED its proof" : "has the checkpoint's weights, number for number";
  return [
    `${part} ${verdict}`,
    ...faults.map((fault) => `  ${fault}`),
    ...runtimes.map(({ runtime, prompts, samePrompts, tokens, largest, mean, replies, sameReplies }) => {
      const differences =
        largest === undefined
          ? ""
          : `, log-probabilities of ${tokens} tokens within ${largest.toFixed(4)} (mean ${mean!.toFixed(4)})`;
      return `  in ${runtime}: ${samePrompts} of ${prompts} prompts became the same tokens${differences}, ${sameReplies} of ${replies} greedy replies are the same`;
    }),
    ...notices.map((notice) => `  note: ${notice}`),
    ...unverified.map((what) => `  not verified: ${what}`),
  ];
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
