import type { FinishReason } from "../language-model/types.ts";
import { MalformedReply } from "./failures.ts";

/** What servers say of a reply's end, in lower case: OpenAI's words, and those of text-generation-inference, Anthropic, Gemini, Mistral and Cohere that gateways hand through. */
const known: Readonly<Record<string, FinishReason>> = {
  ...named("stop", ["stop", "", "eos", "eos_token", "eos_found", "end_turn", "stop_sequence", "end", "complete"]),
  ...named("stop", ["completed", "finish", "finished", "normal", "tool_calls", "function_call", "tool_use"]),
  ...named("length", ["length", "max_tokens", "max_length", "max_output_tokens", "max_new_tokens", "model_length"]),
  ...named("filtered", ["content_filter", "safety", "recitation", "blocklist", "prohibited_content", "spii"]),
  ...named("filtered", ["sensitive", "refusal"]),
};

/** With these the server gave up; only they deserve another attempt. */
const gaveUp = /^(?:error|abort|cancel|fail|insufficient_system_resource)/;

/**
 * Why a reply ended, from what the server says; null where it says nothing. A reason that nobody knows counts as `stop`: the reply is
 * there. Throws MalformedReply where the server gave up.
 */
export function finishReason(given: unknown, notice: (notice: string) => void): FinishReason | null {
  if (given === null || given === undefined) return null;
  // Text-generation-inference and llama.cpp have given an object with the reason in it.
  const word = typeof given === "object" && "type" in given ? given.type : given;
  const reason = typeof word === "string" ? word.trim().toLowerCase() : "";
  if (gaveUp.test(reason)) throw new MalformedReply(`it ended with '${reason}'`);
  if (Object.hasOwn(known, reason)) return known[reason]!;
  notice(`the unknown finish_reason ${JSON.stringify(reason.slice(0, 40))} was taken for 'stop'`);
  return "stop";
}

function named(reason: FinishReason, words: readonly string[]): Record<string, FinishReason> {
  return Object.fromEntries(words.map((word) => [word, reason]));
}
