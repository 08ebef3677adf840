import { randomStream } from "@tenet/data";

/** In which order pairs are given to people. */
export const labelOrders = ["random", "uncertain", "position", "checks", "made"] as const;
export type LabelOrder = (typeof labelOrders)[number];

/** What each order is, for who chooses one. */
export const orderTexts: Readonly<Record<LabelOrder, string>> = {
  random: "drawn, the same whenever it is drawn: what people say of so many holds for all",
  uncertain: "the machine least sure first",
  position: "the answers in the two orders furthest apart first",
  checks: "the machine's label against what the checks say first",
  made: "as they were made",
};

/** What is known of a pair that people may be asked about; what the machine and the checks say is absent where nobody said it. */
export interface Orderable {
  readonly row: string;
  /** The machine's. */
  readonly p?: number | undefined;
  readonly readings?: readonly { readonly principle: string; readonly first: "a" | "b"; readonly p: number }[];
  /** Principles that the checks find broken. */
  readonly broken?: { readonly a: readonly string[]; readonly b: readonly string[] } | undefined;
}

/** The first so many pairs of an order. `name` is what a random order is drawn by. Pairs of which the machine said nothing come last in its orders. */
export function ordered<Pair extends Orderable>(
  pairs: readonly Pair[],
  how: LabelOrder,
  { name, size = pairs.length }: { readonly name: string; readonly size?: number },
): Pair[] {
  if (how === "made") return pairs.slice(0, size);
  const key = how === "random" ? drawn(name) : (pair: Orderable) => -orderKeys[how](pair);
  const by = new Map(pairs.map((pair) => [pair.row, key(pair)]));
  return pairs.toSorted((one, other) => by.get(one.row)! - by.get(other.row)!).slice(0, size);
}

const drawn = (name: string) => (pair: Orderable) =>
  randomStream({ seed: 0, stage: `queue of ${name}`, item: pair.row }).uniform(0);

const last = Number.NEGATIVE_INFINITY;

/** What comes first, the highest: how sure nobody is, and how far two disagree. */
export const orderKeys: Readonly<
  Record<Exclude<LabelOrder, "random" | "made">, (pair: Omit<Orderable, "row">) => number>
> = {
  uncertain: ({ p }) => (p === undefined ? last : -Math.abs(p - 0.5)),
  position: ({ readings = [] }) => Math.max(0, ...spreads(readings)),
  checks: ({ p, broken }) => {
    if (p === undefined) return last;
    if (!broken || broken.a.length === broken.b.length) return -1;
    return broken.a.length < broken.b.length ? 1 - p : p;
  },
};

/** How far the readings of a principle lie apart in the two orders. */
function spreads(readings: NonNullable<Orderable["readings"]>): number[] {
  return readings.flatMap((one) =>
    readings.flatMap((other) =>
      one.principle === other.principle && one.first === "a" && other.first === "b" ? [Math.abs(one.p - other.p)] : [],
    ),
  );
}
