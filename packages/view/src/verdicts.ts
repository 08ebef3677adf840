import { type CheckResult, type Constitution, constitutionHash, runChecks } from "@tenet/align";
import type { RunEvent, RunInfo, Store } from "@tenet/runs";
import { z } from "zod";
import { LastEvents } from "./last-events.ts";

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

/** What checks look at of a reply. */
export type CheckedReply = Parameters<typeof runChecks>[1];

/** Verdicts of a constitution's checks on stored replies: made when they are looked at, and kept by constitution and row. */
export class Judge {
  readonly #opened: LastEvents<Opened>;
  readonly #kept = new Map<string, readonly CheckResult[] | undefined>();

  constructor(store: Store) {
    this.#opened = new LastEvents(store, "opened", openedFrom);
  }

  /** What a run was last opened with; nothing of a run that other programs wrote. */
  opened({ id }: Pick<RunInfo, "id">): Opened {
    return this.#opened.of(id) ?? {};
  }

  /** All results of a constitution's checks on a reply; undefined where a check is a program, which is not kept in the store. */
  results(
    { constitution, hash }: Opened,
    reply: CheckedReply & { readonly key: string },
  ): readonly CheckResult[] | undefined {
    if (!constitution || hash === undefined) return undefined;
    const key = JSON.stringify([hash, reply.key, reply.category]);
    if (this.#kept.has(key)) return this.#kept.get(key);
    const results = checked(constitution, reply);
    if (this.#kept.size >= mostKept) this.#kept.clear();
    this.#kept.set(key, results);
    return results;
  }
}

function openedFrom({ data }: RunEvent): Opened {
  const parsed = openedSchema.safeParse(data);
  const constitution = parsed.data?.constitution as Constitution | undefined;
  return {
    ...(parsed.data?.file !== undefined && { file: parsed.data.file }),
    ...(constitution?.principles && { constitution, hash: constitutionHash(constitution) }),
  };
}

/** The results, or undefined where a check's module is not loaded here. */
export function checked(constitution: Constitution, reply: CheckedReply): readonly CheckResult[] | undefined {
  try {
    return runChecks(constitution, reply);
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
