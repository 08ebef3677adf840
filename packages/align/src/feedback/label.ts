import { groupBy, type JsonValue, keyOf, type Outcome, type PairRow, type PreferenceRow, plainJson } from "@tenet/data";
import type { LanguageModel, Message } from "@tenet/lm";
import type { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import { asAsked, type Constitution, constitutionHash, drawPrinciples, type Principle } from "../constitution/index.ts";
import {
  type Asked,
  type AskingWay,
  askingWay,
  choicePrompt,
  chooseEach,
  compareByJudge,
  demonstrationTurns,
  generalRubric,
  type JudgeAsking,
  type LabelDemonstration,
  reasoningPrompt,
  reasoningStop,
  rubricOf,
  showsRubric,
  sideBySide,
} from "../judge/index.ts";
import { firstVerdicts, lookers } from "./constitution-first.ts";
import { checkedHashes } from "./examples.ts";
import { exampleSource } from "./known-examples.ts";
import { type LabelSettings, labelSettingsSchema } from "./label-settings.ts";
import { type Facts, type Heard, LabelledPair, type PairQuestion } from "./labelled-pair.ts";
import { pairKey } from "./pair-key.ts";

export interface LabelOptions extends z.input<typeof labelSettingsSchema> {
  readonly constitution: Constitution;
  readonly labeller: LanguageModel;
  /** Looks for violations where `constitutionFirst` wants a critic. Default: the labeller. */
  readonly critic?: LanguageModel | undefined;
  /** Right answers stand on (A) and (B) in turn, so an even number is balanced. */
  readonly demonstrations?: readonly LabelDemonstration[];
  readonly seed: number;
}

/** What the label of a pair depends on besides the pair, the models and the seed. */
export function labelDependsOn(row: PairRow, options: Omit<LabelOptions, "labeller" | "critic">): JsonValue {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  const { checks, critic } = lookers(settings.constitutionFirst);
  return plainJson({
    settings,
    demonstrations,
    principles: drawFor(row, constitution, settings, seed).map((principle) => {
      const { id, preferenceQuestion, authority } = principle;
      const asked = settings.method === "judge" ? judgedBy(principle, settings.judge!) : preferenceQuestion;
      return [id, asked, critic ? asAsked(principle) : null, ...(critic && authority !== undefined ? [authority] : [])];
    }),
    checks: checks ? checkedHashes(constitution) : [],
  });
}

/**
 * Soft labels of pairs by multiple choice, or by a judge of the literature (`compareByJudge`). METHODS §3.
 *
 * p = σ(ℓ_A − ℓ_B) from the log-probabilities of the two letters, or the share of (A) among sampled answers where the labeller reports none
 * (`chooseEach`); with `swap` p = ½(p_AB + 1 − p_BA); the mean over the drawn
 * principles and, for `cot`, over the samples, each clamped. A pair that stands in `rows` several times is asked once, and so
 * is any question that two pairs have in common: principles and reasonings are drawn by content, not by row.
 * Yields each pair's outcome as soon as its readings are there. Set aside: pairs of equal responses, pairs dropped by
 * `constitutionFirst`, pairs whose question the model cannot take, and pairs with an answer that cannot be read.
 * Errors: those of `LanguageModel`.
 */
export async function* labelPairs(
  rows: readonly PairRow[],
  options: LabelOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<PreferenceRow>> {
  const { settings, constitution, demonstrations, seed } = resolve(options);
  const { labeller, critic = labeller } = options;
  const way = askingWay(await labeller.capabilities(call.signal ? { signal: call.signal } : {}));
  const asking = { seed, sampled: settings.letters };
  const shared = sharedTurns(settings, demonstrations);
  const facts: Facts = { labeller, critic, constitution: constitutionHash(constitution), settings, seed };

  const pairs = rows.map((row) => new LabelledPair(row, drawFor(row, constitution, settings, seed)));
  const verdicts = await firstVerdicts(
    pairs.filter(({ aside }) => aside === undefined),
    { constitution, critic, settings: settings.constitutionFirst, asking, call },
  );
  for (const [pair, verdict] of verdicts) pair.takeVerdict(verdict, settings.constitutionFirst);

  const open = pairs.filter(({ settled }) => !settled);
  const { requests, answers } =
    settings.method === "judge"
      ? byJudge(open, { labeller, settings, seed, call })
      : await byChoice(open, { labeller, settings, seed, call, shared, way });
  for (const pair of pairs) if (pair.settled) yield pair.outcome(facts);

  const left = new Map<LabelledPair, number>();
  for (const { asked } of requests) for (const { pair } of asked) left.set(pair, (left.get(pair) ?? 0) + 1);
  for await (const answer of answers) {
    const { asked, reasoning } = requests[answer.request]!;
    for (const { pair, principle, first } of asked) {
      if ("refused" in answer) pair.setAside(answer.refused);
      else if ("unread" in answer) pair.setAside(`labeller: ${answer.unread}`);
      else pair.read({ principle: nameOf(principle, settings), first, choice: answer.choice, reasoning });
      left.set(pair, left.get(pair)! - 1);
      if (left.get(pair) === 0) yield pair.outcome(facts);
    }
  }
}

interface Request {
  /** The questions that it answers. */
  readonly asked: readonly PairQuestion[];
  readonly reasoning?: string | undefined;
}

/** What is asked about pairs, equal questions once, and what comes of it. */
interface Asking {
  readonly requests: readonly Request[];
  readonly answers: AsyncIterable<Answered>;
}
type Answered = { readonly request: number } & ({ choice: Heard } | { unread: string } | { refused: string });

interface Labelling {
  readonly labeller: LanguageModel;
  readonly settings: LabelSettings;
  readonly seed: number;
  readonly call: StageCall;
}

/** By the letters of the options, behind reasoning where the method has it reason. */
async function byChoice(
  open: readonly LabelledPair[],
  asking: Labelling & { readonly shared: readonly Message[]; readonly way: AskingWay },
): Promise<Asking> {
  const { labeller, settings, seed, call, shared, way } = asking;
  const questions = groupBy(
    open.flatMap((pair) => pair.questions(settings)),
    ({ key }) => key,
  );
  const thoughts = settings.method === "cot" ? await reason(questions, asking) : undefined;
  const requests: (Request & Asked)[] = [];
  for (const [key, group] of questions) {
    const asked = group.filter(({ pair }) => !pair.settled);
    const samples = asked.length === 0 ? [] : thoughts ? thoughts.get(key)! : [undefined];
    for (const reasoning of samples) {
      const { question } = asked[0]!;
      requests.push({
        prompt: choicePrompt(shared, question, way, reasoning),
        options: question.options,
        key: reasoning === undefined ? key : JSON.stringify([key, reasoning]),
        asked,
        reasoning,
      });
    }
  }
  return { requests, answers: chooseEach(labeller, requests, { seed, sampled: settings.letters }, call) };
}

/** By a judge's own format. One that scores replies one by one has no order to exchange. */
function byJudge(open: readonly LabelledPair[], { labeller, settings, seed, call }: Labelling): Asking {
  const judge = settings.judge!;
  const cases = open.flatMap((pair) =>
    pair.questions({ swap: settings.swap && sideBySide(judge) }).map((asked) => {
      const { prompt, options } = asked.question;
      const shown = { prompt, responses: options, rubric: judgedBy(asked.principle, judge) };
      return { shown, asked, key: keyOf(shown) };
    }),
  );
  const requests = [...groupBy(cases, ({ key }) => key)].map(([key, group]) => {
    return { key, shown: group[0]!.shown, asked: group.map(({ asked }) => asked) };
  });
  async function* answers(): AsyncGenerator<Answered> {
    for await (const answer of compareByJudge(labeller, requests, { ...judge, seed }, call))
      if (!("p" in answer)) yield answer;
      else yield { request: answer.request, choice: { by: "judge" as const, p: answer.p, said: answer.said } };
  }
  return { requests, answers: answers() };
}

/** What a judge is shown of a principle: one without a place for it judges in general. */
function judgedBy(principle: PairQuestion["principle"], judge: JudgeAsking) {
  return showsRubric(judge) ? rubricOf(principle) : generalRubric;
}

/** What a reading was made under: a principle that the judge never saw is none. */
function nameOf({ id }: PairQuestion["principle"], { method, judge }: LabelSettings): string {
  return method === "judge" && !showsRubric(judge!) ? "in general" : id;
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
  }: Labelling & { readonly shared: readonly Message[]; readonly way: AskingWay },
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

/** Principles for a pair: those that it was made under, where its answer is known under these only; else drawn by its content. */
export function drawFor(
  row: Pick<PairRow, "prompt" | "a" | "b"> & Partial<Pick<PairRow, "origin">>,
  constitution: Constitution,
  settings: Pick<LabelSettings, "principles">,
  seed: number,
): Principle[] {
  const under = row.origin?.source === exampleSource ? row.origin.principles : undefined;
  if (under) return constitution.principles.filter(({ id }) => under.includes(id));
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
