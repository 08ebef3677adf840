import { hashOf } from "@tenet/runs";
import type { Kept, Memo, StageCall } from "../ask.ts";

/** What a model said of a question: a number, or why there is none. */
export type Said = number | { readonly unanswered: string };

export interface AskedOnceOptions<Question> {
  /** Everything that an answer depends on: whom is asked, and what. */
  keyOf(question: Question): unknown;
  /** Asks, in any order. */
  ask(
    questions: readonly Question[],
    call: StageCall,
  ): AsyncIterable<{ readonly request: number } & ({ readonly value: number } | { readonly unanswered: string })>;
  /** An answer as a row that people can read. */
  rowOf(question: Question, value: number): Kept["rows"][number];
  /** The number of such a row. */
  numberOf(row: Kept["rows"][number]): number;
  /** Keeps answers over processes and runs; without it they are known to this one alone. */
  readonly memo?: Memo | undefined;
  /**
   * Answers are kept all at once, not as they come: those of a local model depend, in the last bit, on what is computed beside them, and a
   * run that was killed is to end as one that was not.
   */
  readonly together: boolean;
}

/** Where a batch of questions stands. */
export interface Round {
  /** Of sampling; −1 − n for a look at the model after n of them. Places of answers are a function of it. */
  readonly round: number;
  /** Share of the questions that may have no answer: one that is refused is kept as refused only where they are no more. */
  readonly most: number;
}

/** Answers of a round, at most: places are numbered without counting those of others. */
const stride = 2 ** 24;

/** Asks each distinct question once, whoever wants its answer and however often. */
export class AskedOnce<Question> {
  readonly #options: AskedOnceOptions<Question>;
  /** Of every question that is being asked or was, by key. */
  readonly #answers = new Map<string, Promise<Said>>();

  constructor(options: AskedOnceOptions<Question>) {
    this.#options = options;
  }

  /** The answers, in the questions' order. Errors: those of asking. */
  async answers(questions: readonly Question[], round: Round, call: StageCall = {}): Promise<Said[]> {
    const keys = questions.map((question) => hashOf(this.#options.keyOf(question)));
    const fresh = new Map<string, Question>();
    for (const [i, key] of keys.entries()) if (!this.#answers.has(key)) fresh.set(key, questions[i]!);
    if (fresh.size > 0) {
      const asking = this.#ask(fresh, round, call);
      for (const key of fresh.keys()) {
        const own = asking.then((said) => said.get(key)!);
        this.#answers.set(key, own);
        // Whoever awaits it is told; what failed may be asked again.
        own.catch(() => this.#answers.delete(key));
      }
      await asking;
    }
    return Promise.all(keys.map((key) => this.#answers.get(key)!));
  }

  async #ask(
    fresh: ReadonlyMap<string, Question>,
    { round, most }: Round,
    call: StageCall,
  ): Promise<Map<string, Said>> {
    const { memo, ask, rowOf, numberOf, together } = this.#options;
    const base = (round < 0 ? 2 * (-1 - round) + 1 : 2 * round) * stride;
    const places = [...fresh.keys()].map((key, i) => ({ key, ordinal: base + i }));
    const said = new Map<string, Said>();
    for (const [key, { rows, aside }] of memo?.recall(places) ?? [])
      said.set(key, aside === undefined ? numberOf(rows[0]!) : { unanswered: aside });
    const left = places.filter(({ key }) => !said.has(key));
    const waiting: Kept[] = [];
    const refused: Kept[] = [];
    const asked = left.map(({ key }) => fresh.get(key)!);
    for await (const answer of asked.length > 0 ? ask(asked, call) : []) {
      const place = left[answer.request]!;
      if ("unanswered" in answer) {
        const { unanswered: aside } = answer;
        said.set(place.key, { unanswered: aside });
        refused.push({ ...place, input: place.key.slice(0, 16), rows: [], aside });
        continue;
      }
      said.set(place.key, answer.value);
      const row = rowOf(asked[answer.request]!, answer.value);
      waiting.push({ ...place, input: row.id, rows: [row] });
      if (!together) memo?.keep(waiting.splice(0));
    }
    if (refused.length <= most * places.length) waiting.push(...refused);
    if (waiting.length > 0) memo?.keep(waiting);
    return said;
  }
}
