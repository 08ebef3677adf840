import { type CompileOptions, compile, type Outputs, type Program } from "@tenet/tensor";

/** Programs of one graph for several row lengths, each compiled when it is first needed. */
export class Programs<O extends Outputs> {
  readonly #build: (time: number) => O;
  readonly #options: CompileOptions;
  readonly #compiled = new Map<number, Promise<Program<O>>>();

  constructor(build: (time: number) => O, { device, threads }: CompileOptions) {
    this.#build = build;
    this.#options = { ...(device === undefined ? {} : { device }), ...(threads === undefined ? {} : { threads }) };
  }

  /** The program for rows of a length. */
  at(time: number): Promise<Program<O>> {
    let program = this.#compiled.get(time);
    if (!program) {
      program = compile(() => this.#build(time), this.#options);
      this.#compiled.set(time, program);
    }
    return program;
  }

  /** Frees them; they are compiled again when needed again. */
  async close(): Promise<void> {
    const programs = [...this.#compiled.values()];
    this.#compiled.clear();
    for (const program of programs) await (await program).dispose();
  }
}
