import { type CompileOptions, compile, type Outputs, type Program, ProgramPool } from "@tenet/tensor";

/** Row lengths of one graph whose programs stay. More occur where lists of texts have their own; of those, the ones that take turns. */
const kept = { most: 2, patience: 16 };

/** Programs of one graph for several row lengths, each compiled when it is first needed. */
export class Programs<O extends Outputs> {
  readonly #build: (time: number) => O;
  readonly #options: CompileOptions;
  readonly #pool = new ProgramPool<Program<O>>(kept);

  constructor(build: (time: number) => O, options: CompileOptions) {
    this.#build = build;
    this.#options = options;
  }

  /** Works with the program for rows of a length. */
  with<Result>(time: number, work: (program: Program<O>) => Promise<Result>): Promise<Result> {
    return this.#pool.use(`${time}`, () => compile(() => this.#build(time), this.#options), work);
  }

  /** Frees them; they are compiled again when needed again. */
  close(): Promise<void> {
    return this.#pool.close();
  }
}
