import { z } from "zod";
import { CapabilityError } from "../language-model/errors.ts";
import { cutTokens } from "../language-model/scripted.ts";
import { stopDetector } from "../language-model/stop.ts";
import type {
  Completion,
  CompletionToken,
  FinishReason,
  Message,
  Prompt,
  SamplingOptions,
  Usage,
} from "../language-model/types.ts";
import { MalformedReply } from "./failures.ts";
import type { Dialect } from "./settings.ts";

// Only what is read is asked for: servers add fields, leave out others, and give null for absent.
const usageSchema = z.object({ prompt_tokens: z.int().min(0), completion_tokens: z.int().min(0).default(0) }).nullish();
const chatLogprobsSchema = z
  .object({
    content: z
      .array(
        z.object({
          token: z.string(),
          logprob: z.number(),
          top_logprobs: z.array(z.object({ token: z.string(), logprob: z.number() })).nullish(),
        }),
      )
      .nullish(),
  })
  .nullish();
const textLogprobsSchema = z
  .object({
    tokens: z.array(z.string()),
    token_logprobs: z.array(z.number().nullable()),
    top_logprobs: z.array(z.record(z.string(), z.number()).nullable()).nullish(),
    text_offset: z.array(z.int()).nullish(),
    // llama.cpp's own server answers completions in the form of conversations.
    content: z.undefined().optional(),
  })
  .or(chatLogprobsSchema);

const chatChoiceSchema = z.object({
  index: z.int().default(0),
  message: z.object({ content: z.string().nullish() }),
  finish_reason: z.string().nullish(),
  logprobs: chatLogprobsSchema,
});
const textChoiceSchema = z.object({
  index: z.int().default(0),
  text: z.string(),
  finish_reason: z.string().nullish(),
  logprobs: textLogprobsSchema,
});
const chatReplySchema = z.object({ choices: z.array(chatChoiceSchema).min(1), usage: usageSchema });
const textReplySchema = z.object({ choices: z.array(textChoiceSchema).min(1), usage: usageSchema });
const chatChunkSchema = z.object({
  choices: z
    .array(
      z.object({
        index: z.int().default(0),
        delta: z.object({ content: z.string().nullish() }).nullish(),
        finish_reason: z.string().nullish(),
        logprobs: chatLogprobsSchema,
      }),
    )
    .default([]),
  usage: usageSchema,
});
const textChunkSchema = z.object({ choices: z.array(textChoiceSchema).default([]), usage: usageSchema });

/** One choice of a reply, whatever verb it answers. */
export interface Choice {
  index: number;
  text: string;
  finishReason: FinishReason | null;
  /** Offsets count code points, as servers written in Python do. */
  tokens: (Omit<CompletionToken, "logprob"> & { logprob: number | null; offset?: number })[] | null;
}

export interface Reply {
  choices: Choice[];
  usage: { prompt_tokens: number; completion_tokens: number } | null;
}

/** Reads a reply to a conversation. Throws MalformedReply. */
export function readChatReply(json: unknown): Reply {
  const { choices, usage } = parse(chatReplySchema, json);
  return {
    usage: usage ?? null,
    choices: choices.map((choice) => ({
      index: choice.index,
      text: choice.message.content ?? "",
      finishReason: finishReason(choice.finish_reason),
      tokens: chatTokens(choice.logprobs),
    })),
  };
}

/** Reads a reply to raw text. Throws MalformedReply. */
export function readTextReply(json: unknown): Reply {
  const { choices, usage } = parse(textReplySchema, json);
  return {
    usage: usage ?? null,
    choices: choices.map((choice) => ({
      index: choice.index,
      text: choice.text,
      finishReason: finishReason(choice.finish_reason),
      tokens: textTokens(choice.logprobs),
    })),
  };
}

/**
 * Gathers a stream of one choice into a reply, giving each piece of text to `onText` on the way.
 *
 * Throws MalformedReply when the stream ends without a reason to: it was cut, however politely.
 */
export async function gatherStream(
  chunks: AsyncIterable<unknown>,
  kind: "chat" | "text",
  onText: (text: string) => void,
): Promise<Reply> {
  const choice: Choice = { index: 0, text: "", finishReason: null, tokens: null };
  let usage: Reply["usage"] = null;
  for await (const chunk of chunks) {
    const { choices, usage: counted } = kind === "chat" ? readChatChunk(chunk) : readTextChunk(chunk);
    usage = counted ?? usage;
    for (const piece of choices) {
      choice.finishReason = piece.finishReason ?? choice.finishReason;
      if (piece.tokens) choice.tokens = [...(choice.tokens ?? []), ...piece.tokens];
      if (!piece.text) continue;
      choice.text += piece.text;
      onText(piece.text);
    }
  }
  if (choice.finishReason === null) throw new MalformedReply("the stream ended in the middle of the reply");
  return { choices: [choice], usage };
}

function readChatChunk(json: unknown): Reply {
  const { choices, usage } = parse(chatChunkSchema, json);
  return {
    usage: usage ?? null,
    choices: choices.map((choice) => ({
      index: choice.index,
      text: choice.delta?.content ?? "",
      finishReason: finishReason(choice.finish_reason),
      tokens: chatTokens(choice.logprobs),
    })),
  };
}

function readTextChunk(json: unknown): Reply {
  const { choices, usage } = parse(textChunkSchema, json);
  return choices.length > 0 ? readTextReply(json) : { choices: [], usage: usage ?? null };
}

function chatTokens(logprobs: z.output<typeof chatLogprobsSchema>): Choice["tokens"] {
  return (
    logprobs?.content?.map(({ token, logprob, top_logprobs }) => ({
      text: token,
      logprob,
      top: (top_logprobs ?? []).map((one) => ({ text: one.token, logprob: one.logprob })),
    })) ?? null
  );
}

