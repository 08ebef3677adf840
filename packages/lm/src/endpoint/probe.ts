import { EndpointError } from "../language-model/errors.ts";
import type { Capabilities } from "../language-model/types.ts";
import type { Ask } from "./attempts.ts";
import { scoreFromEcho } from "./score.ts";
import type { Reply } from "./wire.ts";

/** What one-token calls find out. `top` holds the most likeliest tokens given, null for no log-probabilities. */
export interface Abilities {
  chat: boolean;
  raw: boolean;
  top: { chat: number | null; raw: number | null };
  score: Capabilities["score"];
}

const question = "The capital of France is";
/** Hosted services stop at 20 or at 5; nothing here needs more. */
const counts = [20, 5];

/**
 * Finds out what a server can do, by at most seven one-token calls.
 *
 * A refusal, whatever its status, is an answer: the server cannot. A broken connection is none and is thrown; so is the refusal of
 * a plain call where no kind of plain call is taken, at once where it speaks of the account or of the server's state.
 */
export async function probe(ask: Ask, maxTokensField: string, signal: AbortSignal | undefined): Promise<Abilities> {
  const attempt = async (body: Record<string, unknown>): Promise<Reply | EndpointError> => {
    try {
      const prompt = "prompt" in body ? question : [{ role: "user" as const, content: question }];
      return await ask(prompt, { temperature: 0, ...body }, { signal, probe: true });
    } catch (error) {
      if (error instanceof EndpointError && error.fault === "http") return error;
      throw error;
    }
  };
  /** A kind of call: with as many of the likeliest tokens as are given, else plain; or why not even that. */
  const kind = async (plain: Record<string, unknown>, logprobs: (count: number) => Record<string, unknown>) => {
    let refused: Reply | undefined;
    for (const count of counts) {
      const reply = await attempt({ ...plain, ...logprobs(count) });
      if (!(reply instanceof EndpointError)) return { reply, top: topOf(reply) };
      if (refused) continue;
      const alone = await attempt(plain);
      if (alone instanceof EndpointError) return { refusal: alone };
      refused = alone;
    }
    return { reply: refused!, top: null };
  };

  const messages = [{ role: "user", content: question }];
  const chat = await kind({ messages, [maxTokensField]: 1 }, (count) => ({ logprobs: true, top_logprobs: count }));
  if (chat.refusal && endsAll(chat.refusal.status)) throw chat.refusal;
  const raw = await kind({ prompt: question, max_tokens: 1 }, (count) => ({ logprobs: count }));
  if (chat.refusal && raw.refusal) throw chat.refusal;
  const [chatTop, rawTop] = [chat.top ?? null, raw.top ?? null];
  const echoes = raw.reply !== undefined && rawTop !== null && (await echoIsRight(attempt, raw.reply));

  return {
    chat: chat.reply !== undefined,
    raw: raw.reply !== undefined,
    top: { chat: chatTop, raw: rawTop },
    score: {
      raw: echoes ? "continuations" : rawTop !== null ? "options" : "none",
      chat: chatTop !== null ? "options" : "none",
    },
  };
}

/** Whether a plain call's refusal is none of the call: the key, the account, the rate, the server's own state. */
function endsAll(status: number | undefined): boolean {
  return status === 401 || status === 402 || status === 429 || (status !== undefined && status >= 502);
}

/** How many of the likeliest tokens stand beside the first that is told of; null for none. */
function topOf(reply: Reply): number | null {
  return reply.choices[0]?.tokens?.find(({ top }) => top?.length)?.top?.length ?? null;
}

/**
 * Whether the log-probability that a token has in an echo is the one it had when it was generated. It is not with every
 * server that offers an echo: one that shifts its log-probabilities by a token gives plausible and wrong scores.
 */
async function echoIsRight(
  attempt: (body: Record<string, unknown>) => Promise<Reply | EndpointError>,
  generated: Reply,
): Promise<boolean> {
  const token = generated.choices[0]?.tokens?.[0];
  if (!token || token.logprob === null || token.text === "") return false;
  const echo = await attempt({ prompt: question + token.text, max_tokens: 1, echo: true, logprobs: 1 });
  if (echo instanceof EndpointError) return false;
  const choice = echo.choices[0]!;
  const score = scoreFromEcho(choice, {
    prompt: question,
    continuation: token.text,
    generated: echo.usage?.completion_tokens ?? 1,
  });
  // Batches of another shape round otherwise, quantised ones the more.
  return score !== null && Math.abs(score.logprob - token.logprob) < 0.1;
}
