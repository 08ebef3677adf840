import { nearest } from "@tenet/data";
import { ConstitutionError } from "./errors.ts";
import {
  type Constitution,
  type ConstitutionDocument,
  type ConstitutionInput,
  constitutionSchema,
  withRequests,
} from "./schema.ts";

/** One person's opinion of one candidate principle. A later vote of the same person on it replaces an earlier one. */
export interface Vote {
  person: string;
  /** The person's group: an opinion group, a region, a department. */
  group: string;
  /** Id of the candidate. */
  candidate: string;
  vote: "agree" | "disagree" | "pass";
  /** What the person's votes count for; ≥ 0, 1 by default. */
  weight?: number;
}

export interface VoteOptions {
  name: string;
  version: string;
  /** Share of agreement that every group has to reach. Default 0.5. */
  threshold?: number;
}

/** How one candidate fared. */
export interface CandidateTally {
  id: string;
  /** Smoothed share of agreement, by group. */
  agreement: Record<string, number>;
  /** Weighted votes, by group. */
  votes: Record<string, number>;
  /** The group-aware consensus of Polis: the product of the agreements over groups. */
  consensus: number;
  /** The consensus as a mean over groups, so that it does not fall with their number: the principle's weight where it enters. */
  weight: number;
  enters: boolean;
}

/**
 * A constitution drawn from many people: candidates on which every group agrees, weighted by how much. METHODS §1,
 * Collective Constitutional AI (Huang et al., 2024).
 *
 * A group's agreement is (agree + 1)/(agree + disagree + pass + 2) of its weighted votes, so that few votes stay near ½; a
 * candidate enters when each group has voted on it and each group's agreement reaches the threshold; its weight is the geometric mean over
 * groups, consensus^(1/groups), which ranks as Polis's group-aware consensus does. Groups are those that appear in the votes.
 *
 * Errors: ConstitutionError for a vote on no candidate, a person in two groups, a weight that is no number ≥ 0, no votes, and when
 * no candidate enters.
 */
export function fromVotes(
  candidates: ConstitutionInput["principles"],
  votes: readonly Vote[],
  { name, version, threshold = 0.5 }: VoteOptions,
): { constitution: Constitution; document: ConstitutionDocument; tallies: CandidateTally[] } {
  const ids = new Set(candidates.map(({ id }) => id));
  const groupOf = new Map<string, string>();
  const latest = new Map<string, Vote>();
  for (const vote of votes) {
    if (!ids.has(vote.candidate)) {
      const close = nearest(vote.candidate, ids);
      throw new ConstitutionError(
        `expected the id of a candidate, got a vote on "${vote.candidate}"${close ? `. Did you mean "${close}"?` : ""}`,
      );
    }
    const { weight = 1 } = vote;
    if (!(weight >= 0 && weight < Number.POSITIVE_INFINITY))
      throw new ConstitutionError(
        `expected a weight ≥ 0 of ${vote.person}'s vote on "${vote.candidate}", got ${weight}`,
      );
    const group = groupOf.get(vote.person) ?? vote.group;
    if (group !== vote.group)
      throw new ConstitutionError(
        `expected one group for each person, got "${group}" and "${vote.group}" for ${vote.person}`,
      );
    groupOf.set(vote.person, group);
    latest.set(JSON.stringify([vote.person, vote.candidate]), vote);
  }
  const groups = [...new Set(groupOf.values())].sort();
  if (groups.length === 0) throw new ConstitutionError("expected at least one vote, got none");

  const sums = new Map<string, { agree: number; all: number }>();
  for (const { group, candidate, vote, weight = 1 } of latest.values()) {
    const key = JSON.stringify([group, candidate]);
    const sum = sums.get(key) ?? { agree: 0, all: 0 };
    sums.set(key, { agree: sum.agree + (vote === "agree" ? weight : 0), all: sum.all + weight });
  }
  const tallies = candidates.map(({ id }) => {
    const counts = groups.map((group) => sums.get(JSON.stringify([group, id])) ?? { agree: 0, all: 0 });
    const shares = counts.map(({ agree, all }) => (agree + 1) / (all + 2));
    const byGroup = (values: readonly number[]) => Object.fromEntries(groups.map((group, i) => [group, values[i]!]));
    const consensus = shares.reduce((product, share) => product * share, 1);
    return {
      id,
      agreement: byGroup(shares),
      votes: byGroup(counts.map(({ all }) => all)),
      consensus,
      weight: consensus ** (1 / groups.length),
      enters: shares.every((share, i) => counts[i]!.all > 0 && share >= threshold),
    };
  });

  const entering = new Map(tallies.filter(({ enters }) => enters).map(({ id, weight }) => [id, weight]));
  if (entering.size === 0)
    throw new ConstitutionError(
      `no candidate reaches an agreement of ${threshold} in each of the groups ${groups.join(", ")}; lower the threshold or gather more votes`,
    );
  const document = constitutionSchema.parse({
    name,
    version,
    principles: candidates.flatMap((candidate) => {
      const weight = entering.get(candidate.id);
      return weight === undefined ? [] : [{ ...candidate, weight }];
    }),
  });
  return { constitution: withRequests(document), document, tallies };
}
