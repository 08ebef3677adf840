import { MixtureError } from "./errors.ts";
import { randomStream } from "./random.ts";

export interface MixtureSource<Row> {
  /** For the report and for errors. */
  readonly name: string;
  readonly rows: readonly Row[];
  /** Its part of the mixture in proportion to the others' ratios; 3 and 1 are three quarters and one. Without, all its rows. */
  readonly ratio?: number;
  /** At most so many of its rows. */
  readonly limit?: number;
}

export interface MixtureOptions {
  readonly seed: number;
  /** Rows of the mixture; by default as many as the sources can give at their ratios. */
  readonly total?: number;
}

export interface Mixture<Row> {
  readonly rows: Row[];
  readonly sources: readonly MixtureShare[];
}

/** What became of one source. */
export interface MixtureShare {
  readonly name: string;
  /** Rows it could give: its own without duplicates, within its limit. */
  readonly available: number;
  readonly taken: number;
  /** Rows whose id it, or a source before it, had already. */
  readonly duplicates: number;
  /** Why the mixture is no larger, for the source that ran out first. */
  readonly exhausted?: string;
}

/**
 * Mixes rows of several sources at given ratios, drawn without replacement.
 *
 * Which rows are drawn and their order depend on the seed and the row ids, not on the order they came in. Every prefix of the
 * mixture, and the whole, keep the ratios to within one row. The source that runs out first bounds the mixture, and its share says so.
 * @throws MixtureError when some sources have ratios and others do not, or a number is out of range
 * @example
 * const rows = (name, count) => Array.from({ length: count }, (_, i) => ({ id: `${name}-${i}` }));
 * const mixture = mix([
 *   { name: "helpful", rows: rows("helpful", 30), ratio: 3 },
 *   { name: "harmless", rows: rows("harmless", 50), ratio: 1 },
 * ], { seed: 1 });
 * mixture.rows.length; // 40
 */
export function mix<Row extends { readonly id: string }>(
  sources: readonly MixtureSource<Row>[],
  { seed, total }: MixtureOptions,
): Mixture<Row> {
  const ratios = ratiosOf(sources);
  if (total !== undefined && !(Number.isInteger(total) && total >= 0))
    throw new MixtureError(`total is ${total}; expected a whole number of rows`);
  if (total !== undefined && !ratios)
    throw new MixtureError("total needs ratios to divide it by; give every source one.");
  const seen = new Set<string>();
  const pools = sources.map(({ name, rows, limit = Number.POSITIVE_INFINITY }) => {
    if (limit !== Number.POSITIVE_INFINITY && !(Number.isInteger(limit) && limit >= 0))
      throw new MixtureError(`${name}: limit is ${limit}; expected a whole number of rows`);
    const own = rows.filter(({ id }) => !seen.has(id) && seen.add(id));
    return { name, rows: own, available: Math.min(own.length, limit), duplicates: rows.length - own.length };
  });
  const { counts, scarce } = ratios ? sharesOf(pools, ratios, total) : { counts: pools.map((pool) => pool.available) };
  const drawn = pools.map((pool, i) => draw(pool.rows, counts[i]!, seed));
  const shares = pools.map(({ name, available, duplicates }, i) => {
    const taken = counts[i]!;
    return { name, available, duplicates, taken, ...(scarce?.source === i ? { exhausted: scarce.reason } : {}) };
  });
  return { rows: interleave(drawn), sources: shares };
}

/** Shares that sum to 1, or undefined where no source has a ratio. */
function ratiosOf(sources: readonly MixtureSource<unknown>[]): number[] | undefined {
  const given = sources.filter(({ ratio }) => ratio !== undefined);
  if (given.length === 0) return undefined;
  const without = sources.find(({ ratio }) => ratio === undefined);
  if (without)
    throw new MixtureError(
      `${given[0]!.name} has a ratio and ${without.name} has none; give every source one, or none.`,
    );
  const wrong = sources.find(({ ratio }) => !(ratio! > 0 && ratio! < Number.POSITIVE_INFINITY));
  if (wrong)
    throw new MixtureError(
      `${wrong.name}: ratio is ${wrong.ratio}; expected a number above 0. Leave the source out instead.`,
    );
  const sum = sources.reduce((all, { ratio }) => all + ratio!, 0);
  return sources.map(({ ratio }) => ratio! / sum);
}

