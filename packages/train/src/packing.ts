import { families, sharedBeginning } from "@tenet/lm";

/** One text to train on or to score, with the positions that matter in it. */
export interface Sequence {
  readonly tokens: ArrayLike<number>;
  /**
   * Positions whose hidden states are looked at, ascending. To learn or score token t, position t − 1 is chosen: its hidden
   * state predicts it. A preference model chooses the last position only.
   */
  readonly chosen: ArrayLike<number>;
  /** Numbers beside each chosen position: loss weights, advantages, old log-probabilities. All of `chosen`'s length. */
  readonly values?: Readonly<Record<string, ArrayLike<number>>>;
}

/** Sequences that one term of a loss needs together, as the two replies of a pair: they share a micro-batch. */
export interface Item {
  /** In every item of a job the same number. */
  readonly sequences: readonly Sequence[];
  /** Numbers of the item as a whole: a pair's target probability, its weight. */
  readonly values?: Readonly<Record<string, number>>;
}

/** Items laid out as the arrays a graph takes: one micro-batch. */
export interface PackedBatch {
  /** Rows of `time` places; how many differs from batch to batch. */
  readonly rows: number;
  readonly time: number;
  /** Token ids [tokenCount], in the order of their places: empty places have none. */
  readonly tokens: Int32Array;
  /** Place of each token among rows · time, ascending [tokenCount]. */
  readonly order: Int32Array;
  /** Token at each place [rows · time], as an index into `tokens`; 0 where there is none. */
  readonly slots: Int32Array;
  /**
   * Segment of each place [rows · time], −1 where there is none: a sequence, or the beginning that several share.
   * Attention stays inside a segment and the one before it.
   */
  readonly segments: Int32Array;
  /** The segment before that of each place: the shared beginning of a sequence that has one, else its own. */
  readonly beginnings: Int32Array;
  /** Position in its own sequence [rows · time]. */
  readonly positions: Int32Array;
  /** Chosen places of all sequences in the items' order, as indices into `tokens`; padded to a multiple of `multiple`. */
  readonly chosen: Int32Array;
  /** The token behind each chosen place, 0 behind a sequence's last. */
  readonly targets: Int32Array;
  /** Sequence of each chosen place, counted through the items: sequence k of item i is i · (sequences per item) + k. */
  readonly owners: Int32Array;
  /** 1 for a chosen place, 0 for what pads. */
  readonly mask: Float32Array;
  /** `Sequence.values`, one array of `chosen`'s length each, 0 where padded. */
  readonly values: Readonly<Record<string, Float32Array>>;
  /** `Item.values`, a number for each item. */
  readonly itemValues: Readonly<Record<string, Float32Array>>;
  /** The items' places in the list that was packed. */
  readonly items: readonly number[];
  /** Chosen places of each sequence, in the same order as `chosen`: where an output is cut. */
  readonly lengths: readonly number[];
  /** Real tokens, of rows · time; a shared beginning counts once. */
  readonly tokenCount: number;
}

export interface PackOptions {
  /** Lengths that rows may have, ascending. Few: a program is compiled for each that occurs. */
  readonly times: readonly number[];
  /** Places (rows · time) of a micro-batch, at most; an item that needs more makes a batch of its own. */
  readonly tokens: number;
  /** The number of chosen places is padded to a multiple of this. */
  readonly multiple: number;
  /** Whether what an item's sequences begin with alike is laid out once. Default false. */
  readonly shareBeginnings?: boolean | undefined;
  /** Whether what several items of one sequence begin with alike is laid out once a row. Default false. */
  readonly families?: boolean | undefined;
}

/** What an item needs of rows. */
export interface Extent {
  /** Tokens of each sequence. */
  readonly lengths: readonly number[];
  /** Tokens that they begin with alike, or that the item's family does; 0 where they are laid out one by one. */
  readonly shared: number;
  /** Items of one sequence each that begin alike, by the number of their family. */
  readonly family?: number;
}

/** A sequence does not fit the longest row. */
export class PackingError extends Error {
  override readonly name = "PackingError";
}

/** Rows up to here are of any length; longer ones are of powers of two. */
const longRow = 512;
const shortestRow = 64;
/** Beginnings of a family shorter than this stand in front of every sequence. */
const shortestBeginning = 8;
/** Batches, and items of each, that stand for all when row lengths are chosen. */
const sampled = { batches: 64, items: 256 };

