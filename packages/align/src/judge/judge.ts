import { groupBy, keyOf } from "@tenet/data";
import { type LanguageModel, readReply } from "@tenet/lm";
import { type JudgeFormatName, judgeAskingFields } from "@tenet/train";
import { z } from "zod";
import { generateEach, type StageCall } from "../ask.ts";
import { expectedRatings, unreadVerdict } from "./expected.ts";
import { type AbsoluteFormat, type JudgeCase, type RelativeFormat, type Sampling, unshown } from "./formats/format.ts";
import { judgeFormats } from "./formats/index.ts";

const { format, ...others } = judgeAskingFields;

/** How a judge of the literature is asked of pairs and of single replies. */
export const judgeAskingSchema = z
  .strictObject({
    format,
    mode: z
      .enum(["absolute", "relative"])
      .optional()
      .describe(
        "How two replies are compared: by a score of each, or side by side. Side by side by default, where the format can.",
      ),
    ...others,
  })
  .superRefine(({ format, mode }, context) => {
    if (mode === "relative" && comparing(format) === undefined)
      context.addIssue({
        code: "custom",
        path: ["mode"],
        message: `expected "absolute" of ${format}, which scores one reply at a time`,
      });
  });
export type JudgeAsking = z.output<typeof judgeAskingSchema>;

function comparing(format: JudgeFormatName): RelativeFormat | undefined {
  if (format === "d-rlaif") return undefined;
  const formats: { absolute: AbsoluteFormat; relative?: RelativeFormat } = judgeFormats[format];
  return formats.relative;
}

/** Whether two replies are shown side by side, so that their order can matter. */
export function sideBySide({ format, mode }: Pick<JudgeAsking, "format" | "mode">): boolean {
  return mode !== "absolute" && comparing(format) !== undefined;
}

/** Whether the judge is shown what is judged; one that is not judges in general. */
export function showsRubric({ format, mode }: Pick<JudgeAsking, "format" | "mode">): boolean {
  if (format === "d-rlaif") return true;
  return sideBySide({ format, mode }) ? comparing(format)!.rubric : judgeFormats[format].absolute.rubric;
}

/** How many images of a prompt the judge is shown. */
export function imagesShown({ format }: Pick<JudgeAsking, "format">): AbsoluteFormat["images"] {
  return format === "d-rlaif" ? "any" : judgeFormats[format].absolute.images;
}

/** Tokens that a judge writes of a case, at most; none where it is read by log-probabilities. */
export function verdictTokens(asking: JudgeAsking | undefined): number {
  return asking === undefined || asking.format === "d-rlaif" ? 0 : asking.samples * asking.maxTokens;
}

/** What a judge said of one case: a type, since it is JSON in explanations. */
export type Said = {
  format: string;
  /** Scores as given, or letters; in the order of the texts that could be read. */
  verdicts: (number | string)[];
  /** Every text, read or not; none where log-probabilities were read. */
  texts: string[];
  /** Texts in which no verdict could be told. */
  unread: number;
  /** P of each rating from 1 on, where log-probabilities were read. */
  distribution?: number[];
};

export interface Judged<Responses extends readonly string[]> {
  readonly shown: JudgeCase<Responses>;
  /** For its randomness; equal cases may have equal keys. */
  readonly key: string;
}

export type Opinion<Value> = { readonly request: number } & (
  | (Value & { readonly said: Said[] })
  | { readonly unread: string }
  | { readonly refused: string }
);

/**
 * A judge's score of each response, moved to [−1, 1] from the format's range: the mean of its readable verdicts.
 *
 * A text in which no verdict can be told is tried again, as the next sample, up to `retries` times; a case without any is unread. Of a
 * format that is asked greedily, texts after the first are drawn at temperature 1, else they would be the first again. A case whose prompt
 * shows another number of images than the format does is refused, and nobody is asked.
 * Errors: those of `LanguageModel`; CapabilityError for d-RLAIF where it reports no log-probabilities.
 */
export async function* scoreByJudge(
  model: LanguageModel,
  cases: readonly Judged<readonly [string]>[],
  asking: JudgeAsking & { readonly seed: number },
  call: StageCall = {},
): AsyncGenerator<Opinion<{ readonly score: number }>> {
  for await (const one of distributions(model, cases, asking, call)) {
    if (!("shares" in one)) {
      yield one;
      continue;
    }
    const [low, high] = one.range;
    const expected = one.shares.reduce((sum, { value, p }) => sum + value * p, 0);
    yield { request: one.request, score: (2 * (expected - low)) / (high - low) - 1, said: [one.said] };
  }
}

/**
 * The probability that the first response of each pair is the better one, in the order given: of a judge that sees both, its share of
 * verdicts for it, a tie counting half; of one that scores each, P(s₁ > s₂) + ½·P(s₁ = s₂) over both its distributions.
 *
 * By the rules of `scoreByJudge`. Errors: the same.
 */