function textTokens(logprobs: z.output<typeof textLogprobsSchema>): Choice["tokens"] {
  if (!logprobs || !("tokens" in logprobs)) return chatTokens(logprobs);
  return logprobs.tokens.map((text, i) => {
    const offset = logprobs.text_offset?.[i];
    return {
      text,
      logprob: logprobs.token_logprobs[i] ?? null,
      top: Object.entries(logprobs.top_logprobs?.[i] ?? {})
        .map(([token, logprob]) => ({ text: token, logprob }))
        .sort((a, b) => b.logprob - a.logprob),
      ...(offset !== undefined && { offset }),
    };
  });
}

const finishReasons: Record<string, FinishReason> = {
  stop: "stop",
  eos: "stop",
  length: "length",
  content_filter: "filtered",
};

/** Throws MalformedReply for a reason that is none: servers say `abort` or `error` of replies worth another attempt. */
function finishReason(given: string | null | undefined): FinishReason | null {
  if (given === null || given === undefined) return null;
  const reason = finishReasons[given];
  if (reason === undefined) throw new MalformedReply(`it ended with '${given}'`);
  return reason;
}

function parse<T>(schema: z.ZodType<T>, json: unknown): T {
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new MalformedReply(z.prettifyError(parsed.error).replaceAll("\n", "; "));
  return parsed.data;
}

/** The body's part that says how to sample. Errors: CapabilityError for an option that the dialect has no name for. */
export function samplingBody(
  sampling: SamplingOptions,
  dialect: Dialect,
  maxTokensField: string,
): Record<string, unknown> {
  const body: Record<string, unknown> = {
    temperature: sampling.temperature,
    top_p: sampling.topP,
    [maxTokensField]: sampling.maxTokens,
    // A hosted service refuses more than four; the rest is cut off here when the reply has come.
    ...(sampling.stop.length > 0 && { stop: dialect === "openai" ? sampling.stop.slice(0, 4) : sampling.stop }),
  };
  const refuse = (option: string, dialects: string): never => {
    throw new CapabilityError(
      option,
      `the endpoint has no ${option} as far as is known: leave it out, or set 'dialect' to ${dialects}`,
    );
  };
  if (sampling.minTokens > 0 && dialect !== "vllm") refuse("minTokens", "vllm");
  if (dialect === "openai") {
    const unnamed = {
      topK: sampling.topK > 0,
      minP: sampling.minP > 0,
      repetitionPenalty: sampling.repetitionPenalty !== 1,
    };
    for (const [option, used] of Object.entries(unnamed))
      if (used) refuse(option, "vllm, llama.cpp or llama-cpp-python");
    return body;
  }
  // Sent even when off: these servers' own defaults are not off.
  body.top_k = dialect === "vllm" && sampling.topK === 0 ? -1 : sampling.topK;
  body.min_p = sampling.minP;
  if (dialect === "vllm") body.min_tokens = sampling.minTokens;
  body[dialect === "vllm" ? "repetition_penalty" : "repeat_penalty"] = sampling.repetitionPenalty;
  return body;
}

/** The body's part that holds the prompt. */
export function promptBody(prompt: Prompt, dialect: Dialect): Record<string, unknown> {
  if (typeof prompt === "string") return { prompt };
  const prefilled = prompt.at(-1)!.role === "assistant";
  if (prefilled && !canPrefill(dialect))
    throw new CapabilityError(
      "prefill",
      "the conversation ends with the assistant's turn, which this endpoint would not continue: give a raw prompt instead",
    );
  return {
    messages: prompt.map(({ role, content }): Message => ({ role, content })),
    ...(prefilled && dialect === "vllm" && { continue_final_message: true, add_generation_prompt: false }),
  };
}

export function canPrefill(dialect: Dialect): boolean {
  return dialect === "vllm" || dialect === "llama.cpp";
}

/** A choice as a completion: cut at stop strings that the server did not know, its tokens with it. */
export function toCompletion(choice: Choice, sampling: SamplingOptions, usage: Usage, index: number): Completion {
  const cut = stopDetector(sampling.stop).push(choice.text);
  const text = cut.stop === undefined ? choice.text : cut.text;
  const finishReason = cut.stop !== undefined ? "stop" : (choice.finishReason ?? "stop");
  const completion: Completion = { text, finishReason, usage, index };
  if (sampling.logprobs === undefined) return completion;
  if (choice.tokens === null || choice.tokens.some(({ logprob }) => logprob === null)) {
    if (text !== "")
      throw new CapabilityError("logprobs", "the endpoint gives no log-probabilities: ask without `logprobs`");
    return { ...completion, tokens: [] };
  }
  const tokens = choice.tokens.map(({ text: token, logprob, top }) => ({
    text: token,
    logprob: logprob!,
    top: (top ?? []).slice(0, sampling.logprobs),
  }));
  return { ...completion, tokens: cutTokens(tokens, text.length) };
}

/** The counts of a reply; where the server gives none, one token per four characters, marked as estimated. */
export function usageOf(reply: Reply, prompt: Prompt): Usage & { estimated: boolean } {
  if (reply.usage)
    return {
      promptTokens: reply.usage.prompt_tokens,
      completionTokens: reply.usage.completion_tokens,
      estimated: false,
    };
  const said = reply.choices.reduce((sum, choice) => sum + choice.text.length, 0);
  return { promptTokens: estimateTokens(prompt), completionTokens: Math.ceil(said / 4), estimated: true };
}

export function estimateTokens(prompt: Prompt): number {
  const characters =
    typeof prompt === "string" ? prompt.length : prompt.reduce((sum, { content }) => sum + content.length + 16, 0);
  return Math.ceil(characters / 4);
}
