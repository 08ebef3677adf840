import type { ModelConfig } from "../checkpoint/index.ts";
import {
  CapabilityError,
  checkPrompt,
  isTokens,
  type Prompt,
  type Score,
  type ScoreRequest,
  type ScoreResult,
  type Tokens,
  UsageError,
} from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";
import type { Prefix } from "./cache.ts";
import { type Engine, type Stretch, takeCall, tokensPerCall } from "./engine.ts";
import type { Answer, Question } from "./readout.ts";

export interface ScoreJob {
  readonly position: number;
  readonly prompt: readonly number[];
  readonly continuations: readonly (readonly number[])[];
  /** Also tell the likeliest token at each position of a single continuation. */
  readonly likeliest?: boolean;
}

/** What a prompt is read by. */
export interface Reader {
  readonly id: string;
  readonly text: TextCodec;
  readonly config: ModelConfig;
}

/** Errors: UsageError for a prompt that is none, CapabilityError for a conversation where there is no template. */
export function requirePrompt({ id, text }: Pick<Reader, "id" | "text">, prompt: Prompt): void {
  checkPrompt(prompt);
  if (typeof prompt !== "string" && !text.hasChat)
    throw new CapabilityError("chat", `${id} has no chat template: give raw text`);
}

/** Tokens as they were given, `of` what. Errors: UsageError for none, and for one that is no whole number within the vocabulary. */
export function givenTokens({ config }: Pick<Reader, "config">, { tokens }: Tokens, of: string): readonly number[] {
  const { vocab_size: vocabulary } = config;
  if (tokens.length === 0) throw new UsageError(`${of} has no tokens`);
  const place = tokens.findIndex((token) => !(Number.isInteger(token) && token >= 0 && token < vocabulary));
  if (place < 0) return tokens;
  throw new UsageError(
    `token ${place} of ${of} is ${tokens[place]}: expected a whole number from 0 to ${vocabulary - 1}, the model's vocabulary`,
  );
}

/**
 * A request to score, as tokens. Errors: those of `requirePrompt` and `givenTokens`; UsageError for what is empty, or longer than the
 * context.
 */
export function encodeScore(
  reader: Reader,
  request: ScoreRequest | ScoreRequest<Tokens, Tokens>,
  position: number,
): ScoreJob {
  const { config } = reader;
  const { likeliest } = request;
  const { prompt, texts } = isOfTokens(request)
    ? {
        prompt: givenTokens(reader, request.prompt, `the prompt of request ${position}`),
        texts: request.continuations.map((one, i) =>
          givenTokens(reader, one, `continuation ${i} of request ${position}`),
        ),
      }
    : encodeTexts(reader, request, position);
  const job = { position, prompt, continuations: texts, ...(likeliest && { likeliest }) };
  const longest = job.prompt.length + Math.max(0, ...job.continuations.map((tokens) => tokens.length));
  if (longest > config.max_position_embeddings)
    throw new UsageError(
      `request ${position} has ${longest} tokens; the model's context is ${config.max_position_embeddings}`,
    );
  return job;
}

function isOfTokens(request: ScoreRequest | ScoreRequest<Tokens, Tokens>): request is ScoreRequest<Tokens, Tokens> {
  return isTokens(request.prompt);
}

function encodeTexts(reader: Reader, { prompt, continuations }: ScoreRequest, position: number) {
  requirePrompt(reader, prompt);
  const encoded = reader.text.encodeBehind(prompt, continuations);
  if (encoded.prompt.length === 0) throw new UsageError("the prompt has no tokens");
  if (encoded.texts.some((tokens) => tokens.length === 0))
    throw new UsageError(`request ${position} has an empty continuation: there is nothing to score`);
  return encoded;
}

/**
 * Log-probabilities of continuations behind their prompts: a row holds a prompt and its continuations, each of which sees
 * the prompt and itself; what all prompts share is computed once, and prompts of like length go through the model together.
 */
export async function* scoreJobs(
  engine: Engine,
  jobs: readonly ScoreJob[],
  shared: Prefix,
  text: TextCodec,
  signal: AbortSignal | undefined,
): AsyncGenerator<ScoreResult> {
  const common = shared.tokens.length;
  const lengthOf = (job: ScoreJob) => rowLength(job) - common;
  const waiting = [...jobs].sort((a, b) => lengthOf(b) - lengthOf(a));
  while (waiting.length > 0) {
    signal?.throwIfAborted();
    const batch = takeCall(waiting, lengthOf);
    // A prompt longer than a call becomes a beginning of its own, but for its last token.
    const long = lengthOf(batch[0]!) > tokensPerCall;
    const base = long ? await engine.prefix(batch[0]!.prompt.slice(0, -1), shared) : shared;
    const { answers } = await engine.prompt(
      batch.map((job) => rowOf(job, base.tokens.length)),
      base,
    );
    for (const [row, { position, continuations }] of batch.entries()) {
      const [first, ...rest] = answers[row]!;
      const scores = continuations.map((continuation, index): Score => {
        const told = [first!, rest[index]!].map((all) => all.filter(({ kind }) => kind === "score"));
        const tokenLogprobs = [logprobs(told[0]![0]!)[index]!, ...told[1]!.map((answer) => logprobs(answer)[0]!)];
        const logprob = tokenLogprobs.reduce((a, b) => a + b, 0);
        const tokens = continuation.map((token) => text.tokenText(token));
        const best = [...first!, ...rest[index]!].flatMap((answer) => (answer.kind === "draw" ? [answer] : []));
        if (best.length === 0) return { logprob, tokenLogprobs, tokens };
        const likeliest = best.map(({ token, logprob }, i) => {
          // One number for one token, whichever way it was read off.
          const own = token === continuation[i];
          return { text: text.tokenText(token), logprob: own ? tokenLogprobs[i]! : logprob! };
        });
        return { logprob, tokenLogprobs, tokens, likeliest };
      });
      yield { request: position, scores };
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

const greedy: Question = { kind: "draw", temperature: 0, uniform: 0, barred: false, logprob: true };

/** The prompt's last token is asked for all first tokens at once, a continuation's tokens for the one behind each. */
function rowOf({ prompt, continuations, likeliest }: ScoreJob, start: number): Stretch[] {
  const rest = prompt.slice(start);
  const firsts = continuations.map((tokens) => tokens[0]!);
  const asked = (offset: number, targets: readonly number[]): [number, Question][] => [
    [offset, { kind: "score", targets }],
    ...(likeliest ? [[offset, greedy] satisfies [number, Question]] : []),
  ];
  return [
    { tokens: rest, position: start, asked: asked(rest.length - 1, firsts) },
    ...continuations.map(
      (tokens): Stretch => ({
        tokens: tokens.slice(0, -1),
        position: prompt.length,
        trunk: 0,
        asked: tokens.slice(1).flatMap((token, i) => asked(i, [token])),
      }),
    ),
  ];
}

function rowLength({ prompt, continuations }: ScoreJob): number {
  return continuations.reduce((sum, tokens) => sum + tokens.length - 1, prompt.length);
}

function logprobs(answer: Answer): readonly number[] {
  return answer.kind === "score" ? answer.logprobs : [];
}
