/** What a pool keeps: a compiled program, as far as a pool knows it. */
export interface Disposable {
  dispose(): Promise<void>;
}

interface Kept<P> {
  readonly program: Promise<P>;
  /** Calls under way. */
  users: number;
}

/**
 * Compiled programs by key, each compiled when it is first needed. At most so many stay: each maps weights and holds what it rearranged of
 * them. The one unused longest is freed when another is to be compiled, and compiled again when it is needed again; results are the same.
 */
export class ProgramPool<P extends Disposable> {
  readonly #most: number;
  /** The one used last is last. */
  readonly #kept = new Map<string, Kept<P>>();

  constructor(most: number) {
    this.#most = most;
  }

  /** Works with a program, which stays for as long. Errors: those of compiling it and of the work. */
  async use<Result>(key: string, compile: () => Promise<P>, work: (program: P) => Promise<Result>): Promise<Result> {
    let kept = this.#kept.get(key);
    if (!kept) {
      await this.#makeRoom();
      // Another call may have compiled it meanwhile.
      kept = this.#kept.get(key) ?? { program: compile(), users: 0 };
    }
    this.#kept.delete(key);
    this.#kept.set(key, kept);
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

  async #makeRoom(): Promise<void> {
    while (this.#kept.size >= this.#most) {
      const idle = [...this.#kept].find(([, { users }]) => users === 0);
      // Those that are at work at the same time stay until one of them is no more.
      if (!idle) return;
      this.#kept.delete(idle[0]);
      await (await idle[1].program).dispose();
    }
  }
}
