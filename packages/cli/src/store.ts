import type { Constitution } from "@tenet/align";
import type { RunInfo, Store } from "@tenet/runs";
import { CommandUsageError } from "./errors.ts";
import { shellWord } from "./format.ts";
import type { Io } from "./io.ts";

/** What every command that reads a store is given. */
export interface StoreOptions {
  store?: string;
  json?: boolean;
}

/** The folder of the run store: `--store`, else TENET_STORE, else `runs` where the command is called. */
export function storeFolder(io: Io, { store }: StoreOptions): string {
  return store ?? (io.env.TENET_STORE || "runs");
}

/** The option that leads to the same store, for a command that is shown. */
export function storeText({ store }: StoreOptions): string {
  return store === undefined ? "" : ` --store ${shellWord(store)}`;
}

/** Reads, or with `write` changes, the store while `work` lasts. Errors: NotInStoreError where there is none. */
export async function withStore<Result>(
  io: Io,
  options: StoreOptions & { write?: boolean },
  work: (store: Store) => Promise<Result> | Result,
): Promise<Result> {
  const { openStore } = await import("@tenet/runs");
  const folder = storeFolder(io, options);
  const store = openStore(folder, { readOnly: true });
  if (!options.write) return closing(store, work);
  store.close();
  return closing(openStore(folder), work);
}

async function closing<Result>(store: Store, work: (store: Store) => Promise<Result> | Result): Promise<Result> {
  try {
    return await work(store);
  } finally {
    store.close();
  }
}

/** The run that is meant by its id, the beginning of one, or "latest". Errors: UsageError naming the candidates. */
export function findRun(store: Store, id: string): RunInfo {
  const runs = store.runs();
  const exact = runs.find((run) => run.id === id);
  if (exact) return exact;
  if (id === "latest" && runs[0]) return runs[0];
  const meant = runs.filter((run) => run.id.startsWith(id));
  if (meant.length === 1) return meant[0]!;
  const shown = (of: readonly RunInfo[]) => of.slice(0, 10).map((run) => run.id);
  throw new CommandUsageError(
    meant.length > 1
      ? `${id} is the beginning of several runs: ${shown(meant).join(", ")}`
      : `${store.folder} holds no run ${id}; it holds ${shown(runs).join(", ") || "none"}`,
  );
}

/** The constitution that a run was last opened with. */
export function constitutionOf(store: Store, run: RunInfo): Constitution | undefined {
  return (store.lastEvent(run.id, "opened")?.data as { constitution?: Constitution } | undefined)?.constitution;
}
