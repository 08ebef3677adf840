import { keyOf, type Outcome, type PairRow, type PreferenceRow, pairContent, plainJson, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import type { Principle } from "../constitution/index.ts";
import type { Choice, Question, Said } from "../judge/index.ts";
import { type FirstVerdict, lookers, worseOf } from "./constitution-first.ts";
import type { LabelSettings } from "./label-settings.ts";

const saidSchema = z.object({
  format: z.string(),
  verdicts: z.array(z.union([z.number(), z.string()])),
  texts: z.array(z.string()),
  unread: z.int(),
  distribution: z.array(z.number()).optional(),
});

/** One reading of the letters, or of a judge's verdicts, as `explanation` holds it. */
export const readingSchema = z.object({
  step: z.literal("reading"),
  principle: z.string(),
  /** Which response stood as (A). */
  first: z.enum(["a", "b"]),
  /** Of the letters, where they were read from them. */
  logprobs: z.tuple([z.number(), z.number()]).optional(),
  /** How often which letter was said, where answers were sampled. */
  letters: z.object({ A: z.int(), B: z.int(), tie: z.int(), unread: z.int() }).optional(),
  /** What a judge said, every text of it; of each reply where it scores them one by one. */
  judged: z.array(saidSchema).optional(),
  /** That `a` is better, before clamping. */
  p: z.number(),
  reasoning: z.string().optional(),
});
export type Reading = z.output<typeof readingSchema>;

/** The readings among the steps of an explanation. */
export function readingsOf(explanation: readonly unknown[]): Reading[] {
  return explanation.flatMap((step) => readingSchema.safeParse(step).data ?? []);
}

/** An answer to a question about a pair: of letters, or of a judge. */
export type Heard = Choice | { readonly by: "judge"; readonly p: number; readonly said: readonly Said[] };

function howRead(choice: Heard): Partial<Reading> {
  if (choice.by === "logprobs") return { logprobs: [...choice.logprobs] };
  return choice.by === "letters" ? { letters: choice.letters } : { judged: [...choice.said] };
}

export interface Facts {
  readonly labeller: LanguageModel;
  readonly critic: LanguageModel;
  readonly constitution: string;
  readonly settings: LabelSettings;
  readonly seed: number;
}

/** A question about a pair, under one principle and in one order. */
export interface PairQuestion {
  readonly pair: LabelledPair;
  readonly principle: Principle;
  readonly first: "a" | "b";
  readonly question: Question;
  /** Equal for equal questions. */
  readonly key: string;
}

/** A pair while its label comes about. */
export class LabelledPair {
  readonly row: PairRow;
  readonly principles: readonly Principle[];
  aside: string | undefined;
  #verdict: FirstVerdict | undefined;
  #weight = 0;
  readonly #readings: Reading[] = [];

  constructor(row: PairRow, principles: readonly Principle[]) {
    this.row = row;
    this.principles = principles;
    if (row.a.trim() === row.b.trim()) this.aside = "the responses are equal";
  }

  /** Whether nobody has to be asked. */
  get settled(): boolean {
    return this.aside !== undefined || this.#weight === 1;
  }

  setAside(why: string): void {
    this.aside ??= why;
  }

  takeVerdict(verdict: FirstVerdict, { downWeight }: LabelSettings["constitutionFirst"]): void {
    this.#verdict = verdict;
    if (verdict.refused !== undefined) this.setAside(verdict.refused);
    else if (verdict.finding === "both severely") this.setAside("both responses violate the constitution severely");
    else if (worseOf(verdict.finding) !== undefined) this.#weight = downWeight;
  }

  questions({ swap }: Pick<LabelSettings, "swap">): PairQuestion[] {
    return this.principles.flatMap((principle) =>
      questionsOf(this.row, principle, swap ? ["a", "b"] : ["a"]).map(({ first, question }): PairQuestion => {
        return { pair: this, principle, first, question, key: keyOf(question) };
      }),
    );
  }

  read({
    principle,
    first,
    choice,
    reasoning,
  }: Pick<Reading, "principle" | "first"> & { choice: Heard; reasoning?: string | undefined }): void {
    this.#readings.push({
      step: "reading",
      principle,
      first,
      ...howRead(choice),
      p: first === "a" ? choice.p : 1 - choice.p,
      ...(reasoning === undefined ? {} : { reasoning }),
    });
  }

  /** The mean of the readings, of which each principle and each order has equally many. */
  #label({ method, cot }: LabelSettings): number | undefined {
    const [low, high] = method === "cot" ? cot.clamp : [0, 1];
    const read = this.#readings.map(({ p }) => Math.min(Math.max(p, low), high));
    return read.length === 0 ? undefined : read.reduce((sum, p) => sum + p, 0) / read.length;
  }

  outcome({ labeller, critic, constitution, settings, seed }: Facts): Outcome<PreferenceRow> {
    const { id, prompt, a, b, origin } = this.row;
    const input = { input: id };
    const asked = this.#label(settings);
    const target = this.#verdict && worseOf(this.#verdict.finding) === "b" ? 1 : 0;
    const p = this.#weight === 1 ? target : asked === undefined ? undefined : asked + this.#weight * (target - asked);
    if (this.aside !== undefined || p === undefined)
      return { ...input, rows: [], aside: this.aside ?? "the labeller gave no reading" };
    const byCheck = this.#weight === 1;
    const explanation = [
      ...(this.#verdict ? [{ step: "constitution", ...this.#verdict.record, finding: this.#verdict.finding }] : []),
      // In one order whatever order the answers came in.
      ...this.#readings.sort((x, y) => (orderOf(x) < orderOf(y) ? -1 : 1)),
      {
        step: "label",
        p,
        ...(asked === undefined ? {} : { asked }),
        ...(this.#weight > 0 ? { downWeight: this.#weight } : {}),
      },
    ];
    const label = byCheck ? "check" : "ai";
    const row: PreferenceRow = {
      id: rowId("preference", prompt, a, b, p, label),
      ...pairContent(this.row),
      p,
      weight: 1,
      label,
      explanation: plainJson(explanation) as PreferenceRow["explanation"],
      origin: {
        ...origin,
        models: {
          ...origin.models,
          ...(byCheck ? {} : { labeller: labeller.id }),
          ...(lookers(settings.constitutionFirst).critic ? { critic: critic.id } : {}),
        },
        constitution,
        principles: this.principles.map((principle) => principle.id),
        seed,
        parents: [id],
      },
    };
    return { ...input, rows: [row] };
  }
}

function orderOf({ principle, first, reasoning = "" }: Reading): string {
  return JSON.stringify([principle, first, reasoning]);
}

/** The question of a principle about a pair, once for each response that is to stand as (A). */
export function questionsOf(
  { prompt, a, b }: Pick<PairRow, "prompt" | "a" | "b">,
  { preferenceQuestion: question }: Principle,
  orders: readonly ("a" | "b")[],
): { readonly first: "a" | "b"; readonly question: Question }[] {
  return orders.map((first) => ({ first, question: { prompt, question, options: first === "a" ? [a, b] : [b, a] } }));
}