export interface RowOptions {
  /** Places of a micro-batch, at most. */
  readonly tokens: number;
  /** Lengths are multiples of this. Default 16. */
  readonly step?: number | undefined;
}

/**
 * Lengths of rows for batches that are packed each on its own. Where no sequence is longer than 512, the one length that costs
 * least: short rows are half empty where sequences just miss fitting in twos, long ones where a batch has too few to fill the
 * last. Beyond, every power of two from 512 up, so that a few long texts do not make the attention of all others long.
 */
export function rowTimes(batches: readonly (readonly Extent[])[], { tokens, step = 16 }: RowOptions): number[] {
  const longest = batches.flat().reduce((most, { lengths }) => Math.max(most, ...lengths), 1);
  if (longest > longRow) {
    const times = [longRow];
    while (times.at(-1)! < longest) times.push(2 * times.at(-1)!);
    return times;
  }
  const shortest = Math.max(shortestRow, Math.ceil(longest / step) * step);
  const every = Math.ceil(batches.length / sampled.batches);
  const sample = batches.filter((_, i) => i % every === 0).map((extents) => extents.slice(0, sampled.items));
  let [best, least] = [shortest, Number.POSITIVE_INFINITY];
  // A row alone is a micro-batch: none is longer than one may be, unless a sequence is.
  const widest = Math.max(shortest, Math.min(longRow, tokens));
  for (let time = shortest; time <= widest; time += step) {
    const cost = sample.reduce((sum, extents) => sum + costOf(arrange(extents, { times: [time], tokens })), 0);
    if (cost < least) [best, least] = [time, cost];
  }
  return [best];
}

/**
 * In places of a short row: attention grows with the row, and every micro-batch merges the adapter anew. Measured on two cores when empty
 * places were computed; counted as if they were, since fuller rows are fewer micro-batches: the choice is within 1 % of one that counts tokens.
 */
function costOf(batches: readonly OpenBatch[]): number {
  return batches.reduce((sum, { time, free }) => sum + free.length * time * (1 + time / 1024) + 64, 0);
}

/**
 * Packs items into micro-batches by first fit, longest first (first-fit decreasing, Johnson 1973: at most 11/9 of the
 * fewest rows, where nothing is shared). Deterministic: equal lists give equal batches.
 *
 * An item's row length is the shortest of `times` that holds its longest sequence. It may fill what is left of longer rows,
 * but opens rows of its own length only. Sequences are never cut here. With `shareBeginnings` the sequences of an item that fits
 * a row whole stand behind the beginning they have in common, laid out once: the two replies of a pair behind their prompt. With
 * `families` items of one sequence each stand behind what their family begins with wherever a row that has it has room: the replies to
 * one prompt. They share nothing behind their first chosen position, so that a micro-batch has no more of them than places.
 * @throws PackingError when a sequence is longer than the longest row, is empty, or chooses a position outside
 */
export function pack(items: readonly Item[], options: PackOptions): PackedBatch[] {
  return arrange(extentsOf(items, options), options).map((batch) => layOut(batch, items, options.multiple));
}

/** What items that are packed together need of rows. */
export function extentsOf(
  items: readonly Item[],
  { shareBeginnings = false, families: alike = false }: Pick<PackOptions, "shareBeginnings" | "families">,
): Extent[] {
  const extents = items.map(({ sequences }): Extent => {
    const texts = sequences.map(({ tokens }) => tokens);
    const shared = shareBeginnings && texts.length > 1 ? sharedBeginning(texts) : 0;
    return { lengths: texts.map(({ length }) => length), shared };
  });
  if (!alike || !items.every(({ sequences }) => sequences.length === 1)) return extents;
  const texts = items.map(({ sequences: [only] }) => upToChoice(only!));
  families(texts, { shortest: shortestBeginning }).forEach(({ members, common }, family) => {
    for (const index of members) extents[index] = { ...extents[index]!, shared: common, family };
  });
  return extents;
}

/** What a sequence may share, and a token more, since each keeps one of its own. */
function upToChoice({ tokens, chosen }: Sequence): ArrayLike<number> {
  return chosen.length === 0 ? tokens : Array.prototype.slice.call(tokens, 0, chosen[0]! + 2);
}

