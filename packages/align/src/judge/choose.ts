import { type LanguageModel, type Prompt, whyEmpty } from "@tenet/lm";
import { z } from "zod";
import { generateEach, type StageCall, scoreEach } from "../ask.ts";
import { type Answer, readAnswer } from "./letters.ts";
import { letters } from "./question.ts";

/** How answers are sampled of models that report no log-probabilities. The defaults are written here only. */
export const sampledLettersSchema = z.strictObject({
  samples: z.int().min(1).default(3).describe("Answers to each question; p is the share of each letter among them."),
  maxTokens: z.int().min(1).default(1024).describe("Tokens of an answer, at most; thoughts count."),
});
export type SampledLetters = z.output<typeof sampledLettersSchema>;

/** A question whose answer is (A) or (B). */
export interface Asked {
  readonly prompt: Prompt;
  /** What stands behind the letters. */
  readonly options: readonly [string, string];
  /** For the randomness of sampled answers. */
  readonly key: string;
}

/** The answer to one: p is the probability of (A). */
export type Choice =
  | { readonly by: "logprobs"; readonly p: number; readonly logprobs: readonly [number, number] }
  | { readonly by: "letters"; readonly p: number; readonly letters: LetterCounts };

/** A type, not an interface: it is JSON in explanations. */
export type LetterCounts = { A: number; B: number; tie: number; unread: number };

export type ChoiceAnswer = { readonly request: number } & (
  | { readonly choice: Choice }
  | { readonly unread: string }
  | { readonly refused: string }
);

/** How the reason begins of what is set aside because no letter could be read. */
export const unreadReason = "the answer could not be read as (A) or (B)";

/**
 * The answers of a model to questions with two options, for labeller, critic and judge alike.
 *
 * Read from the log-probabilities of the two letters where the model reports them: p = σ(ℓ_A − ℓ_B). Where it does not, or neither
 * letter is among the tokens it names, answers are sampled and read as text: p is the share of (A) among those that could be read, one
 * that says it is a tie counting half. That is coarser, and `call.notice` is told. A question of which no answer could be read has no
 * p: it is unread. By the rules of `generateEach` a question that the model cannot take is refused.
 * Errors: those of `LanguageModel`.
 */
export async function* chooseEach(
  model: LanguageModel,
  asked: readonly Asked[],
  { seed, sampled }: { readonly seed: number; readonly sampled?: SampledLetters | undefined },
  call: StageCall = {},
): AsyncGenerator<ChoiceAnswer> {
  if (asked.length === 0) return;
  const { score } = await model.capabilities(call.signal ? { signal: call.signal } : {});
  const unseen: number[] = [];
  const scored: number[] = [];
  asked.forEach(({ prompt }, i) => {
    (score[typeof prompt === "string" ? "raw" : "chat"] === "none" ? unseen : scored).push(i);
  });
  const scoring = scored.map((i) => ({ prompt: asked[i]!.prompt, continuations: [...letters] }));
  for await (const answer of scoreEach(model, scoring, call)) {
    const request = scored[answer.request]!;
    if ("refused" in answer) yield { request, refused: answer.refused };
    else if (answer.value.every(({ upperBound }) => upperBound)) unseen.push(request);
    else {
      const [a, b] = [answer.value[0]!.logprob, answer.value[1]!.logprob];
      yield { request, choice: { by: "logprobs", p: 1 / (1 + Math.exp(b - a)), logprobs: [a, b] } };
    }
  }
  if (unseen.length > 0) yield* sampleEach(model, asked, unseen, { seed, sampled }, call);
}

async function* sampleEach(
  model: LanguageModel,
  asked: readonly Asked[],
  places: readonly number[],
  { seed, sampled }: { readonly seed: number; readonly sampled?: SampledLetters | undefined },
  call: StageCall,
): AsyncGenerator<ChoiceAnswer> {
  const { samples, maxTokens } = sampled ?? sampledLettersSchema.parse({});
  const requests = places.map((place) => ({
    prompt: asked[place]!.prompt,
    sampling: { n: samples, maxTokens, seed },
    key: `letters:${asked[place]!.key}`,
  }));
  for await (const answer of generateEach(model, requests, call)) {
    const request = places[answer.request]!;
    if ("refused" in answer) {
      yield { request, refused: answer.refused };
      continue;
    }
    call.notice?.(`no log-probabilities of the letters; read from ${samples} sampled answers, which is coarser`);
    const counts: LetterCounts = { A: 0, B: 0, tie: 0, unread: 0 };
    for (const { text } of answer.value) {
      const said: Answer | undefined = readAnswer(text, asked[request]!.options);
      counts[said ?? "unread"]++;
    }
    const read = counts.A + counts.B + counts.tie;
    if (read > 0) {
      yield { request, choice: { by: "letters", p: (counts.A + counts.tie / 2) / read, letters: counts } };
      continue;
    }
    call.notice?.(unreadReason);
    const empty = answer.value.find(({ text }) => text.trim() === "");
    yield { request, unread: empty ? `${unreadReason}: ${whyEmpty(empty)}` : unreadReason };
  }
}
