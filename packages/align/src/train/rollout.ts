import {
  type CompletionToken,
  type LanguageModel,
  type Message,
  type RandomStream,
  randomStream,
  type TextCodec,
} from "@tenet/lm";
import type { PromptRow } from "../data/index.ts";
import type { RewardRequest } from "../reward/index.ts";

/** One response of the policy, token by token. */
export interface Sample {
  readonly prompt: PromptRow;
  /** Which of the prompt's samples this is, from 0. */
  readonly index: number;
  readonly promptTokens: readonly number[];
  /** The response's tokens; where it ended by itself, the end token last. Never empty. */
  readonly tokens: readonly number[];
  readonly response: string;
  readonly finished: boolean;
  /** The engine's log-probabilities of the tokens it reported: all but the end token. */
  readonly sampledLogprobs: readonly number[];
}

export interface RolloutOptions {
  readonly text: TextCodec;
  readonly seed: number;
  /** Names the round in the randomness: the same prompt gets other samples in another iteration. */
  readonly iteration: number;
  readonly samplesPerPrompt: number;
  readonly maxTokens: number;
  /** 1 for on-policy learning: the samples are then the very distribution whose log-probabilities are learned. */
  readonly temperature: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Samples responses, in the order of prompts and samples. All randomness is a function of (seed, iteration, prompt id, which
 * of its turns in this batch, sample).
 *
 * The engine does not tell which end token it drew; the one that this model's replies are trained to end with stands for all.
 * Errors: those of the model.
 */
export async function rollout(
  model: LanguageModel,
  prompts: readonly PromptRow[],
  options: RolloutOptions,
): Promise<Sample[]> {
  const { text, seed, iteration, samplesPerPrompt: n, maxTokens, temperature, signal } = options;
  const seen = new Map<string, number>();
  const requests = prompts.map(({ id, prompt }) => {
    const turn = seen.get(id) ?? 0;
    seen.set(id, turn + 1);
    const sampling = { temperature, maxTokens, seed, n, logprobs: 0 };
    return { prompt: prompt as Message[], key: JSON.stringify(["rollout", iteration, id, turn]), sampling };
  });
  const samples: Sample[] = [];
  for await (const { request, completion } of model.generate(requests, signal ? { signal } : {})) {
    const prompt = prompts[request]!;
    const finished = completion.finishReason === "stop";
    const drawn = completion.tokens as readonly (CompletionToken & { id: number })[];
    const promptTokens = text.encodePrompt(prompt.prompt as Message[]);
    samples[request * n + completion.index] = {
      ...{ prompt, index: completion.index, promptTokens, response: completion.text, finished },
      tokens: [...drawn.map(({ id }) => id), ...(finished ? [endToken(text)] : [])],
      sampledLogprobs: drawn.map(({ logprob }) => logprob),
    };
  }
  return samples;
}

/** What a reward is told of a sample. */
export function rewardRequest({ prompt, response, finished, tokens }: Sample): RewardRequest {
  return { id: prompt.id, prompt: prompt.prompt, response, finished, length: tokens.length };
}

/**
 * The prompts of one iteration: the list is gone through again and again, each time in a new order, `count` at a time.
 * A function of (seed, iteration), so that a resumed run draws the same.
 */
export function promptsOf(
  prompts: readonly PromptRow[],
  { seed, iteration, count }: { readonly seed: number; readonly iteration: number; readonly count: number },
): PromptRow[] {
  const orders = new Map<number, number[]>();
  return Array.from({ length: count }, (_, i) => {
    const at = iteration * count + i;
    const pass = Math.floor(at / prompts.length);
    let order = orders.get(pass);
    if (!order) {
      order = shuffled(prompts.length, randomStream({ seed, stage: "prompts", item: pass }));
      orders.set(pass, order);
    }
    return prompts[order[at % prompts.length]!]!;
  });
}

/** 0 … count − 1 in random order (Fisher and Yates). */
export function shuffled(count: number, stream: RandomStream): number[] {
  const order = Array.from({ length: count }, (_, i) => i);
  for (let i = count - 1; i > 0; i--) {
    const j = stream.integer(i, i + 1);
    [order[i], order[j]] = [order[j]!, order[i]!];
  }
  return order;
}

/** The end token of the model's replies: what its template writes behind one, else its first end of text. */
export function endToken(text: TextCodec): number {
  let found = endTokens.get(text);
  if (found === undefined) {
    found = findEndToken(text);
    endTokens.set(text, found);
  }
  return found;
}

const endTokens = new WeakMap<TextCodec, number>();

function findEndToken(text: TextCodec): number {
  const [first] = text.endIds;
  if (first === undefined) throw new TypeError("the model has no end token: its replies could never end");
  if (!text.hasChat || text.endIds.size === 1) return first;
  const turns: Message[] = [
    { role: "user", content: "Hello" },
    { role: "assistant", content: "Hello" },
  ];
  const open = text.encodePrompt(turns).length;
  const closed = text.encodePrompt([...turns, { role: "user", content: "Hello" }]);
  return closed.slice(open).find((id) => text.endIds.has(id)) ?? first;
}
