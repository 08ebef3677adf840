/** A set of row ids (16 hexadecimal digits) that holds 64 bits for each: about 16 MB for a million. */
export class IdSet {
  #slots = new Uint32Array(2 * 1024); // pairs of words; 0, 0 is a free slot
  #size = 0;

  get size(): number {
    return this.#size;
  }

  /** Adds an id. @returns whether it was new */
  add(id: string): boolean {
    const high = Number.parseInt(id.slice(0, 8), 16);
    // An id of zeros would look free; it shares its place with one other id of 2^64.
    const low = Number.parseInt(id.slice(8), 16) || (high === 0 ? 1 : 0);
    if (!this.#put(high, low)) return false;
    this.#size++;
    if (this.#size * 3 > this.#slots.length) this.#grow();
    return true;
  }

  #put(high: number, low: number): boolean {
    const slots = this.#slots;
    const mask = slots.length / 2 - 1;
    for (let i = low & mask; ; i = (i + 1) & mask) {
      if (slots[2 * i] === high && slots[2 * i + 1] === low) return false;
      if (slots[2 * i] === 0 && slots[2 * i + 1] === 0) {
        slots[2 * i] = high;
        slots[2 * i + 1] = low;
        return true;
      }
    }
  }

  #grow(): void {
    const old = this.#slots;
    this.#slots = new Uint32Array(2 * old.length);
    for (let i = 0; i < old.length; i += 2) if (old[i] !== 0 || old[i + 1] !== 0) this.#put(old[i]!, old[i + 1]!);
  }
}
