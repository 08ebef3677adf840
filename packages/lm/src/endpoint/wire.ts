import { imagesOf } from "@tenet/data";
import { z } from "zod";
import { CapabilityError } from "../language-model/errors.ts";
import { tokensBetween } from "../language-model/reply.ts";
import { cutTokens } from "../language-model/scripted.ts";
import { stopDetector } from "../language-model/stop.ts";
import type {
  Completion,
  CompletionToken,
  FinishReason,
  Prompt,
  SamplingOptions,
  Usage,
} from "../language-model/types.ts";
import { MalformedReply } from "./failures.ts";
import { finishReason } from "./finish-reason.ts";
import { errorIn } from "./refusal.ts";

/*
 * Only what is read is asked for: servers add fields, leave out others, and give null for absent. Strict is what a reply cannot be
 * without, a choice with a message or a text; whatever else cannot be read is taken for absent.
 */

/** Anything, read by a function that makes do with what it gets. */
const lenient = <T>(read: (value: unknown) => T) => z.unknown().optional().transform(read);

const count = lenient((value) => (typeof value === "number" && Number.isInteger(value) && value >= 0 ? value : null));
/** JSON has no −∞; servers write null, a very low number or a word for it. */
const logprob = lenient((value) => (typeof value === "number" && Number.isFinite(value) ? value : null));
const word = lenient((value) => (typeof value === "string" ? value : null));
const index = lenient((value) => (typeof value === "number" && Number.isInteger(value) ? value : undefined));
const anything = z.unknown().optional();

const usageSchema = z
  .object({
    prompt_tokens: count,
    completion_tokens: count,
    completion_tokens_details: z.object({ reasoning_tokens: count }).nullish().catch(null),
  })
  .nullish()
  .catch(null);

const tokenSchema = z.object({ token: z.string(), logprob });
const chatLogprobsSchema = z.object({
  content: z.array(tokenSchema.extend({ top_logprobs: z.array(tokenSchema).nullish().catch(null) })),
});
const textLogprobsSchema = z.object({
  tokens: z.array(z.string()),
  token_logprobs: z.array(logprob),
  top_logprobs: z.array(z.record(z.string(), logprob).nullish().catch(null)).nullish().catch(null),
  text_offset: z.array(z.int()).nullish().catch(null),
});

const messageSchema = z.object({
  content: anything,
  refusal: word,
  reasoning_content: anything,
  reasoning: anything,
  thinking: anything,
});
const choiceSchema = z.object({
  index,
  message: messageSchema.nullish(),
  delta: messageSchema.nullish(),
  text: z.string().nullish(),
  finish_reason: anything,
  logprobs: anything,
});
const replySchema = z.object({ choices: z.array(choiceSchema).min(1), usage: usageSchema });
const chunkSchema = z.object({
  choices: z
    .array(choiceSchema)
    .nullish()
    .transform((choices) => choices ?? []),
  usage: usageSchema,
});

/** One choice of a reply, whatever verb it answers. */
export interface Choice {
  index: number;
  text: string;
  /** What the server sent apart from the text as the model's thoughts. */
  thoughts?: string;
  finishReason: FinishReason | null;
  /** Offsets count code points, as servers written in Python do. Tokens of no probability are not among the likeliest. */
  tokens: (Omit<CompletionToken, "logprob"> & { logprob: number | null; offset?: number })[] | null;
}

export interface Reply {
  choices: Choice[];
  usage: { prompt_tokens: number | null; completion_tokens: number | null; reasoning_tokens: number | null } | null;
}

/** What the one who reads a reply is told of it besides. */
export type Notice = (notice: string) => void;

/** Whoever reads a reply is told of it, and what came of one that cannot be used: the server has worked for it. */
export interface Reading {
  readonly notice: Notice;
  readonly lost: (reply: Reply) => void;
}

/** Reads a whole reply, to a conversation or to raw text. Throws MalformedReply; Refused for an error in its place. */
export function readReplyBody(json: unknown, { notice, lost }: Reading): Reply {
  try {
    const { choices, usage } = parse(replySchema, json);
    return {
      usage: usageFrom(usage),
      choices: choices.map((choice, place) => {
        if (!choice.message && choice.text === undefined && !choice.delta)
          throw new MalformedReply(`choice ${place} has neither a message nor a text`);
        return readChoice(choice, place, notice);
      }),
    };
  } catch (error) {
    const counted = z.object({ usage: usageSchema }).safeParse(json).data?.usage;
    if (counted) lost({ choices: [], usage: usageFrom(counted) });
    throw error;
  }
}

/**
 * Gathers a stream of one choice into a reply, giving each piece of text to `onText` on the way.
 *
 * Throws MalformedReply when the stream ends without a reason to: it was cut, however politely.
 */
