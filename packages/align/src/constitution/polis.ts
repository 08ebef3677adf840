import { join } from "node:path";
import { type Aside, DatasetError, type ReadRecord, readTable } from "@tenet/data";
import type { Vote } from "./votes.ts";

/** A conversation as Polis exports it: what was stated, and who agreed. */
export interface PolisExport {
  readonly statements: readonly PolisStatement[];
  readonly participants: readonly PolisParticipant[];
  /** Records that could not be read. */
  readonly asides: readonly Aside[];
}

export interface PolisStatement {
  /** The export's own number. */
  readonly id: string;
  readonly text: string;
  /** Turned down by a moderator. */
  readonly rejected: boolean;
}

export interface PolisParticipant {
  readonly id: string;
  /** The opinion group that Polis found for them; absent for who voted too little. */
  readonly group?: string;
  /** By statement; what they have not seen is absent. */
  readonly votes: ReadonlyMap<string, Vote["vote"]>;
}

/**
 * Reads the folder of a Polis export: `comments.csv` (comment-id, moderated, comment-body) and `participants-votes.csv` (participant,
 * group-id, then a column for each statement: 1 agrees, −1 disagrees, 0 passes, empty where it was not seen).
 *
 * A record that cannot be read is set aside. Errors: DatasetError for a file that is missing or lacks its columns.
 */
export async function readPolis(folder: string): Promise<PolisExport> {
  const asides: Aside[] = [];
  const statements = new Map<string, PolisStatement>();
  const comments = join(folder, "comments.csv");
  for await (const { value, source } of records(comments, asides, ["comment-id", "moderated", "comment-body"])) {
    const id = value["comment-id"]!.trim();
    const text = value["comment-body"]!.replaceAll(/\s+/g, " ").trim();
    const moderated = value.moderated!.trim();
    const reason =
      id === ""
        ? "no comment-id"
        : text === ""
          ? "an empty statement"
          : !["-1", "0", "1"].includes(moderated)
            ? `moderated is ${JSON.stringify(moderated)}; expected -1, 0 or 1`
            : undefined;
    if (reason !== undefined) asides.push({ source, reason, excerpt: text.slice(0, 80) });
    else statements.set(id, { id, text, rejected: moderated === "-1" });
  }

  const participants: PolisParticipant[] = [];
  const voted = join(folder, "participants-votes.csv");
  for await (const { value, source } of records(voted, asides, ["participant", "group-id"])) {
    const votes = new Map<string, Vote["vote"]>();
    let reason: string | undefined;
    for (const [column, cell] of Object.entries(value)) {
      if (!/^\d+$/.test(column) || cell.trim() === "") continue;
      const vote = said[String(Number(cell))];
      if (vote === undefined) reason = `${JSON.stringify(cell)} on statement ${column}; expected 1, 0, -1 or nothing`;
      else votes.set(column, vote);
    }
    const group = value["group-id"]!.trim();
    if (reason !== undefined) asides.push({ source, reason, excerpt: value.participant! });
    else participants.push({ id: value.participant!.trim(), ...(group === "" ? {} : { group }), votes });
  }
  return { statements: [...statements.values()], participants, asides };
}

const said: Record<string, Vote["vote"] | undefined> = { "1": "agree", "0": "pass", "-1": "disagree" };

/** Records of one of the export's files, all of whose fields are texts. */
async function* records(path: string, asides: Aside[], columns: readonly string[]) {
  for await (const read of readTable(path)) {
    if ("aside" in read) {
      asides.push(read.aside);
      continue;
    }
    const { record } = read as Extract<ReadRecord, { record: unknown }>;
    const missing = columns.filter((column) => record.value[column] === undefined);
    if (missing.length > 0)
      throw new DatasetError(
        `${path} has no column ${missing.join(", ")}; expected ${columns.join(", ")}, as a Polis export has`,
      );
    yield { value: record.value as Record<string, string>, source: record.source };
  }
}
