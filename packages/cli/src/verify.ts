import { CommandUsageError, EXIT } from "./errors.ts";
import { type Io, printJson, say, tell } from "./io.ts";
import { type StoreOptions, withStore } from "./store.ts";

export interface VerifyOptions extends StoreOptions {
  manifest?: string;
}

/** `tenet verify`: names whatever is not as it was written, in the store or in an evidence pack. The exit code is 1 where there is such. */
export async function verify(io: Io, folder: string | undefined, options: VerifyOptions): Promise<number> {
  if (folder === undefined) {
    if (options.manifest !== undefined) throw new CommandUsageError("--manifest belongs to an evidence pack's folder");
    return verifyStore(io, options);
  }
  if (options.store !== undefined) throw new CommandUsageError("give a pack's folder or --store, not both");
  const { verifyEvidence } = await import("@tenet/align");
  const { problems, files, manifest } = await verifyEvidence(folder, options.manifest?.toLowerCase());
  if (options.json) printJson(io, { folder, files, manifest, intact: problems.length === 0, problems });
  else if (problems.length === 0) {
    say(io, `${folder}: ${files} files are as the manifest has them (SHA-256 ${manifest})\n`);
    if (options.manifest === undefined)
      tell(io, "note: whether the manifest is the one that was written only --manifest can tell\n");
  } else say(io, `${problems.join("\n")}\n`);
  return problems.length === 0 ? EXIT.done : EXIT.failed;
}

async function verifyStore(io: Io, options: StoreOptions): Promise<number> {
  return withStore(io, options, async (store) => {
    const problems = await store.verify();
    if (options.json) printJson(io, { store: store.folder, intact: problems.length === 0, problems });
    else if (problems.length === 0) say(io, `${store.folder}: everything is as it was written\n`);
    else {
      say(io, `${problems.join("\n")}\n`);
      tell(
        io,
        `${store.folder} is not as it was written. Restore a copy of it; or, for artifacts, run the recipe again, which makes them anew\n`,
      );
    }
    return problems.length === 0 ? EXIT.done : EXIT.failed;
  });
}
