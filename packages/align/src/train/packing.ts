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
  /** Token ids [rows · time], 0 where there is none. */
  readonly tokens: Int32Array;
  /** Which sequence a place belongs to [rows · time], −1 where there is none: attention stays inside a sequence. */
  readonly segments: Int32Array;
  /** Position in its own sequence [rows · time]. */
  readonly positions: Int32Array;
  /** Chosen places of all sequences in the items' order, as indices into [rows · time]; padded to a multiple of `multiple`. */
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
  /** Real tokens, of rows · time. */
  readonly tokenCount: number;
}

export interface PackOptions {
  /** Lengths that rows may have, ascending. Few: a program is compiled for each that occurs. */
  readonly times: readonly number[];
  /** Places (rows · time) of a micro-batch, at most; an item that needs more makes a batch of its own. */
  readonly tokens: number;
  /** The number of chosen places is padded to a multiple of this. */
  readonly multiple: number;
}

/** A sequence does not fit the longest row. */
export class PackingError extends Error {
  override readonly name = "PackingError";
}

/**
 * Lengths of rows for sequences of at most `longest` tokens. Up to 512 the multiple of 16 that holds it, at least 64: replies
 * of one limit are of like length, and rows a little longer than one of them would be half empty. Beyond, every power of two from
 * 512 up, so that a few long texts do not make the attention of all others long.
 * @example
 * rowTimes(300); // [304]
 */
export function rowTimes(longest: number): number[] {
  if (longest <= 512) return [Math.max(64, 16 * Math.ceil(longest / 16))];
  const times = [512];
  while (times.at(-1)! < longest) times.push(2 * times.at(-1)!);
  return times;
}

/**
 * Packs items into micro-batches by first fit, longest first (first-fit decreasing, Johnson 1973: at most 11/9 of the
 * fewest rows). Deterministic: equal lists give equal batches.
 *
 * An item's row length is the shortest of `times` that holds its longest sequence. It may fill what is left of longer rows,
 * but opens rows of its own length only. Sequences are never cut here.
 * @throws PackingError when a sequence is longer than the longest row, is empty, or chooses a position outside
 */
export function pack(items: readonly Item[], { times, tokens, multiple }: PackOptions): PackedBatch[] {
  const open: OpenBatch[] = [];
  const order = items.map((item, index) => ({ item, index, longest: longestOf(item) }));
  order.sort((a, b) => b.longest - a.longest || a.index - b.index);
  for (const { item, index, longest } of order) {
    const time = times.find((size) => size >= longest);
    if (time === undefined || longest === 0)
      throw new PackingError(
        `item ${index} has a sequence of ${longest} tokens; expected 1 to ${times.at(-1) ?? 0}. Shorten it or set it aside before packing.`,
      );
    if (!open.some((batch) => place(batch, item, index, { time, tokens }))) {
      const batch: OpenBatch = { time, free: [], items: [] };
      place(batch, item, index, { time, tokens: Number.POSITIVE_INFINITY });
      open.push(batch);
    }
  }
  return open.map((batch) => layOut(batch, items, multiple));
}

/** Where an item's sequences stand: row and column of each. */
interface Placed {
  readonly index: number;
  readonly places: readonly { readonly row: number; readonly column: number }[];
}

interface OpenBatch {
  readonly time: number;
  /** Places left at the end of each row. */
  free: number[];
  readonly items: Placed[];
}

function longestOf({ sequences }: Item): number {
  const lengths = sequences.map(({ tokens }) => tokens.length);
  return lengths.includes(0) ? 0 : Math.max(...lengths);
}

/** Puts all of an item's sequences into a batch, or none. */
function place(batch: OpenBatch, item: Item, index: number, limits: { time: number; tokens: number }): boolean {
  const free = [...batch.free];
  const places: { row: number; column: number }[] = [];
  for (const { tokens } of item.sequences) {
    let row = free.findIndex((left) => left >= tokens.length);
    if (row < 0) {
      if (batch.time !== limits.time || (free.length + 1) * batch.time > limits.tokens) return false;
      row = free.push(batch.time) - 1;
    }
    places.push({ row, column: batch.time - free[row]! });
    free[row]! -= tokens.length;
  }
  batch.free = free;
  batch.items.push({ index, places });
  return true;
}

function layOut({ time, free, items: placed }: OpenBatch, items: readonly Item[], multiple: number): PackedBatch {
  // In the order of the list, so that results come back in it.
  placed.sort((a, b) => a.index - b.index);
  const rows = free.length;
  const tokens = new Int32Array(rows * time);
  const segments = new Int32Array(rows * time).fill(-1);
  const positions = new Int32Array(rows * time);
  const sequences = placed.flatMap(({ index, places }) =>
    items[index]!.sequences.map((sequence, k) => ({ sequence, start: places[k]!.row * time + places[k]!.column })),
  );
  const lengths = sequences.map(({ sequence }) => sequence.chosen.length);
  const count = lengths.reduce((a, b) => a + b, 0);
  const padded = Math.max(1, Math.ceil(count / multiple)) * multiple;
  const [chosen, targets, owners] = [new Int32Array(padded), new Int32Array(padded), new Int32Array(padded)];
  const mask = new Float32Array(padded).fill(1, 0, count);
  const values: Record<string, Float32Array> = {};
  let at = 0;
  let tokenCount = 0;
  sequences.forEach(({ sequence, start }, owner) => {
    const { length } = sequence.tokens;
    tokenCount += length;
    for (let i = 0; i < length; i++) {
      tokens[start + i] = sequence.tokens[i]!;
      segments[start + i] = owner;
      positions[start + i] = i;
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
      chosen[at] = start + position;
      targets[at] = position + 1 < length ? sequence.tokens[position + 1]! : 0;
      owners[at] = owner;
    }
  });
  const itemValues: Record<string, Float32Array> = {};
  placed.forEach(({ index }, i) => {
    for (const [name, value] of Object.entries(items[index]!.values ?? {})) {
      itemValues[name] ??= new Float32Array(placed.length);
      itemValues[name][i] = value;
    }
  });
  const indices = placed.map(({ index }) => index);
  return {
    ...{ rows, time, tokens, segments, positions, chosen, targets, owners, mask, values, itemValues },
    ...{ items: indices, lengths, tokenCount },
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
