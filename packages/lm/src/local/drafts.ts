/** Shortest and longest ends of a text that are looked up. */
const [shortest, longest] = [2, 4];

/**
 * A wrong guess costs a few hundredths of a step, a right one saves a step. So everything is guessed as long as this share
 * of guesses was right of late; below it a probe of a few tokens now and then finds out whether that has changed.
 */
const worthIt = 0.15;
const memory = 0.75;
const probe = { tokens: 2, every: 4 };

/**
 * Prompt lookup: guesses how a text goes on from where its last few tokens stood before. Revisions repeat most of what
 * they revise, so the guesses are often right; a wrong one costs a row of a product, never a different result.
 * Source: "Prompt Lookup Decoding" (Saxena, 2023).
 */
export class PromptLookup {
  readonly #tokens: number[];
  /** Where an n-gram was last seen: the place after it. */
  readonly #seen = new Map<string, number>();
  #indexed = 0;
  /** Share of guesses that were right, the latest weighing most. */
  #trust = 0.5;

  constructor(tokens: readonly number[]) {
    this.#tokens = [...tokens];
  }

  push(token: number): void {
    this.#tokens.push(token);
  }

  /** Learns that of `guessed` tokens the first `right` were. */
  judge(guessed: number, right: number): void {
    if (guessed > 0) this.#trust = memory * this.#trust + (1 - memory) * (right / guessed);
  }

  /** Up to `most` tokens that may follow; none when the end was not seen before, fewer while guesses are wrong. */
  guess(most: number): number[] {
    const tokens = this.#tokens;
    const trusted = this.#trust >= worthIt;
    const count = trusted ? most : Math.min(most, probe.tokens);
    if (count <= 0 || (!trusted && tokens.length % probe.every !== 0)) return [];
    // The end itself is not looked up against itself, so its n-grams are indexed once more text follows.
    for (; this.#indexed < tokens.length; this.#indexed++)
      for (let n = shortest; n <= longest; n++)
        if (this.#indexed >= n) this.#seen.set(tokens.slice(this.#indexed - n, this.#indexed).join(), this.#indexed);
    for (let n = longest; n >= shortest; n--) {
      const after = tokens.length >= n ? this.#seen.get(tokens.slice(-n).join()) : undefined;
      if (after !== undefined && after < tokens.length) return tokens.slice(after, after + count);
    }
    return [];
  }
}
