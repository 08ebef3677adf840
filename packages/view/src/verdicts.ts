import { type CheckResult, type Constitution, constitutionHash, runChecks } from "@tenet/align";
import type { Message } from "@tenet/data";
import type { RunInfo, Store } from "@tenet/runs";
import { z } from "zod";

/** Verdicts that are kept at once. */
const mostKept = 200_000;

/** What is read of a run's last opening; the rest is not ours. */
const openedSchema = z.object({ file: z.string().optional(), constitution: z.unknown() });

export interface Opened {
  readonly file?: string;
  readonly constitution?: Constitution;
  /** Of the constitution. */
  readonly hash?: string;
}

/** Verdicts of a constitution's checks on stored replies: made when they are looked at, and kept by constitution and row. */
export class Judge {
  readonly #store: Store;
  readonly #opened = new Map<string, { sequence: number; opened: Opened }>();
  readonly #kept = new Map<string, readonly CheckResult[] | undefined>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** What a run was last opened with; nothing of a run that other programs wrote. */
  opened({ id }: Pick<RunInfo, "id">): Opened {
    const event = this.#store.lastEvent(id, "opened");
    if (!event) return {};
    const known = this.#opened.get(id);
    if (known?.sequence === event.sequence) return known.opened;
    const parsed = openedSchema.safeParse(event.data);
    const constitution = parsed.data?.constitution as Constitution | undefined;
    const opened: Opened = {
      ...(parsed.data?.file !== undefined && { file: parsed.data.file }),
      ...(constitution?.principles && { constitution, hash: constitutionHash(constitution) }),
    };
    this.#opened.set(id, { sequence: event.sequence, opened });
    return opened;
  }

  /** All results of a constitution's checks on a reply; undefined where a check is a program, which is not kept in the store. */
  results(
    { constitution, hash }: Opened,
    reply: { readonly key: string; readonly prompt: readonly Message[]; readonly response: string },
  ): readonly CheckResult[] | undefined {
    if (!constitution || hash === undefined) return undefined;
    const key = `${hash} ${reply.key}`;
    if (this.#kept.has(key)) return this.#kept.get(key);
    const results = checked(constitution, reply);
    if (this.#kept.size >= mostKept) this.#kept.clear();
    this.#kept.set(key, results);
    return results;
  }
}

/** The results, or undefined where a check's module is not loaded here. */
export function checked(
  constitution: Constitution,
  { prompt, response }: { readonly prompt: readonly Message[]; readonly response: string },
): readonly CheckResult[] | undefined {
  try {
    return runChecks(constitution, { prompt, response });
  } catch (error) {
    if ((error as Error).name === "CheckError") return undefined;
    throw error;
  }
}

/** Ids of the principles that are broken, each once; undefined where nothing could be asked. */
export function brokenBy(
  results: readonly Pick<CheckResult, "principle" | "violated">[] | undefined,
): string[] | undefined {
  return results && [...new Set(results.filter(({ violated }) => violated).map(({ principle }) => principle))];
}
