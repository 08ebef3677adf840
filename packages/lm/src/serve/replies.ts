import { randomBytes } from "node:crypto";
import type { Completion, CompletionToken, FinishReason, Usage } from "../language-model/index.ts";
import type { TextCodec } from "../text/index.ts";

/** The two verbs, by what they call their answers. */
export type Verb = "chat" | "text";

const objects = { chat: "chat.completion", text: "text_completion" } as const;
const pieces = { chat: "chat.completion.chunk", text: "text_completion" } as const;

const reasons: Record<FinishReason, string | null> = {
  stop: "stop",
  length: "length",
  filtered: "content_filter",
  cancelled: null,
};

/** Tokens of the prompt, told before those of the reply. */
export interface Echo {
  readonly text: string;
  readonly tokens: readonly {
    readonly id: number;
    readonly text: string;
    readonly logprob: number | null;
    readonly top?: NonNullable<CompletionToken["top"]>;
  }[];
}

export interface Choice {
  readonly index: number;
  readonly completion: Completion;
  readonly echo?: Echo;
  /** The reply ended at a token of its own, which other servers tell behind an echo: who scores texts takes the last one off. */
  readonly ended?: boolean;
}

/** What all of an answer's parts are marked with. */
export interface Envelope {
  readonly id: string;
  readonly created: number;
  readonly model: string;
  readonly verb: Verb;
  /** Of a model whose tokens are known. */
  readonly codec: TextCodec | undefined;
}

export function envelope(verb: Verb, model: string, codec: TextCodec | undefined): Envelope {
  const id = `${verb === "chat" ? "chatcmpl" : "cmpl"}-${randomBytes(12).toString("hex")}`;
  return { id, created: Math.floor(Date.now() / 1000), model, verb, codec };
}

/** A whole answer. */
export function answer({ verb, codec, ...marks }: Envelope, choices: readonly Choice[], usage: Usage): object {
  return {
    ...marks,
    object: objects[verb],
    choices: [...choices].sort((a, b) => a.index - b.index).map((choice) => whole({ verb, codec }, choice)),
    usage: usageOf(usage),
  };
}

export function usageOf({ promptTokens, completionTokens }: Usage): object {
  return {
    prompt_tokens: promptTokens,
    completion_tokens: completionTokens,
    total_tokens: promptTokens + completionTokens,
  };
}

function whole(
  { verb, codec }: Pick<Envelope, "verb" | "codec">,
  { index, completion, echo, ended = false }: Choice,
): object {
  const { text, tokens, finishReason } = completion;
  const finish_reason = reasons[finishReason];
  if (verb === "chat")
    return {
      index,
      message: { role: "assistant", content: text },
      logprobs: tokens ? chatLogprobs(tokens) : null,
      finish_reason,
    };
  return {
    index,
    text: (echo?.text ?? "") + text,
    logprobs: tokens ? textLogprobs([...(echo?.tokens ?? []), ...tokens, ...(ended ? [end] : [])], codec) : null,
    finish_reason,
  };
}

/** The token at which a reply ended: it has no text, and its log-probability is not kept. */
const end = { text: "", logprob: null };

/** A piece of a stream: text, or the end of a choice with its log-probabilities. */
export function chunk(
  { verb, codec, ...marks }: Envelope,
  index: number,
  { text = "", first = false, ended }: { text?: string; first?: boolean; ended?: Completion },
): object {
  const finish_reason = ended ? reasons[ended.finishReason] : null;
  const tokens = ended?.tokens;
  const logprobs = tokens ? (verb === "chat" ? chatLogprobs(tokens) : textLogprobs(tokens, codec)) : null;
  const choice =
    verb === "chat"
      ? { index, delta: ended ? {} : { ...(first && { role: "assistant" }), content: text }, logprobs, finish_reason }
      : { index, text, logprobs, finish_reason };
  return { ...marks, object: pieces[verb], choices: [choice] };
}

/** The last piece of a stream that is to tell its usage. */
export function usageChunk({ verb, codec, ...marks }: Envelope, usage: Usage): object {
  return { ...marks, object: pieces[verb], choices: [], usage: usageOf(usage) };
}

const bytes = (text: string) => [...Buffer.from(text, "utf8")];

function chatLogprobs(tokens: readonly CompletionToken[]): object {
  return {
    content: tokens.map(({ text, logprob, top = [] }) => ({
      ...{ token: text, logprob: finite(logprob), bytes: bytes(text) },
      top_logprobs: top.map((one) => ({ token: one.text, logprob: finite(one.logprob), bytes: bytes(one.text) })),
    })),
    refusal: null,
  };
}

function textLogprobs(
  tokens: readonly { id?: number; text: string; logprob: number | null; top?: CompletionToken["top"] }[],
  codec: TextCodec | undefined,
): object {
  const decoder = codec?.decoder();
  let offset = 0;
  return {
    tokens: tokens.map(({ text }) => text),
    token_logprobs: tokens.map(({ logprob }) => (logprob === null ? null : finite(logprob))),
    top_logprobs: tokens.map(({ top }) =>
      top ? Object.fromEntries(top.map((one) => [one.text, finite(one.logprob)])) : null,
    ),
    text_offset: tokens.map(({ id, text }) => {
      const at = offset;
      // A character of several tokens is one, and stands where the first of them does.
      offset += [...(decoder && id !== undefined ? decoder.push(id) : text)].length;
      return at;
    }),
  };
}

/** JSON has no −∞: OpenAI's service writes this for a probability of 0. */
function finite(logprob: number): number {
  return Number.isFinite(logprob) ? logprob : -9999;
}