export async function gatherStream(
  chunks: AsyncIterable<unknown>,
  onText: (text: string) => void,
  { notice, lost }: Reading,
): Promise<Reply> {
  const choice: Choice = { index: 0, text: "", finishReason: null, tokens: null };
  let usage: Reply["usage"] = null;
  try {
    for await (const chunk of chunks) {
      const { choices, usage: counted } = parse(chunkSchema, chunk);
      usage = usageFrom(counted) ?? usage;
      for (const piece of choices.map((one, place) => readChoice(one, place, notice))) {
        choice.finishReason = piece.finishReason ?? choice.finishReason;
        if (piece.tokens) choice.tokens = [...(choice.tokens ?? []), ...piece.tokens];
        if (piece.thoughts !== undefined) choice.thoughts = (choice.thoughts ?? "") + piece.thoughts;
        if (!piece.text) continue;
        choice.text += piece.text;
        onText(piece.text);
      }
    }
    if (choice.finishReason === null) throw new MalformedReply("the stream ended in the middle of the reply");
  } catch (error) {
    if (usage || choice.text || choice.thoughts) lost({ choices: [choice], usage });
    throw error;
  }
  return { choices: [choice], usage };
}

function readChoice(choice: z.output<typeof choiceSchema>, place: number, notice: Notice): Choice {
  const message = choice.message ?? choice.delta;
  const said = message ? contentOf(message.content) : { text: choice.text ?? "", thoughts: "" };
  const apart = [message?.reasoning_content, message?.reasoning, message?.thinking]
    .map(textOf)
    .find((one) => one !== "");
  const thoughts = [apart ?? "", said.thoughts].filter((one) => one !== "").join("\n\n");
  return {
    index: choice.index ?? place,
    // Words with which a service declines stand in a field of their own there; they are what the model says.
    text: said.text || (message?.refusal ?? "") || (message ? (choice.text ?? "") : ""),
    ...(thoughts === "" ? {} : { thoughts }),
    finishReason: finishReason(choice.finish_reason, notice),
    tokens: tokensOf(choice.logprobs, notice),
  };
}

/** A message's content: text, or a list of parts of which some are thoughts. */
function contentOf(content: unknown): { text: string; thoughts: string } {
  if (!Array.isArray(content)) return { text: textOf(content), thoughts: "" };
  const isThought = (part: unknown) =>
    typeof part === "object" && part !== null && "type" in part && /think|reason|analysis/i.test(String(part.type));
  const join = (parts: readonly unknown[]) => parts.map(textOf).join("");
  return {
    text: join(content.filter((part) => !isThought(part))),
    thoughts: join(content.filter(isThought)),
  };
}

/** The text in a part, however deep: a string, `text`, `content`, `thinking`, or a list of such. */
function textOf(value: unknown): string {
  if (typeof value === "string") return value;
  if (Array.isArray(value)) return value.map(textOf).join("");
  if (typeof value !== "object" || value === null) return "";
  const { text, content, thinking, reasoning, summary } = value as Record<string, unknown>;
  return textOf(text ?? content ?? thinking ?? reasoning ?? summary);
}

function usageFrom(usage: z.output<typeof usageSchema>): Reply["usage"] {
  if (!usage) return null;
  const { prompt_tokens, completion_tokens, completion_tokens_details } = usage;
  return { prompt_tokens, completion_tokens, reasoning_tokens: completion_tokens_details?.reasoning_tokens ?? null };
}

/** Rounding of half precision may lift a certainty above 0 by so much. */
const roundedUp = 1e-3;

function tokensOf(given: unknown, notice: Notice): Choice["tokens"] {
  const text = textLogprobsSchema.safeParse(given);
  const chat = text.success ? undefined : chatLogprobsSchema.safeParse(given);
  const tokens = text.success ? textTokens(text.data) : chat?.success ? chatTokens(chat.data) : null;
  if (!tokens) return null;
  const all = tokens.flatMap((token) => [token.logprob ?? 0, ...(token.top ?? []).map((one) => one.logprob)]);
  if (all.every((value) => value <= roundedUp)) return tokens;
  notice("log-probabilities above 0 are none and were not used");
  return null;
}

type Finite = { text: string; logprob: number };

function likeliest(top: readonly { text: string; logprob: number | null }[]): Finite[] {
  return top.filter((one): one is Finite => one.logprob !== null).sort((a, b) => b.logprob - a.logprob);
}

function chatTokens({ content }: z.output<typeof chatLogprobsSchema>): NonNullable<Choice["tokens"]> {
  return content.map(({ token, logprob: own, top_logprobs }) => ({
    text: token,
    logprob: own,
    top: likeliest((top_logprobs ?? []).map((one) => ({ text: one.token, logprob: one.logprob }))),
  }));
}

