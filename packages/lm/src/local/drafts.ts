/** Shortest and longest ends of a text that are looked up. */
const [shortest, longest] = [2, 4];

/** Tokens guessed at once: at first, at most, and how many tokens a text that disappoints is left alone. */
const [firstGuess, longestGuess, pause] = [4, 8, 16];

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
  /** Tokens guessed at once now: more while guesses are right, none for a while where they are not. */
  #allowed = firstGuess;
  #resumeAt = 0;

  constructor(tokens: readonly number[]) {
    this.#tokens = [...tokens];
  }

  push(token: number): void {
    this.#tokens.push(token);
  }

  /** Learns that of `guessed` tokens the first `right` were. */
  judge(guessed: number, right: number): void {
    if (guessed === 0) return;
    if (right === guessed) this.#allowed = Math.min(longestGuess, 2 * this.#allowed);
    else this.#allowed = Math.max(1, right);
    if (right === 0) this.#resumeAt = this.#tokens.length + pause;
  }

  /** Up to `most` tokens that may follow; none when the end was not seen before, or while guesses were wrong of late. */
  guess(most: number): number[] {
    const tokens = this.#tokens;
    const count = Math.min(most, this.#allowed);
    if (count <= 0 || tokens.length < this.#resumeAt) return [];
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
