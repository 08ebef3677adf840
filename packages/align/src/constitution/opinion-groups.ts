import { randomStream } from "@tenet/data";
import type { PolisParticipant } from "./polis.ts";

/** Votes that a participant needs to be put into a group: what Polis asks of them. */
const least = 7;

const value = { agree: 1, pass: 0, disagree: -1 } as const;

/**
 * A group for participants who have none, where they voted on at least seven statements: the one whose members voted most alike on
 * what they voted on (the mean squared difference to the members' mean votes). Where nobody has a group, groups are found: k-means over the
 * votes, unseen statements standing at their mean, k from 2 to 5 by the mean silhouette.
 *
 * A function of votes and seed only. Returns who got which group; the others have too few votes.
 */
export function opinionGroups(
  participants: readonly PolisParticipant[],
  { seed }: { readonly seed: number },
): Map<string, string> {
  const able = participants.filter(({ votes }) => votes.size >= least);
  const grouped = participants.filter(({ group }) => group !== undefined);
  if (grouped.length === 0) return found(able, seed);
  const names = [...new Set(grouped.map(({ group }) => group!))].sort();
  const means = names.map((name) => meanVotes(grouped.filter(({ group }) => group === name)));
  return new Map(
    able
      .filter(({ group }) => group === undefined)
      .flatMap(({ id, votes }): [string, string][] => {
        const distances = means.map((mean) => {
          const shared = [...votes].filter(([statement]) => mean.has(statement));
          const sum = shared.reduce((total, [statement, vote]) => total + (value[vote] - mean.get(statement)!) ** 2, 0);
          return shared.length === 0 ? Number.POSITIVE_INFINITY : sum / shared.length;
        });
        const nearest = Math.min(...distances);
        return nearest === Number.POSITIVE_INFINITY ? [] : [[id, names[distances.indexOf(nearest)]!]];
      }),
  );
}

function meanVotes(members: readonly PolisParticipant[]): Map<string, number> {
  const sums = new Map<string, { sum: number; n: number }>();
  for (const { votes } of members)
    for (const [statement, vote] of votes) {
      const { sum, n } = sums.get(statement) ?? { sum: 0, n: 0 };
      sums.set(statement, { sum: sum + value[vote], n: n + 1 });
    }
  return new Map([...sums].map(([statement, { sum, n }]) => [statement, sum / n]));
}

const tries = 10;
const rounds = 100;

function found(people: readonly PolisParticipant[], seed: number): Map<string, string> {
  if (people.length < 4) return new Map();
  const mean = meanVotes(people);
  const points = people.map(({ votes }) =>
    [...mean].map(([statement, usual]) => {
      const vote = votes.get(statement);
      return vote === undefined ? usual : value[vote];
    }),
  );
  let best: { places: number[]; worth: number } | undefined;
  for (let k = 2; k <= Math.min(5, people.length - 1); k++) {
    const places = kMeans(points, k, seed);
    const worth = silhouette(points, places);
    if (best === undefined || worth > best.worth) best = { places, worth };
  }
  // Groups by size, so that their names mean the same whatever the draw.
  const sizes = new Map<number, number>();
  for (const place of best!.places) sizes.set(place, (sizes.get(place) ?? 0) + 1);
  const order = [...sizes].sort(([p, a], [q, b]) => b - a || best!.places.indexOf(p) - best!.places.indexOf(q));
  const names = new Map(order.map(([place], i) => [place, String(i)]));
  return new Map(people.map(({ id }, i) => [id, names.get(best!.places[i]!)!]));
}

/** Lloyd's algorithm from k-means++ starts; the tightest of ten. */
function kMeans(points: readonly number[][], k: number, seed: number): number[] {
  let best: { places: number[]; spread: number } | undefined;
  for (let attempt = 0; attempt < tries; attempt++) {
    const stream = randomStream({ seed, stage: "opinion-groups", item: String(k), sample: attempt });
    const centres = [points[stream.integer(0, points.length)]!];
    for (let i = 1; i < k; i++) {
      const far = points.map((point) => Math.min(...centres.map((centre) => distance(point, centre))));
      const total = far.reduce((sum, one) => sum + one, 0);
      let left = stream.uniform(i) * total;
      const next = far.findIndex((one) => {
        left -= one;
        return left < 0;
      });
      centres.push(points[next < 0 ? points.length - 1 : next]!);
    }
    let places: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const now = points.map((point) => {
        const distances = centres.map((centre) => distance(point, centre));
        return distances.indexOf(Math.min(...distances));
      });
      if (now.every((place, i) => place === places[i])) break;
      places = now;
      for (let i = 0; i < k; i++) {
        const own = points.filter((_, j) => places[j] === i);
        if (own.length > 0)
          centres[i] = own[0]!.map((_, d) => own.reduce((sum, point) => sum + point[d]!, 0) / own.length);
      }
    }
    const spread = points.reduce((sum, point, i) => sum + distance(point, centres[places[i]!]!), 0);
    if (best === undefined || spread < best.spread) best = { places, spread };
  }
  return best!.places;
}

/** Mean silhouette: how much nearer a point is to its own group than to the next, in [−1, 1]. Alone in a group it counts 0. */
function silhouette(points: readonly number[][], places: readonly number[]): number {
  const groups = [...new Set(places)];
  const worths = points.map((point, i) => {
    const to = (group: number) => {
      const others = points.filter((_, j) => j !== i && places[j] === group);
      return others.length === 0
        ? undefined
        : others.reduce((sum, other) => sum + Math.sqrt(distance(point, other)), 0) / others.length;
    };
    const own = to(places[i]!);
    if (own === undefined || groups.length < 2) return 0;
    const next = Math.min(...groups.filter((group) => group !== places[i]).map((group) => to(group)!));
    return Math.max(own, next) === 0 ? 0 : (next - own) / Math.max(own, next);
  });
  return worths.reduce((sum, worth) => sum + worth, 0) / worths.length;
}

function distance(a: readonly number[], b: readonly number[]): number {
  return a.reduce((sum, x, i) => sum + (x - b[i]!) ** 2, 0);
}
