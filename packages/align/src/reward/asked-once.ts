import { hashOf } from "@tenet/runs";
import type { Kept, Memo, Place, StageCall } from "../ask.ts";

/** What a model said of a question: a number, or why there is none. */
export type Said = number | { readonly unanswered: string };

export interface AskedOnceOptions<Question> {
  /** Everything that an answer depends on: whom is asked, and what. */
  keyOf(question: Question): unknown;
  /** Asks, in any order. `beside` is what is to stand in the row besides the number. */
  ask(
    questions: readonly Question[],
    call: StageCall,
  ): AsyncIterable<
    { readonly request: number } & (
      | { readonly value: number; readonly beside?: Readonly<Record<string, unknown>> }
      | { readonly unanswered: string }
    )
  >;
  /** An answer as a row that people can read. */
  rowOf(question: Question, value: number, beside?: Readonly<Record<string, unknown>>): Kept["rows"][number];
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

/** Of which questions are asked together. The places of their answers are a function of it and of their order alone. */
export interface Batch {
  /** Of sampling; −1 − n for a look at the model after n of them. */
  readonly round: number;
  /** Which of those who ask in a round it is, below `askers`. */
  readonly asker: number;
}

const askers = 4;
/** Questions of a batch, at most. */
const stride = 2 ** 24;

interface Asked<Question> extends Place {
  readonly question: Question;
}

/**
 * Asks each distinct question once, whoever wants its answer and however often. A question without an answer is asked again by the next
 * process: what made it fail may have been mended.
 */
export class AskedOnce<Question> {
  readonly #options: AskedOnceOptions<Question>;
  /** Of every question that is being asked or was, by key. */
  readonly #answers = new Map<string, Promise<Said>>();

  constructor(options: AskedOnceOptions<Question>) {
    this.#options = options;
  }

  /** The answers, in the questions' order. Errors: those of asking. */
  async answers(questions: readonly Question[], { round, asker }: Batch, call: StageCall = {}): Promise<Said[]> {
    const keys = questions.map((question) => hashOf(this.#options.keyOf(question)));
    const base = ((round < 0 ? 2 * (-1 - round) + 1 : 2 * round) * askers + asker) * stride;
    const fresh = new Map<string, Asked<Question>>();
    for (const [i, key] of keys.entries())
      if (!this.#answers.has(key) && !fresh.has(key))
        fresh.set(key, { question: questions[i]!, key, ordinal: base + i });
    if (fresh.size > 0) {
      const asking = this.#ask([...fresh.values()], call);
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

  async #ask(fresh: readonly Asked<Question>[], call: StageCall): Promise<Map<string, Said>> {
    const { memo, ask, rowOf, numberOf, together } = this.#options;
    const said = new Map<string, Said>();
    for (const [key, { rows }] of memo?.recall(fresh) ?? []) said.set(key, numberOf(rows[0]!));
    const left = fresh.filter(({ key }) => !said.has(key));
    const waiting: Kept[] = [];
    const questions = left.map(({ question }) => question);
    for await (const answer of left.length > 0 ? ask(questions, call) : []) {
      const { question, key, ordinal } = left[answer.request]!;
      if ("unanswered" in answer) {
        said.set(key, { unanswered: answer.unanswered });
        continue;
      }
      said.set(key, answer.value);
      const row = rowOf(question, answer.value, answer.beside);
      waiting.push({ key, ordinal, input: row.id, rows: [row] });
      if (!together) memo?.keep(waiting.splice(0));
    }
    if (waiting.length > 0) memo?.keep(waiting);
    return said;
  }
}
