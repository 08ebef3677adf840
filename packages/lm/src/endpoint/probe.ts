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
 * A refusal (an HTTP status) is an answer; a broken connection is not and is thrown.
 */
export async function probe(ask: Ask, maxTokensField: string, signal: AbortSignal | undefined): Promise<Abilities> {
  const attempt = async (body: Record<string, unknown>): Promise<Reply | null> => {
    try {
      const prompt = "prompt" in body ? question : [{ role: "user" as const, content: question }];
      return await ask(prompt, { temperature: 0, ...body }, { signal, probe: true });
    } catch (error) {
      const refused = error instanceof EndpointError && error.fault === "http";
      if (refused && error.status !== 401 && error.status !== 403 && error.status !== 429) return null;
      throw error;
    }
  };

  const messages = [{ role: "user", content: question }];
  let chat: Reply | null = null;
  let chatTop: number | null = null;
  for (const count of counts) {
    chat = await attempt({ messages, [maxTokensField]: 1, logprobs: true, top_logprobs: count });
    chatTop = chat?.choices[0]?.tokens?.[0]?.top?.length || null;
    if (chat) break;
  }
  chat ??= await attempt({ messages, [maxTokensField]: 1 });

  let raw: Reply | null = null;
  let rawTop: number | null = null;
  for (const count of counts) {
    raw = await attempt({ prompt: question, max_tokens: 1, logprobs: count });
    rawTop = raw?.choices[0]?.tokens?.[0]?.top?.length || null;
    if (raw) break;
  }
  const echoes = raw !== null && rawTop !== null && (await echoIsRight(attempt, raw));
  raw ??= await attempt({ prompt: question, max_tokens: 1 });

  return {
    chat: chat !== null,
    raw: raw !== null,
    top: { chat: chatTop, raw: rawTop },
    score: {
      raw: echoes ? "continuations" : rawTop !== null ? "options" : "none",
      chat: chatTop !== null ? "options" : "none",
    },
  };
}

/**
 * Whether the log-probability that a token has in an echo is the one it had when it was generated. It is not with every
 * server that offers an echo: one that shifts its log-probabilities by a token gives plausible and wrong scores.
 */
async function echoIsRight(
  attempt: (body: Record<string, unknown>) => Promise<Reply | null>,
  generated: Reply,
): Promise<boolean> {
  const token = generated.choices[0]?.tokens?.[0];
  if (!token || token.logprob === null || token.text === "") return false;
  const echo = await attempt({ prompt: question + token.text, max_tokens: 1, echo: true, logprobs: 1 });
  const choice = echo?.choices[0];
  if (!echo || !choice) return false;
  const score = scoreFromEcho(choice, {
    prompt: question,
    continuation: token.text,
    generated: echo.usage?.completion_tokens ?? 1,
  });
  // Batches of another shape round otherwise, quantised ones the more.
  return score !== null && Math.abs(score.logprob - token.logprob) < 0.1;
}