interface OpenBatch {
  readonly time: number;
  /** Places left at the end of each row. */
  free: number[];
  readonly items: Placed[];
  /** Where what a family begins with stands, once in each row at most. */
  readonly beginnings: { readonly family: number; readonly row: number; readonly place: number }[];
}

/** Where an item stands, by places of its batch. */
interface Placed {
  readonly index: number;
  /** Tokens of the beginning that stands elsewhere than a sequence's others; 0 where nothing is shared. */
  readonly shared: number;
  readonly beginning: number;
  /** Of each sequence its first token behind what is shared. */
  readonly starts: readonly number[];
}

function arrange(extents: readonly Extent[], { times, tokens }: Pick<PackOptions, "times" | "tokens">): OpenBatch[] {
  const open: OpenBatch[] = [];
  const longestOf = new Map<number, number>();
  for (const { family, lengths } of extents)
    if (family !== undefined) longestOf.set(family, Math.max(longestOf.get(family) ?? 0, ...lengths));
  const order = extents.map(({ lengths, shared, family }, index): Unplaced => {
    const longest = lengths.includes(0) ? 0 : Math.max(...lengths);
    const time = times.find((size) => size >= longest);
    if (time === undefined || longest === 0)
      throw new PackingError(
        `item ${index} has a sequence of ${longest} tokens; expected 1 to ${times.at(-1) ?? 0}. Shorten it or set it aside before packing.`,
      );
    if (family !== undefined) return { index, time, shared, family, lengths, rank: longestOf.get(family)! };
    const whole = lengths.reduce((sum, length) => sum + length - shared, shared);
    // No longer row is opened for the sake of a shared beginning.
    const together = shared > 0 && whole <= time;
    return { index, time, shared: together ? shared : 0, lengths, rank: together ? whole : longest };
  });
  // A family one after another, so that a row fills with it.
  order.sort(
    (a, b) =>
      b.time - a.time ||
      b.rank - a.rank ||
      (a.family ?? -1) - (b.family ?? -1) ||
      (a.family === undefined ? 0 : b.lengths[0]! - a.lengths[0]!) ||
      a.index - b.index,
  );
  for (const item of order)
    if (!open.some((batch) => join(batch, item)) && !open.some((batch) => place(batch, item, tokens))) {
      const batch: OpenBatch = { time: item.time, free: [], items: [], beginnings: [] };
      place(batch, item, Number.POSITIVE_INFINITY);
      open.push(batch);
    }
  return open;
}

interface Unplaced extends Extent {
  readonly index: number;
  /** Length of rows that it may open. */
  readonly time: number;
  /** Items of larger ones are placed first. */
  readonly rank: number;
}

/** Puts an item behind what its family begins with, where a row that has it has room for the rest. */
function join(batch: OpenBatch, { index, shared, family, lengths }: Unplaced): boolean {
  if (family === undefined) return false;
  const own = lengths[0]! - shared;
  const found = batch.beginnings.find((one) => one.family === family && batch.free[one.row]! >= own);
  if (!found) return false;
  const start = (found.row + 1) * batch.time - batch.free[found.row]!;
  batch.items.push({ index, shared, beginning: found.place, starts: [start] });
  batch.free[found.row]! -= own;
  return true;
}

/** Puts all of an item into a batch, or nothing. */
function place(batch: OpenBatch, { index, time, shared, family, lengths }: Unplaced, tokens: number): boolean {
  const free = [...batch.free];
  const own = lengths.map((length) => length - shared);
  // Behind one beginning they are one stretch of a row.
  const stretches = shared > 0 ? [own.reduce((sum, length) => sum + length, shared)] : lengths;
  const places: number[] = [];
  let row = -1;
  for (const length of stretches) {
    row = free.findIndex((left) => left >= length);
    if (row < 0) {
      if (batch.time !== time || (free.length + 1) * batch.time > tokens) return false;
      row = free.push(batch.time) - 1;
    }
    places.push((row + 1) * batch.time - free[row]!);
    free[row]! -= length;
  }
  batch.free = free;
  const beginning = places[0]!;
  let next = beginning + shared;
  const behind = own.map((length) => {
    const start = next;
    next += length;
    return start;
  });
  batch.items.push({ index, shared, beginning, starts: shared > 0 ? behind : places });
  if (family !== undefined) batch.beginnings.push({ family, row, place: beginning });
  return true;
}

