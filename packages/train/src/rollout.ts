import { createHash } from "node:crypto";
import type { PromptRow } from "@tenet/data";
import { type CompletionToken, type LanguageModel, type Message, readReply, type TextCodec } from "@tenet/lm";
import { endOfReply } from "./encode.ts";
import { type Sampling, shuffled } from "./loop.ts";
import type { RewardRequest } from "./reward/index.ts";

/** One response of the policy, token by token. */
export interface Sample {
  readonly prompt: PromptRow;
  /** Which of the prompt's samples this is, from 0. */
  readonly index: number;
  /** The turn in the batch that it is of: samples of one prompt's turn have the same. */
  readonly turn: number;
  readonly promptTokens: readonly number[];
  /** All that the policy drew, reasoning among it; where it ended by itself, the end token last. Never empty. */
  readonly tokens: readonly number[];
  /** What a person sees: without reasoning. */
  readonly response: string;
  /** What the policy wrote, to learn: the response, behind its reasoning where it reasoned. */
  readonly completion: string;
  /** Tokens of the response, the end token among them; of reasoning none. */
  readonly length: number;
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
  const encoded = prompts.map(({ prompt }) => text.encodePrompt(prompt as Message[]));
  const end = endToken(text);
  const samples: Sample[] = [];
  for await (const { request, completion } of model.generate(requests, signal ? { signal } : {})) {
    const prompt = prompts[request]!;
    const finished = completion.finishReason === "stop";
    const drawn = completion.tokens as readonly (CompletionToken & { id: number })[];
    const tokens = [...drawn.map(({ id }) => id), ...(finished ? [end] : [])];
    // What rewards are told is the reply: nothing is to press on the reasoning before it.
    const read = readReply(completion.text);
    samples[request * n + completion.index] = {
      ...{ prompt, index: completion.index, turn: request, tokens, response: read.text, finished },
      promptTokens: encoded[request]!,
      ...(read.thoughts === undefined
        ? { completion: read.text, length: tokens.length }
        : {
            completion: completion.text.slice(0, read.end),
            length: tokensWithin(read, drawn, text) + (finished ? 1 : 0),
          }),
      sampledLogprobs: drawn.map(({ logprob }) => logprob),
    };
  }
  return samples;
}

/** How many tokens lie in a stretch of the text that they make, wholly or in part. Of several that make one character the last brings it. */
function tokensWithin(
  { start, end }: { readonly start: number; readonly end: number },
  tokens: readonly { readonly id: number }[],
  text: TextCodec,
): number {
  const decoder = text.decoder();
  let said = 0;
  return tokens.filter(({ id }) => {
    const from = said;
    said += decoder.push(id).length;
    return (from >= start || said > start) && from < end;
  }).length;
}

/**
 * Samples of a model as it speaks now, and what they took. What is opened is closed again: the beginnings that a speaker remembers belong to
 * the factors of their time.
 */
export async function rolloutOf(
  open: () => Promise<LanguageModel>,
  prompts: readonly PromptRow[],
  options: RolloutOptions,
): Promise<{ readonly samples: Sample[]; readonly generator: string; readonly sampling: Sampling }> {
  const began = performance.now();
  const speaker = await open();
  try {
    const samples = await rollout(speaker, prompts, options);
    const { promptTokens, completionTokens, completions: calls } = speaker.usage();
    const seconds = (performance.now() - began) / 1000;
    return { samples, generator: speaker.id, sampling: { promptTokens, completionTokens, calls, seconds } };
  } finally {
    await speaker.close();
  }
}

/** What a reward is told of a sample. @param iteration of training */
export function rewardRequest({ prompt, response, finished, length }: Sample, iteration?: number): RewardRequest {
  const { id, prompt: conversation, category } = prompt;
  return {
    id,
    prompt: conversation,
    ...(category !== undefined && { category }),
    response,
    finished,
    length,
    ...(iteration !== undefined && { iteration }),
  };
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
      order = shuffled(prompts.length, { seed, stage: "prompts", epoch: pass });
      orders.set(pass, order);
    }
    return prompts[order[at % prompts.length]!]!;
  });
}

/** SHA-256 of what is sampled from, in order: a training with other prompts is another training. */
export function promptsDigest(prompts: readonly PromptRow[]): string {
  const digest = createHash("sha256");
  for (const { id, prompt } of prompts) digest.update(JSON.stringify([id, prompt]));
  return digest.digest("hex");
}

/** The token that ends a reply, as supervised training teaches it. Errors: TemplateError. */
function endToken(text: TextCodec): number {
  return endOfReply(text).at(-1)!;
}
