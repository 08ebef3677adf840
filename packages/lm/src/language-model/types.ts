import type { Message } from "@tenet/data";
import { z } from "zod";

export type { Message } from "@tenet/data";

/**
 * What a model is given: raw text, continued as it stands, or a conversation, rendered by the model's own chat format.
 * A conversation that ends with the assistant's turn is continued inside that turn; any other opens a new one.
 */
export type Prompt = string | Message[];

/** A text by the ids of its tokens: what the model sees is these, with nothing put around them. */
export interface Tokens {
  readonly tokens: readonly number[];
}

export function isTokens(text: Prompt | Tokens): text is Tokens {
  return typeof text === "object" && "tokens" in text;
}

/** The least `repetitionPenalty`: what is divided by it stays a number. */
export const leastPenalty = 0.01;

/** How to sample. The defaults are written here and nowhere else. */
export const samplingSchema = z.strictObject({
  /** 0 is greedy: the likeliest token, ties to the lower id. */
  temperature: z.number().min(0).max(100).default(1),
  /** The smallest set of likeliest tokens whose probability reaches topP. 1 is off. */
  topP: z.number().gt(0).max(1).default(1),
  /** The k likeliest tokens (and those equal to the k-th). 0 is off. */
  topK: z.int().min(0).default(0),
  /** Tokens at least minP times as likely as the likeliest. 0 is off. */
  minP: z.number().min(0).max(1).default(0),
  /** Divides positive and multiplies negative logits of tokens already in prompt or reply. 1 is off. */
  repetitionPenalty: z.number().min(leastPenalty).default(1),
  /** Strings that end a reply; the string itself is not part of it. */
  stop: z.array(z.string().min(1)).default([]),
  /** Tokens of a reply before which its end is not drawn. 0 is off. */
  minTokens: z.int().min(0).default(0),
  /** Tokens per reply, at most. */
  maxTokens: z.int().min(1).default(256),
  /** With the request's key and the sample's index, all of a sample's randomness. */
  seed: z.int().min(0).default(0),
  /** Replies per request. */
  n: z.int().min(1).default(1),
  /** Report each token's log-probability and those of this many likeliest tokens beside it. Absent: none. */
  logprobs: z.int().min(0).optional(),
});

export type SamplingOptions = z.output<typeof samplingSchema>;
export type SamplingInput = z.input<typeof samplingSchema>;

export interface GenerateRequest<P = Prompt> {
  prompt: P;
  sampling?: SamplingInput;
  /**
   * Names the item for its randomness, which is a function of (seed, key, sample index) only. Without a key the prompt
   * itself is the key: equal prompts with equal seeds then give equal replies.
   */
  key?: string;
}

/** A token of a reply. Log-probabilities are natural, of the model's own distribution (see `sampling.ts`). */
export interface CompletionToken {
  id?: number;
  text: string;
  logprob: number;
  /** The likeliest tokens at this position, best first; as many as asked for, or as the model gives. */
  top?: { text: string; logprob: number }[];
}

/** `stop`: end of turn or a stop string. `filtered`: withheld by a hosted service. `cancelled`: the signal aborted. */
export type FinishReason = "stop" | "length" | "cancelled" | "filtered";

export interface Usage {
  promptTokens: number;
  completionTokens: number;
}

export interface Completion {
  text: string;
  /** Present when `logprobs` was asked for. The texts concatenate to `text` unless a stop string cut inside a token. */
  tokens?: CompletionToken[];
  finishReason: FinishReason;
  usage: Usage;
  /** What the model thought before it spoke, where it is known to have thought; "" where what it thought is not shown. */
  thoughts?: string;
  /** Which of the request's n samples this is, from 0. */
  index: number;
}

export interface GenerateResult {
  /** Position of the request in the batch. */
  request: number;
  completion: Completion;
}

export interface ScoreRequest<P = Prompt, C = string> {
  prompt: P;
  continuations: C[];
  /** Also tell the likeliest token at each position; a model that cannot leaves it out. */
  likeliest?: boolean;
}

