/** What a pool keeps: a compiled program, as far as a pool knows it. */
export interface Disposable {
  dispose(): Promise<void>;
}

export interface PoolOptions {
  /** Programs that stay, whether they are used or not. */
  readonly most: number;
  /** Uses of the pool for which further ones stay too: those that take turns are not compiled again and again. */
  readonly patience: number;
}

interface Kept<P> {
  readonly program: Promise<P>;
  /** Calls under way. */
  users: number;
  /** The pool's use in which it was wanted last. */
  last: number;
}

/**
 * Compiled programs by key, each compiled when it is first needed. Each maps weights and holds what it rearranged of them: beyond `most`, the
 * one unused longest is freed once the pool was used `patience` times without it, and compiled again when it is needed again. Results are the
 * same.
 */
export class ProgramPool<P extends Disposable> {
  /** Programs that stay, whether they are used or not. */
  most: number;
  readonly #patience: number;
  /** The one used last is last. */
  readonly #kept = new Map<string, Kept<P>>();
  #uses = 0;

  constructor({ most, patience }: PoolOptions) {
    this.most = most;
    this.#patience = patience;
  }

  /** Works with a program, which stays for as long. Errors: those of compiling it and of the work. */
  async use<Result>(key: string, compile: () => Promise<P>, work: (program: P) => Promise<Result>): Promise<Result> {
    this.#uses++;
    await this.#freeUnused(this.#kept.has(key) ? 0 : 1);
    const kept = this.#kept.get(key) ?? { program: compile(), users: 0, last: 0 };
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    kept.last = this.#uses;
    kept.users++;
    try {
      return await work(await kept.program);
    } catch (error) {
      await kept.program.catch(() => this.#kept.delete(key));
      throw error;
    } finally {
      kept.users--;
    }
  }

  /** Frees all of them; they are compiled again when needed again. */
  async close(): Promise<void> {
    const all = [...this.#kept.values()];
    this.#kept.clear();
    for (const { program } of all) await (await program).dispose();
  }

  async #freeUnused(coming: number): Promise<void> {
    while (this.#kept.size + coming > this.most) {
      const unused = [...this.#kept].find(([, { users, last }]) => users === 0 && this.#uses - last > this.#patience);
      if (!unused) return;
      this.#kept.delete(unused[0]);
      await (await unused[1].program).dispose();
    }
  }
}