/** Rows of each source in the largest mixture at these ratios, each within one row of its exact share. */
function sharesOf(
  pools: readonly { readonly name: string; readonly available: number }[],
  ratios: readonly number[],
  wanted = Number.POSITIVE_INFINITY,
): { counts: number[]; scarce?: { source: number; reason: string } } {
  // The bound by the exact shares can be a row short of what rounding allows, so the sizes above it are tried too.
  const bounds = pools.map(({ available }, i) => available / ratios[i]!);
  const least = Math.min(...bounds);
  let size = Math.min(wanted, Math.floor(least * (1 + 1e-12)));
  let counts = apportion(size, ratios);
  for (let more = size + 1; more <= Math.min(wanted, size + pools.length); more++) {
    const larger = apportion(more, ratios);
    if (larger.every((count, i) => count <= pools[i]!.available)) [size, counts] = [more, larger];
  }
  if (size >= wanted) return { counts };
  const source = bounds.indexOf(least);
  const { name, available } = pools[source]!;
  const unused = pools.reduce((all, pool, i) => all + pool.available - counts[i]!, 0);
  if (wanted === Number.POSITIVE_INFINITY && unused === 0) return { counts };
  const share = `${Math.round(ratios[source]! * 1000) / 10} %`;
  const asked =
    wanted === Number.POSITIVE_INFINITY ? `${unused} rows of other sources stay unused` : `${wanted} were asked for`;
  return {
    counts,
    scarce: {
      source,
      reason: `${name} has ${available} rows for ${share} of the mixture, which makes ${size} in all; ${asked}`,
    },
  };
}

/** Largest remainders: whole numbers that sum to `size`, each less than one from its exact share. */
function apportion(size: number, ratios: readonly number[]): number[] {
  const counts = ratios.map((ratio) => Math.floor(ratio * size));
  const rest = size - counts.reduce((all, count) => all + count, 0);
  const order = ratios.map((ratio, i) => ({ i, remainder: ratio * size - counts[i]! }));
  order.sort((one, other) => other.remainder - one.remainder || one.i - other.i);
  for (const { i } of order.slice(0, rest)) counts[i]!++;
  return counts;
}

/** `count` rows in an order that is random in the seed: those with the smallest of the numbers keyed by their ids. */
function draw<Row extends { readonly id: string }>(rows: readonly Row[], count: number, seed: number): Row[] {
  const keyed = rows.map((row) => ({ row, key: randomStream({ seed, stage: "mix", item: row.id }).uniform(0) }));
  keyed.sort((one, other) => one.key - other.key || (one.row.id < other.row.id ? -1 : 1));
  return keyed.slice(0, count).map(({ row }) => row);
}

/**
 * Lists woven into one such that every prefix holds of each its share to within one row.
 *
 * The j-th of n rows may stand in places ⌊(j−1)·N/n⌋ … ⌈j·N/n⌉ − 1 of N; taking the row whose window closes first always
 * fits. Source: Baruah et al., "Proportionate progress: a notion of fairness in resource allocation" (1996).
 */
function interleave<Row>(lists: readonly (readonly Row[])[]): Row[] {
  const total = lists.reduce((all, list) => all + list.length, 0);
  const next = lists.map(() => 0);
  const woven: Row[] = [];
  while (woven.length < total) {
    let chosen = -1;
    let earliest = Number.POSITIVE_INFINITY;
    for (const [i, { length }] of lists.entries()) {
      const released = Math.floor((next[i]! * total) / length) <= woven.length;
      const deadline = Math.ceil(((next[i]! + 1) * total) / length);
      if (next[i]! < length && released && deadline < earliest) [chosen, earliest] = [i, deadline];
    }
    woven.push(lists[chosen]![next[chosen]!++]!);
  }
  return woven;
}
