import { nearDuplicates } from "@tenet/data";
import { opinionGroups } from "./opinion-groups.ts";
import type { PolisExport, PolisStatement } from "./polis.ts";
import { type CandidateTally, fromVotes, type Vote, type VoteOptions } from "./votes.ts";

export interface CollectiveOptions extends VoteOptions {
  /** Put participants without a group into one (`opinionGroups`); without it their votes are left out and counted. */
  readonly cluster?: boolean | undefined;
  /** Statements this alike (Jaccard of shingles) are one candidate. */
  readonly alike?: number | undefined;
  /** What the conversation is called, in each principle's `source`. */
  readonly conversation: string;
  readonly seed?: number | undefined;
}

export interface Collective extends ReturnType<typeof fromVotes> {
  readonly counts: {
    readonly statements: number;
    /** Turned down by a moderator: no candidates. */
    readonly rejected: number;
    readonly voters: number;
    /** Voters without a group, whose votes were left out. */
    readonly leftOut: number;
    /** Voters who were put into a group here. */
    readonly clustered: number;
  };
  /** Statements that were taken for one: the first stands for them. */
  readonly merged: readonly (readonly string[])[];
}

/** From which likeness on two statements are one. */
const alikeFrom = 0.8;

/**
 * A constitution from a Polis conversation: its statements as candidates, its opinion groups as the groups that all have to agree.
 *
 * Near-duplicates are merged: the one with most votes stands for them, and a person who voted on several of them has one vote, a pass where
 * they contradict each other. Each principle's `source` says which statements it comes from and how each group voted.
 * Errors: those of `fromVotes`.
 */
export function collectiveConstitution(
  { statements, participants }: PolisExport,
  { cluster = false, alike = alikeFrom, conversation, seed = 0, ...options }: CollectiveOptions,
): Collective {
  const open = statements.filter(({ rejected }) => !rejected);
  const merged = alikes(open, participants, alike);
  const standsFor = new Map(merged.flatMap(([first, ...rest]) => rest.map((id) => [id, first!])));
  const candidates = open.filter(({ id }) => !standsFor.has(id));
  const known = new Set(open.map(({ id }) => id));

  const found = cluster ? opinionGroups(participants, { seed }) : new Map<string, string>();
  const voters = participants.filter(({ votes }) => [...votes.keys()].some((id) => known.has(id)));
  const votes = voters.flatMap(({ id: person, group = found.get(person), votes: own }): Vote[] => {
    if (group === undefined) return [];
    const words = new Map<string, Vote["vote"]>();
    for (const [statement, vote] of own) {
      if (!known.has(statement)) continue;
      const candidate = standsFor.get(statement) ?? statement;
      const earlier = words.get(candidate);
      words.set(candidate, earlier === undefined || earlier === vote ? vote : "pass");
    }
    return [...words].map(([candidate, vote]) => ({ person, group, candidate: idOf(candidate), vote }));
  });
  const drawn = fromVotes(
    candidates.map(({ id, text }) => ({ id: idOf(id), text })),
    votes,
    options,
  );
  const source = sourcesOf(drawn.tallies, merged, conversation);
  const named = <P extends { id: string }>(principles: readonly P[]) =>
    principles.map((principle) => ({ ...principle, source: source.get(principle.id)! }));
  return {
    ...drawn,
    constitution: { ...drawn.constitution, principles: named(drawn.constitution.principles) },
    document: { ...drawn.document, principles: named(drawn.document.principles) },
    merged,
    counts: {
      statements: statements.length,
      rejected: statements.length - open.length,
      voters: voters.length,
      leftOut: voters.filter(({ id, group }) => group === undefined && !found.has(id)).length,
      clustered: voters.filter(({ id, group }) => group === undefined && found.has(id)).length,
    },
  };
}

/** Id of a candidate, and of the principle that it becomes. */
function idOf(statement: string): string {
  return `statement-${statement}`;
}

/** Statements that say nearly the same, those with most votes first. */
function alikes(
  statements: readonly PolisStatement[],
  participants: PolisExport["participants"],
  threshold: number,
): string[][] {
  const count = new Map<string, number>();
  for (const { votes } of participants) for (const id of votes.keys()) count.set(id, (count.get(id) ?? 0) + 1);
  const groups = new Map(statements.map(({ id }): [string, string[]] => [id, [id]]));
  for (const { first, second } of nearDuplicates({ all: statements.map(({ text }) => text) }, { threshold })) {
    const [one, other] = [first, second].map(({ index }) => groups.get(statements[index]!.id)!);
    if (one === other) continue;
    const both = [...one!, ...other!];
    for (const id of both) groups.set(id, both);
  }
  return [...new Set(groups.values())]
    .filter(({ length }) => length > 1)
    .map((group) => group.sort((a, b) => (count.get(b) ?? 0) - (count.get(a) ?? 0) || Number(a) - Number(b)));
}

function sourcesOf(
  tallies: readonly CandidateTally[],
  merged: readonly (readonly string[])[],
  conversation: string,
): Map<string, string> {
  const also = new Map(merged.map(([first, ...rest]) => [idOf(first!), rest]));
  return new Map(
    tallies.map(({ id, agreement, votes }) => {
      const groups = Object.entries(agreement).map(
        ([group, share]) => `group ${group}: ${share.toFixed(3)} of ${votes[group]} votes`,
      );
      const rest = also.get(id) ?? [];
      const same = rest.length > 0 ? `, with ${rest.map((one) => `statement ${one}`).join(", ")}` : "";
      return [id, `${id.replace("-", " ")}${same} of ${conversation}; ${groups.join("; ")}`];
    }),
  );
}
