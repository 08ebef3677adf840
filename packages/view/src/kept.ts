/** What takes long to make, kept by its name: made once, however many ask meanwhile. What was made first goes first. */
export class Kept<Made> {
  readonly #most: number;
  readonly #made = new Map<string, Promise<Made>>();

  constructor(most: number) {
    this.#most = most;
  }

  of(name: string, make: () => Promise<Made>): Promise<Made> {
    const known = this.#made.get(name);
    if (known) return known;
    if (this.#made.size >= this.#most) this.#made.delete(this.#made.keys().next().value!);
    const making = make();
    this.#made.set(name, making);
    // An error is told to who asked, and tried again for who asks next.
    making.catch(() => this.#made.delete(name));
    return making;
  }
}