function layOut({ time, free, items: stands }: OpenBatch, items: readonly Item[], multiple: number): PackedBatch {
  // In the order of the list, so that results come back in it.
  stands.sort((a, b) => a.index - b.index);
  const rows = free.length;
  const placed = new Int32Array(rows * time);
  const segments = new Int32Array(rows * time).fill(-1);
  const beginnings = new Int32Array(rows * time).fill(-1);
  const positions = new Int32Array(rows * time);
  const sequences = stands.flatMap(({ index, shared, beginning, starts }) =>
    items[index]!.sequences.map((sequence, k) => ({ sequence, shared, beginning, start: starts[k]! })),
  );
  const lengths = sequences.map(({ sequence }) => sequence.chosen.length);
  const count = lengths.reduce((a, b) => a + b, 0);
  const padded = Math.max(1, Math.ceil(count / multiple)) * multiple;
  const [chosen, targets, owners] = [new Int32Array(padded), new Int32Array(padded), new Int32Array(padded)];
  const mask = new Float32Array(padded).fill(1, 0, count);
  const values: Record<string, Float32Array> = {};
  let at = 0;
  sequences.forEach(({ sequence, start, shared, beginning }, owner) => {
    const { length } = sequence.tokens;
    const placeOf = (position: number) => (position < shared ? beginning + position : start + position - shared);
    for (let i = 0; i < length; i++) {
      const place = placeOf(i);
      placed[place] = sequence.tokens[i]!;
      positions[place] = i;
      // A shared beginning is a segment by the name of where it stands, below that of any sequence.
      beginnings[place] = shared > 0 ? -2 - beginning : owner;
      segments[place] = i < shared ? beginnings[place] : owner;
    }
    for (const [name, numbers] of Object.entries(sequence.values ?? {})) {
      if (numbers.length !== sequence.chosen.length)
        throw new PackingError(
          `a sequence has ${numbers.length} values "${name}" beside ${sequence.chosen.length} chosen positions; expected as many`,
        );
      values[name] ??= new Float32Array(padded);
      values[name].set(numbers, at);
    }
    for (let i = 0; i < sequence.chosen.length; i++, at++) {
      const position = sequence.chosen[i]!;
      if (!(position >= 0 && position < length))
        throw new PackingError(`position ${position} is chosen in a sequence of ${length} tokens`);
      chosen[at] = placeOf(position);
      targets[at] = position + 1 < length ? sequence.tokens[position + 1]! : 0;
      owners[at] = owner;
    }
  });
  const itemValues: Record<string, Float32Array> = {};
  stands.forEach(({ index }, i) => {
    for (const [name, value] of Object.entries(items[index]!.values ?? {})) {
      itemValues[name] ??= new Float32Array(stands.length);
      itemValues[name][i] = value;
    }
  });
  const order = segments.map((_, place) => place).filter((place) => segments[place] !== -1);
  const slots = new Int32Array(rows * time);
  order.forEach((place, token) => {
    slots[place] = token;
  });
  return {
    ...{ rows, time, order, slots, segments, beginnings, positions },
    ...{ targets, owners, mask, values, itemValues, lengths },
    tokens: order.map((place) => placed[place]!),
    chosen: chosen.map((place) => slots[place]!),
    items: stands.map(({ index }) => index),
    tokenCount: order.length,
  };
}

/**
 * A prompt and the reply to learn or to score behind it: every token of the reply is the target of a chosen position.
 * @param values numbers beside each token of the reply
 * @example
 * completionSequence([5, 6], [7, 8]).chosen; // the positions 1 and 2: they predict 7 and 8
 */
export function completionSequence(
  prompt: ArrayLike<number>,
  completion: ArrayLike<number>,
  values?: Sequence["values"],
): Sequence {
  if (prompt.length === 0)
    throw new PackingError("a completion needs at least one token before it to be predicted from");
  const tokens = new Int32Array(prompt.length + completion.length);
  tokens.set(prompt);
  tokens.set(completion, prompt.length);
  const chosen = Int32Array.from({ length: completion.length }, (_, i) => prompt.length - 1 + i);
  return { tokens, chosen, ...(values === undefined ? {} : { values }) };
}
