import type { Prefix } from "./cache.ts";
import type { Engine } from "./engine.ts";

/** Beginnings shorter than this are not worth a call of their own. */
const shortest = 16;
/** Tokens of a call that take as long as what a call costs whatever it holds. */
const callWorth = 256;

type Computes = Pick<Engine, "emptyPrefix" | "prefix">;

export interface KeptBeginnings {
  /** How many are kept. */
  readonly most: number;
  /** Positions that they may have together, the latest apart. Default: any. */
  readonly positions?: number;
  /**
   * Texts come one at a time, of callers that do not know of each other: what one shares with the one before is likely to come again, and a
   * shorter beginning is as likely to be the next one's as the longer that was made from it.
   */
  readonly live?: boolean;
}

/** Beginnings that texts share, computed once and kept for the next texts. */
export class Beginnings {
  readonly #engine: Computes;
  readonly #kept: KeptBeginnings;
  /** The one used last first. */
  #prefixes: Prefix[] = [];
  /** The text before, where they come one at a time. */
  #last: readonly number[] = [];

  constructor(engine: Computes, kept: KeptBeginnings) {
    this.#engine = engine;
    this.#kept = kept;
  }

  /** The longest beginning that all texts share and that is worth it: empty where there is none. */
  async of(texts: readonly (readonly number[])[]): Promise<Prefix> {
    const { live = false } = this.#kept;
    const alone = texts.length === 1;
    const common = shared(live && alone ? [...texts, this.#last] : texts);
    const known = this.#known(texts[0]!, live && alone ? texts[0]!.length - 1 : common);
    this.#last = texts.at(-1)!;
    const gain = common - (known?.tokens.length ?? 0);
    const base = known ?? this.#engine.emptyPrefix();
    if (gain < shortest || (alone && !live)) {
      if (live && known) this.#keep(known);
      return base;
    }
    const made = await this.#engine.prefix(texts[0]!.slice(0, common), base);
    if (known && !live) this.#prefixes = this.#prefixes.filter((prefix) => prefix !== known);
    this.#keep(made);
    return made;
  }

  clear(): void {
    this.#prefixes = [];
  }

  /** The longest that a text begins with, of so many positions at most. */
  #known(text: readonly number[], most: number): Prefix | undefined {
    const begins = ({ tokens }: Prefix) => tokens.length <= most && tokens.every((token, i) => token === text[i]);
    return this.#prefixes.filter(begins).sort((a, b) => b.tokens.length - a.tokens.length)[0];
  }

  #keep(prefix: Prefix): void {
    const { most, positions = Number.POSITIVE_INFINITY } = this.#kept;
    const kept = [prefix, ...this.#prefixes.filter((other) => other !== prefix)].slice(0, most);
    const held = () => kept.reduce((sum, { tokens }) => sum + tokens.length, 0);
    while (kept.length > 1 && held() > positions) kept.pop();
    this.#prefixes = kept;
  }
}

/** How many positions all texts begin with alike; each keeps a token of its own, whose logits are wanted. */
function shared(texts: readonly (readonly number[])[]): number {
  const [first] = texts;
  let common = Math.max(0, Math.min(...texts.map((tokens) => tokens.length - 1)));
  for (const tokens of texts) {
    let same = 0;
    while (same < common && tokens[same] === first![same]) same++;
    common = same;
  }
  return common;
}

/** Texts of a batch that begin alike. */
export interface Family {
  /** By their place in the batch. */
  readonly members: readonly number[];
  /** Positions that they share. */
  readonly common: number;
}

/**
 * Which texts of a batch, all of which share `known` positions, are worth a beginning of their own: what its members need not compute
 * is more than the call it takes. Of families within families those that save most. Few-shot prompts are such texts.
 */
export function families(texts: readonly (readonly number[])[], known: number): Family[] {
  const order = texts.map((_, i) => i).sort((a, b) => compare(texts[a]!, texts[b]!));
  const alike = order.slice(1).map((text, i) => shared([texts[order[i]!]!, texts[text]!]));
  /** Of neighbours in order, as one family or as those that lie within. */
  const best = (from: number, to: number): { readonly saves: number; readonly families: readonly Family[] } => {
    const inner = alike.slice(from, to - 1);
    if (inner.length === 0) return { saves: 0, families: [] };
    const common = inner.reduce((least, one) => Math.min(least, one));
    const ends = inner.flatMap((one, i) => (one === common ? [from + i + 1] : []));
    const parts = [...ends, to].map((end, i) => best(i === 0 ? from : ends[i - 1]!, end));
    const within = parts.reduce((sum, { saves }) => sum + saves, 0);
    const saves = common - known < shortest ? 0 : inner.length * (common - known) - callWorth;
    if (saves > within) return { saves, families: [{ members: order.slice(from, to), common }] };
    return { saves: within, families: parts.flatMap(({ families }) => families) };
  };
  return [...best(0, order.length).families];
}

/** In the order of their tokens. */
function compare(a: readonly number[], b: readonly number[]): number {
  const at = a.findIndex((token, i) => token !== b[i]);
  return at < 0 ? a.length - b.length : at >= b.length ? 1 : a[at]! - b[at]!;
}