export async function* compareByJudge(
  model: LanguageModel,
  pairs: readonly Judged<readonly [string, string]>[],
  asking: JudgeAsking & { readonly seed: number },
  call: StageCall = {},
): AsyncGenerator<Opinion<{ readonly p: number }>> {
  const relative = sideBySide(asking) ? comparing(asking.format)! : undefined;
  if (relative) {
    for await (const answer of verdicts(model, pairs, relative, asking, call)) {
      if (!("values" in answer)) {
        yield answer;
        continue;
      }
      const points = answer.values.map((value): number => (value === "A" ? 1 : value === "B" ? 0 : 0.5));
      const p = points.reduce((sum, one) => sum + one, 0) / points.length;
      yield { request: answer.request, p, said: [answer.said] };
    }
    return;
  }
  // Equal cases are scored once, whatever they stand beside.
  const halves = pairs.flatMap(({ shown, key }, pair) =>
    shown.responses.map((response, side) => {
      const half: Judged<readonly [string]> = { shown: { ...shown, responses: [response] }, key };
      return { pair, side, case: keyOf(half.shown), half };
    }),
  );
  const groups = [...groupBy(halves, (one) => one.case).values()];
  const opinions = pairs.map((): (Distribution | undefined)[] => [undefined, undefined]);
  const cases = groups.map(([first]) => ({ shown: first!.half.shown, key: first!.case }));
  for await (const one of distributions(model, cases, asking, call))
    for (const { pair, side } of groups[one.request]!) {
      opinions[pair]![side] = one;
      const [a, b] = opinions[pair]!;
      if (a === undefined || b === undefined) continue;
      if (!("shares" in a)) yield { ...a, request: pair };
      else if (!("shares" in b)) yield { ...b, request: pair };
      else yield { request: pair, p: higher(a.shares, b.shares), said: [a.said, b.said] };
    }
}

type Shares = readonly { readonly value: number; readonly p: number }[];

function higher(a: Shares, b: Shares): number {
  let p = 0;
  for (const one of a)
    for (const other of b) p += one.p * other.p * (one.value > other.value ? 1 : one.value === other.value ? 0.5 : 0);
  return Math.min(1, p);
}

type Distribution = { readonly request: number } & (
  | { readonly shares: Shares; readonly range: readonly [number, number]; readonly said: Said }
  | { readonly unread: string }
  | { readonly refused: string }
);

/** How likely each score of each response is. */
async function* distributions(
  model: LanguageModel,
  cases: readonly Judged<readonly [string]>[],
  asking: JudgeAsking & { readonly seed: number },
  call: StageCall,
): AsyncGenerator<Distribution> {
  const { format } = asking;
  if (format === "d-rlaif") {
    const rated = cases.map(({ shown: { prompt, responses, rubric } }) => {
      return { prompt, response: responses[0], question: rubric.criterion };
    });
    for await (const answer of expectedRatings(model, rated, call)) {
      if (!("score" in answer)) {
        yield answer;
        continue;
      }
      const { request, distribution } = answer;
      const shares = distribution.map((p, i) => ({ value: i + 1, p }));
      const said = { format, verdicts: [], texts: [], unread: 0, distribution };
      yield { request, shares, range: [1, distribution.length], said };
    }
    return;
  }
  const absolute: AbsoluteFormat = judgeFormats[format].absolute;
  for await (const answer of verdicts(model, cases, absolute, asking, call)) {
    if (!("values" in answer)) {
      yield answer;
      continue;
    }
    const { request, values, said } = answer;
    yield { request, shares: values.map((value) => ({ value, p: 1 / values.length })), range: absolute.range, said };
  }
}

interface Worded<Responses extends readonly string[], Value> extends Pick<AbsoluteFormat, "images"> {
  readonly sampling: Sampling;
  readonly messages: (shown: JudgeCase<Responses>) => ReturnType<AbsoluteFormat["messages"]>;
  readonly read: (text: string) => Value | undefined;
}

type Verdicts<Value> = { readonly request: number } & (
  | { readonly values: Value[]; readonly said: Said }
  | { readonly unread: string }
  | { readonly refused: string }
);

/** Readable verdicts of each case, as many as asked for or as the tries gave. */
async function* verdicts<Responses extends readonly string[], Value extends number | string>(
  model: LanguageModel,
  cases: readonly Judged<Responses>[],
  format: Worded<Responses, Value>,
  { samples, retries, maxTokens, seed, format: name }: JudgeAsking & { readonly seed: number },
  call: StageCall,
): AsyncGenerator<Verdicts<Value>> {
  if (cases.length === 0) return;
  const { repetitionPenalty: penalises } = await model.capabilities(call.signal ? { signal: call.signal } : {});
  const { temperature, topP, repetitionPenalty } = format.sampling;
  const found = cases.map(() => ({ values: [] as Value[], texts: [] as string[] }));
  let open: number[] = [];
  for (const [request, { shown }] of cases.entries()) {
    const refused = unshown(shown.prompt, format);
    if (refused === undefined) open.push(request);
    else yield { request, refused };
  }
  for (let round = 0; open.length > 0; round++) {
    const requests = open.map((place) => ({
      prompt: format.messages(cases[place]!.shown),
      sampling: {
        temperature: round === 0 && samples === 1 ? temperature : temperature || 1,
        ...(topP === undefined ? {} : { topP }),
        ...(penalises && repetitionPenalty !== undefined ? { repetitionPenalty } : {}),
        maxTokens,
        seed,
        n: samples - found[place]!.values.length,
      },
      key: `judge:${name}:${round}:${cases[place]!.key}`,
    }));
    const again: number[] = [];
    for await (const answer of generateEach(model, requests, call)) {
      const place = open[answer.request]!;
      const { values, texts } = found[place]!;
      if ("refused" in answer) {
        yield { request: place, refused: answer.refused };
        continue;
      }
      for (const { text } of answer.value) {
        texts.push(text);
        const value = format.read(readReply(text).text);
        if (value !== undefined) values.push(value);
      }
      if (values.length < samples && round < retries) again.push(place);
      else if (values.length > 0)
        yield {
          request: place,
          values,
          said: { format: name, verdicts: values, texts, unread: texts.length - values.length },
        };
      else {
        call.notice?.(unreadVerdict);
        yield { request: place, unread: `${unreadVerdict} in ${texts.length} ${texts.length === 1 ? "try" : "tries"}` };
      }
    }
    open = again.sort((a, b) => a - b);
  }
}
