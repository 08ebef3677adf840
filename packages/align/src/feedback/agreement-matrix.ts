import { type Estimate, mean, type Observation, type PreferenceRow, rate } from "@tenet/data";
import type { Constitution, LintFinding, Principle } from "../constitution/index.ts";
import { promptKey } from "../evaluate/refusal.ts";
import { rubricOf } from "../judge/index.ts";
import { readingsOf } from "./labelled-pair.ts";
import { pairKey } from "./pair-key.ts";

/** How far two principles prefer the same replies. */
export interface PrincipleAgreement {
  readonly principles: readonly [string, string];
  /** Share of pairs on which both prefer the same reply, of those on which each prefers one; pairs of one prompt count together (`rate`). NaN of n = 0. */
  readonly same: Estimate;
  /** Pairs on which one of them, or both, read exactly one half: they count for nothing. */
  readonly halves: number;
  /** Pairs labelled under both of which one was not read, as where checks decided: they count for nothing. */
  readonly unread: number;
}

export interface AgreementMatrix {
  /** Pairs that were labelled under two or more of the constitution's principles. */
  readonly pairs: number;
  /** Every two principles that labels were made under, in the constitution's order; of two that no pair has in common n is 0. */
  readonly matrix: readonly PrincipleAgreement[];
  /** Principles that labels were made under and that the constitution has no more, or asks otherwise. */
  readonly leftOut: readonly string[];
}

/** From how many pairs on something is said of two principles: of fewer, a single one decides. */
export const enoughReadings = 10;

/** The reply that a principle prefers, of the two in the order of their texts; 0: neither. Undefined: it was not read. */
type Side = -1 | 0 | 1 | undefined;

/** What each principle prefers of a pair. */
interface LabelledPair {
  readonly prompt: string;
  readonly sides: Map<string, Side>;
}

/**
 * How far a constitution's principles agree, by what a labeller read: each principle's readings of a pair, in the mean over both orders
 * of the replies, prefer one of them, and two principles agree where it is the same. Labels of the same pair are one.
 *
 * `labels` are rows as `labelPairs` makes them with `principles` of 2 or more; `asked` is the constitution that they were made under.
 */
export function agreementMatrix(
  labels: Iterable<PreferenceRow>,
  { constitution, asked = constitution }: { readonly constitution: Constitution; readonly asked?: Constitution },
): AgreementMatrix {
  const byPair = new Map<string, LabelledPair>();
  for (const row of labels) {
    const key = pairKey(row);
    const pair = byPair.get(key) ?? { prompt: promptKey(row), sides: new Map() };
    byPair.set(key, pair);
    for (const [principle, side] of sidesOf(row)) pair.sides.set(principle, pair.sides.get(principle) ?? side);
  }
  const pairs = [...byPair.values()];
  const named = new Set(pairs.flatMap(({ sides }) => [...sides.keys()]));
  const before = new Map(asked.principles.map((principle) => [principle.id, questionOf(principle)]));
  const ids = constitution.principles
    .filter((principle) => named.has(principle.id) && before.get(principle.id) === questionOf(principle))
    .map(({ id }) => id);
  return {
    pairs: pairs.filter(({ sides }) => ids.filter((id) => sides.has(id)).length > 1).length,
    matrix: ids.flatMap((one, i) => ids.slice(i + 1).map((other) => agreement(pairs, [one, other]))),
    leftOut: [...named].filter((id) => !ids.includes(id)).sort(),
  };
}

/** Two principles that prefer different replies more often than the same: the interval lies below one half, of enough readings. */
export function pulledApart({ matrix }: AgreementMatrix): LintFinding[] {
  return matrix
    .filter(({ same: { n, interval } }) => n >= enoughReadings && interval[1] < 0.5)
    .map(({ principles, same: { value, interval, n } }) => {
      const [share, low, high] = [value, ...interval].map((part) => part.toFixed(2));
      const why = `they prefer the same reply in ${share} [${low}, ${high}] of ${n} pairs`;
      return { kind: "pull apart", principles, why };
    });
}

/** What each principle that a label was made under prefers. */
function sidesOf({ a, b, explanation, origin }: PreferenceRow): [string, Side][] {
  const readings = readingsOf(explanation);
  return (origin.principles ?? []).map((id) => {
    const own = readings.filter(({ principle }) => principle === id).map(({ p }) => p);
    const side = Math.sign(mean(own) - 0.5) * (a < b ? 1 : -1);
    return [id, own.length === 0 ? undefined : (side as Side)];
  });
}

function agreement(pairs: readonly LabelledPair[], [one, other]: readonly [string, string]): PrincipleAgreement {
  const both: Observation[] = [];
  let [halves, unread] = [0, 0];
  for (const { prompt, sides } of pairs) {
    if (!sides.has(one) || !sides.has(other)) continue;
    const [first, second] = [sides.get(one), sides.get(other)];
    if (first === undefined || second === undefined) unread++;
    else if (first === 0 || second === 0) halves++;
    else both.push({ cluster: prompt, yes: first === second });
  }
  return { principles: [one, other], same: rate(both), halves, unread };
}

/** What a labeller is asked of a principle: its question, or as a judge its rubric. */
function questionOf(principle: Principle): string {
  return JSON.stringify([principle.preferenceQuestion, rubricOf(principle)]);
}
