import { groupBy, type JsonValue, type Outcome, type PairRow, type PreferenceRow, plainJson, rowId } from "@tenet/data";
import type { LanguageModel, Message } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall, scoreEach } from "../ask.ts";
import { type Constitution, constitutionHash, drawPrinciples, type Principle } from "../constitution/index.ts";
import { type FirstVerdict, firstVerdicts, lookers } from "./constitution-first.ts";
import { checkedHashes } from "./examples.ts";
import { type LabelSettings, labelSettingsSchema } from "./label-settings.ts";
import { pairKey } from "./pair-key.ts";
import {
  type AskingWay,
  askingWay,
  choicePrompt,
  demonstrationTurns,
  type LabelDemonstration,
  letters,
  type Question,
  reasoningPrompt,
  reasoningStop,
} from "./question.ts";

export interface LabelOptions extends z.input<typeof labelSettingsSchema> {
  readonly constitution: Constitution;
  readonly labeller: LanguageModel;
  /** Looks for violations where `constitutionFirst` wants a critic. Default: the labeller. */
  readonly critic?: LanguageModel | undefined;
  /** Right answers stand on (A) and (B) in turn, so an even number is balanced. */
  readonly demonstrations?: readonly LabelDemonstration[];
  readonly seed: number;
}

/** One reading of the letters, as `explanation` holds it. */
export const readingSchema = z.object({
  step: z.literal("reading"),
  principle: z.string(),
  /** Which response stood as (A). */
  first: z.enum(["a", "b"]),
  logprobs: z.tuple([z.number(), z.number()]),
  /** That `a` is better, before clamping. */
  p: z.number(),
  reasoning: z.string().optional(),
});
export type Reading = z.output<typeof readingSchema>;

/** What the label of a pair depends on besides the pair, the models and the seed. */
export function labelDependsOn(row: PairRow, options: Omit<LabelOptions, "labeller" | "critic">): JsonValue {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  const { checks, critic } = lookers(settings.constitutionFirst);
  return plainJson({
    settings,
    demonstrations,
    principles: drawFor(row, constitution, settings, seed).map(({ id, text, preferenceQuestion }) => [
      id,
      preferenceQuestion,
      critic ? text : null,
    ]),
    checks: checks ? checkedHashes(constitution) : [],
  });
}

/**
 * Soft labels of pairs by multiple choice. METHODS §3.
 *
 * p = σ(ℓ_A − ℓ_B) from the log-probabilities of the two letters; with `swap` p = ½(p_AB + 1 − p_BA); the mean over the drawn
 * principles and, for `cot`, over the samples, each clamped. A pair that stands in `rows` several times is asked once, and so
 * is any question that two pairs have in common: principles and reasonings are drawn by content, not by row.
 * Yields each pair's outcome as soon as its readings are there. Set aside: pairs of equal responses, pairs dropped by
 * `constitutionFirst`, pairs whose question the model cannot take or for which neither letter is among its likeliest tokens.
 * Errors: CapabilityError for a labeller that reports no log-probabilities; those of `LanguageModel`.
 */
