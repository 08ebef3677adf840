/** Texts that begin alike. */
export interface Family {
  /** By their place in the list. */
  readonly members: readonly number[];
  /** Positions that they share. */
  readonly common: number;
}

export interface FamilyOptions {
  /** Positions that all texts share and that are computed already. Default 0. */
  readonly known?: number;
  /** Positions beyond these that a family has to share. */
  readonly shortest: number;
  /** Positions that a beginning of its own costs besides. Default 0. */
  readonly cost?: number;
}

/**
 * Which texts are worth a beginning of their own: what its members need not compute is more than what it costs. Of families within
 * families those that save most. Few-shot prompts are such texts, and the replies to one prompt behind it.
 */
export function families(
  texts: readonly ArrayLike<number>[],
  { known = 0, shortest, cost = 0 }: FamilyOptions,
): Family[] {
  const order = texts.map((_, i) => i).sort((a, b) => compare(texts[a]!, texts[b]!));
  const alike = order.slice(1).map((text, i) => sharedBeginning([texts[order[i]!]!, texts[text]!]));
  /** Of neighbours in order, as one family or as those that lie within. */
  const best = (from: number, to: number): { readonly saves: number; readonly families: readonly Family[] } => {
    const inner = alike.slice(from, to - 1);
    if (inner.length === 0) return { saves: 0, families: [] };
    const common = inner.reduce((least, one) => Math.min(least, one));
    const ends = inner.flatMap((one, i) => (one === common ? [from + i + 1] : []));
    const parts = [...ends, to].map((end, i) => best(i === 0 ? from : ends[i - 1]!, end));
    const within = parts.reduce((sum, { saves }) => sum + saves, 0);
    const saves = common - known < shortest ? 0 : inner.length * (common - known) - cost;
    if (saves > within) return { saves, families: [{ members: order.slice(from, to), common }] };
    return { saves: within, families: parts.flatMap(({ families }) => families) };
  };
  return [...best(0, order.length).families];
}

/** How many positions all texts begin with alike; each keeps a token of its own. */
export function sharedBeginning(texts: readonly ArrayLike<number>[]): number {
  const [first] = texts;
  let common = Math.max(0, Math.min(...texts.map(({ length }) => length - 1)));
  for (const tokens of texts) {
    let same = 0;
    while (same < common && tokens[same] === first![same]) same++;
    common = same;
  }
  return common;
}

/** In the order of their tokens. */
function compare(a: ArrayLike<number>, b: ArrayLike<number>): number {
  const most = Math.min(a.length, b.length);
  for (let i = 0; i < most; i++) if (a[i] !== b[i]) return a[i]! - b[i]!;
  return a.length - b.length;
}