function textTokens({
  tokens,
  token_logprobs,
  top_logprobs,
  text_offset,
}: z.output<typeof textLogprobsSchema>): NonNullable<Choice["tokens"]> {
  return tokens.map((text, i) => {
    const offset = text_offset?.[i];
    const top = Object.entries(top_logprobs?.[i] ?? {});
    return {
      text,
      logprob: token_logprobs[i] ?? null,
      top: likeliest(top.map(([token, own]) => ({ text: token, logprob: own }))),
      ...(offset !== undefined && { offset }),
    };
  });
}

function parse<T>(schema: z.ZodType<T>, json: unknown): T {
  const refused = errorIn(json);
  if (refused) throw refused;
  if (typeof json === "string") throw new MalformedReply(`no JSON: ${json.slice(0, 200)}`);
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw new MalformedReply(z.prettifyError(parsed.error).replaceAll("\n", "; "));
  return parsed.data;
}

/** A choice as a completion: cut at stop strings that the server did not know, its tokens with it. */
export function toCompletion(
  choice: Choice,
  sampling: SamplingOptions,
  usage: Usage,
  index: number,
  ids?: TokenIds,
): Completion {
  const cut = stopDetector(sampling.stop).push(choice.text);
  const text = cut.stop === undefined ? choice.text : cut.text;
  const finishReason = cut.stop !== undefined ? "stop" : (choice.finishReason ?? "stop");
  const completion: Completion = { text, finishReason, usage, index };
  if (choice.thoughts !== undefined) completion.thoughts = choice.thoughts;
  if (sampling.logprobs === undefined) return completion;
  if (choice.tokens === null || choice.tokens.some(({ logprob }) => logprob === null)) {
    if (text !== "")
      throw new CapabilityError("logprobs", "the endpoint gives no log-probabilities: ask without `logprobs`");
    return { ...completion, tokens: [] };
  }
  if (ids) return { ...completion, tokens: idTokens(choice.tokens, ids) };
  const tokens = ofText(choice.tokens, choice).map(({ text: token, logprob, top }) => ({
    text: token,
    logprob: logprob!,
    top: (top ?? []).slice(0, sampling.logprobs),
  }));
  return { ...completion, tokens: cutTokens(tokens, text.length) };
}

/** How a model's tokens are read that a server gives by their ids. */
export interface TokenIds {
  tokenText(id: number): string;
  /** Tokens that end a reply, and are none of it. */
  readonly endIds: ReadonlySet<number>;
}

/** All tokens that were drawn, thoughts among them, by id. Errors: CapabilityError where the server gives texts. */
function idTokens(given: NonNullable<Choice["tokens"]>, { tokenText, endIds }: TokenIds): CompletionToken[] {
  const tokens = given.map(({ text, logprob }): CompletionToken & { id: number } => {
    const id = /^token_id:(\d+)$/.exec(text)?.[1];
    if (id === undefined)
      throw new CapabilityError(
        "token ids",
        `the endpoint names tokens by their text (${JSON.stringify(text)}): learning from its replies needs vLLM's return_tokens_as_token_ids`,
      );
    return { id: Number(id), text: tokenText(Number(id)), logprob: logprob! };
  });
  const last = tokens.at(-1);
  return last && endIds.has(last.id) ? tokens.slice(0, -1) : tokens;
}

/** The tokens of the text: where thoughts were taken out of it by the server, their tokens still stand before. */
function ofText(tokens: NonNullable<Choice["tokens"]>, { text, thoughts }: Choice): NonNullable<Choice["tokens"]> {
  if (thoughts === undefined) return tokens;
  const joined = tokens.map((token) => token.text).join("");
  const at = joined.lastIndexOf(text);
  return at < 0 ? tokens : tokensBetween(tokens, at, at + text.length);
}

/** The counts of a reply; each that the server does not give is one token per four characters, and the whole marked as estimated. */
export function usageOf(reply: Reply, prompt: Prompt): Usage & { estimated: boolean } {
  const { prompt_tokens = null, completion_tokens = null } = reply.usage ?? {};
  const said = reply.choices.reduce((sum, { text, thoughts = "" }) => sum + text.length + thoughts.length, 0);
  return {
    promptTokens: prompt_tokens ?? estimateTokens(prompt),
    completionTokens: completion_tokens ?? Math.ceil(said / 4),
    estimated: prompt_tokens === null || completion_tokens === null,
  };
}

/** What LLaVA-1.5 makes of an image (arXiv 2310.03744): 24 × 24 patches of 14 × 14 pixels. Models differ in this by more than in text. */
export const tokensPerImage = 576;

export function estimateTokens(prompt: Prompt): number {
  if (typeof prompt === "string") return Math.ceil(prompt.length / 4);
  const characters = prompt.reduce((sum, { content }) => sum + content.length + 16, 0);
  return Math.ceil(characters / 4) + tokensPerImage * imagesOf(prompt).length;
}