/** One continuation behind its prompt. */
export interface Score {
  /** Sum of `tokenLogprobs`: ln P(continuation | prompt). */
  logprob: number;
  tokenLogprobs: number[];
  tokens: string[];
  /** The likeliest token at each position, where it was asked for and is known. */
  likeliest?: { text: string; logprob: number }[];
  /** True when the model named only its likeliest tokens and this was not one of them: `logprob` is then the least of theirs, an upper bound. */
  upperBound?: boolean;
}

export interface ScoreResult {
  request: number;
  /** In the order of the request's continuations. */
  scores: Score[];
}

/** What happens while a batch runs; every event names the request's position in the batch. */
export type ModelEvent =
  | { type: "text"; request: number; index: number; text: string }
  /** Text already sent for this sample is void: its attempt failed and it starts again. */
  | { type: "restart"; request: number; index: number }
  | { type: "retry"; request: number; attempt: number; waitMs: number; reason: string };

export interface CallOptions {
  signal?: AbortSignal;
  onEvent?: (event: ModelEvent) => void;
  /** Send `text` events while replies grow. Absent: replies come whole, and only the other events are sent. */
  stream?: boolean;
}

/** What a model can do. A caller that needs more than is stated gets a CapabilityError, never a silent approximation. */
export interface Capabilities {
  chat: boolean;
  raw: boolean;
  /** A conversation ending in the assistant's turn is continued. */
  prefill: boolean;
  /** Most `top` log-probabilities per generated token; null: none at all, not even of the chosen token. */
  topLogprobs: number | null;
  /** `continuations`: any text. `options`: single tokens among the likeliest next ones. */
  score: { raw: "continuations" | "options" | "none"; chat: "continuations" | "options" | "none" };
  /** The same request gives the same reply. */
  seed: boolean;
  topK: boolean;
  minP: boolean;
  minTokens: boolean;
  repetitionPenalty: boolean;
  /** `text` events arrive piece by piece. */
  streaming: boolean;
}

/** Sums over the model's life. */
export interface UsageTotals extends Usage {
  /** Replies received, or batches' samples computed. */
  completions: number;
  /** Prompts scored. */
  scored: number;
  /** Dollars by the configured prices; absent where no price applies. */
  costUsd?: number;
  /** Attempts that gave no usable answer. What they cost the other side is unknown and not in the sums. */
  failedAttempts: number;
  /** Replies whose token counts the other side did not give, so that they were estimated. */
  estimated: number;
  /** What was noticed and lived with, and how often; absent where there is nothing. */
  notices?: Readonly<Record<string, number>>;
}

/** The totals of a model that was not used yet. */
export function noUsage(): UsageTotals {
  return { promptTokens: 0, completionTokens: 0, completions: 0, scored: 0, failedAttempts: 0, estimated: 0 };
}

/**
 * A language model, local or remote: it continues prompts and it scores given continuations.
 *
 * Both verbs yield in order of completion. Results never depend on the batch a request came in. An empty batch yields
 * nothing. When one request fails, no further one is started, those under way are finished and yielded, and then the error
 * is thrown. When the signal aborts, work stops at once: samples that have text are yielded with `cancelled`, then the
 * signal's reason is thrown, so that a cancelled batch is never mistaken for a whole one. Leaving the loop early also
 * stops the work.
 *
 * Errors: UsageError, CapabilityError, EndpointError, BudgetError (see `errors.ts`).
 */
export interface LanguageModel {
  /** Names the model in records: enough to find it again, without secrets. */
  readonly id: string;
  /** What it can do; an endpoint finds out on the first call and remembers. */
  capabilities(options?: { signal?: AbortSignal }): Promise<Capabilities>;
  generate(requests: readonly GenerateRequest[], options?: CallOptions): AsyncIterable<GenerateResult>;
  score(requests: readonly ScoreRequest[], options?: CallOptions): AsyncIterable<ScoreResult>;
  usage(): UsageTotals;
  /** Frees what the model holds. Further calls throw UsageError. */
  close(): Promise<void>;
}