export async function* labelPairs(
  rows: readonly PairRow[],
  options: LabelOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<PreferenceRow>> {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  const { labeller, critic = labeller } = options;
  const way = askingWay(await labeller.capabilities(call.signal ? { signal: call.signal } : {}), labeller.id);
  const shared = sharedTurns(settings, demonstrations);
  const facts: Facts = { labeller, critic, constitution: constitutionHash(constitution), settings, seed };

  const pairs = rows.map((row) => new LabelledPair(row, drawFor(row, constitution, settings, seed)));
  const verdicts = await firstVerdicts(
    pairs.filter(({ aside }) => aside === undefined),
    { constitution, critic, settings: settings.constitutionFirst, call },
  );
  for (const [pair, verdict] of verdicts) pair.takeVerdict(verdict, settings.constitutionFirst);

  // Equal questions are one; so a pair that stands here twice is asked once.
  const asking = pairs.filter(({ settled }) => !settled);
  const questions = groupBy(
    asking.flatMap((pair) => pair.questions(settings)),
    ({ key }) => key,
  );
  const thoughts =
    settings.method === "cot" ? await reason(questions, { labeller, way, shared, settings, seed, call }) : undefined;
  for (const pair of pairs) if (pair.settled) yield pair.outcome(facts);

  const left = new Map<LabelledPair, number>();
  const requests: { prompt: ReturnType<typeof choicePrompt>; asked: readonly PairQuestion[]; reasoning?: string }[] =
    [];
  for (const [key, group] of questions) {
    const asked = group.filter(({ pair }) => !pair.settled);
    const samples = asked.length === 0 ? [] : thoughts ? thoughts.get(key)! : [undefined];
    for (const reasoning of samples) {
      const prompt = choicePrompt(shared, asked[0]!.question, way, reasoning);
      requests.push({ prompt, asked, ...(reasoning === undefined ? {} : { reasoning }) });
      for (const { pair } of asked) left.set(pair, (left.get(pair) ?? 0) + 1);
    }
  }
  const scoring = requests.map(({ prompt }) => ({ prompt, continuations: [...letters] }));
  for await (const answer of scoreEach(labeller, scoring, call)) {
    const { asked, reasoning } = requests[answer.request]!;
    for (const { pair, principle, first } of asked) {
      if ("refused" in answer) pair.setAside(answer.refused);
      else if (answer.value.every(({ upperBound }) => upperBound))
        pair.setAside("neither letter is among the labeller's likeliest tokens");
      else {
        const [a, b] = [answer.value[0]!.logprob, answer.value[1]!.logprob];
        pair.read({ principle, first, logprobs: [a, b], reasoning });
      }
      left.set(pair, left.get(pair)! - 1);
      if (left.get(pair) === 0) yield pair.outcome(facts);
    }
  }
}

interface Facts {
  readonly labeller: LanguageModel;
  readonly critic: LanguageModel;
  readonly constitution: string;
  readonly settings: LabelSettings;
  readonly seed: number;
}

/** A question about a pair, under one principle and in one order. */
interface PairQuestion {
  readonly pair: LabelledPair;
  readonly principle: string;
  readonly first: "a" | "b";
  readonly question: Question;
  /** Equal for equal questions. */
  readonly key: string;
}

/** A pair while its label comes about. */
class LabelledPair {
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
    else if (verdict.finding === "only a" || verdict.finding === "only b") this.#weight = downWeight;
  }

  questions({ swap }: LabelSettings): PairQuestion[] {
    return this.principles.flatMap((principle) =>
      questionsOf(this.row, principle, swap ? ["a", "b"] : ["a"]).map(({ first, question }): PairQuestion => {
        return { pair: this, principle: principle.id, first, question, key: JSON.stringify(question) };
      }),
    );
  }

  read({ principle, first, logprobs, reasoning }: Omit<Reading, "step" | "p">): void {
    const pFirst = 1 / (1 + Math.exp(logprobs[1] - logprobs[0]));
    const p = first === "a" ? pFirst : 1 - pFirst;
    this.#readings.push({
      step: "reading",
      principle,
      first,
      logprobs,
      p,
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
    const { id, prompt, a, b, cut, origin } = this.row;
    const input = { input: id };
    const asked = this.#label(settings);
    const target = this.#verdict?.finding === "only b" ? 1 : 0;
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
      prompt,
      a,
      b,
      ...(cut && { cut }),
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

/** Reasonings by question; a question whose reasoning cannot be had sets its pairs aside. */
async function reason(
  questions: ReadonlyMap<string, readonly PairQuestion[]>,
  {
    labeller,
    way,
    shared,
    settings: { cot },
    seed,
    call,
  }: {
    readonly labeller: LanguageModel;
    readonly way: AskingWay;
    readonly shared: readonly Message[];
    readonly settings: LabelSettings;
    readonly seed: number;
    readonly call: StageCall;
  },
): Promise<Map<string, string[]>> {
  const asked = [...questions.values()];
  const requests = asked.map(([first]) => ({
    prompt: reasoningPrompt(shared, first!.question, way),
    sampling: { ...cot.sampling, n: cot.samples, seed, stop: [reasoningStop] },
    key: `reason:${first!.key}`,
  }));
  const thoughts = new Map<string, string[]>();
  for await (const answer of generateEach(labeller, requests, call)) {
    const [first] = asked[answer.request]!;
    const texts = "refused" in answer ? [] : answer.value.map(({ text }) => text.trim()).filter((text) => text !== "");
    thoughts.set(first!.key, texts);
    if (texts.length > 0) continue;
    for (const { pair } of asked[answer.request]!)
      pair.setAside("refused" in answer ? answer.refused : "the labeller's reasoning is empty");
  }
  return thoughts;
}

/** The turns before every question: the system prompt and the demonstrations. */
export function sharedTurns(settings: LabelSettings, demonstrations: readonly LabelDemonstration[]): Message[] {
  return [
    ...(settings.system === undefined ? [] : [{ role: "system" as const, content: settings.system }]),
    ...demonstrationTurns(demonstrations, { reasoning: settings.method === "cot" }),
  ];
}

/** The question of a principle about a pair, once for each response that is to stand as (A). */
export function questionsOf(
  { prompt, a, b }: Pick<PairRow, "prompt" | "a" | "b">,
  { preferenceQuestion: question }: Principle,
  orders: readonly ("a" | "b")[],
): { readonly first: "a" | "b"; readonly question: Question }[] {
  return orders.map((first) => ({ first, question: { prompt, question, options: first === "a" ? [a, b] : [b, a] } }));
}

/** Principles for a pair, by its content. */
export function drawFor(
  row: Pick<PairRow, "prompt" | "a" | "b">,
  constitution: Constitution,
  settings: Pick<LabelSettings, "principles">,
  seed: number,
) {
  return drawPrinciples(constitution, {
    seed,
    stage: "label",
    item: pairKey(row),
    count: settings.principles,
    use: "preference",
  });
}

type Partly = Omit<LabelOptions, "labeller" | "critic"> & Partial<LabelOptions>;

function resolve({ constitution, labeller: _, critic: __, seed, demonstrations = [], ...settings }: Partly) {
  return { constitution, seed, demonstrations, settings: labelSettingsSchema.parse(settings) };
}
