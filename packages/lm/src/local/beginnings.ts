import type { Prefix } from "./cache.ts";
import type { Engine } from "./engine.ts";
import { sharedBeginning } from "./families.ts";

/** Beginnings shorter than this are not worth a call of their own. */
export const shortest = 16;

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
    const common = sharedBeginning(live && alone ? [...texts, this.#last] : texts);
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
