import { CapabilityError } from "../language-model/errors.ts";
import type { Message, Prompt, SamplingOptions } from "../language-model/types.ts";
import type { Dialect } from "./settings.ts";

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
    messages: prompt.map(messageBody),
    ...(prefilled && dialect === "vllm" && { continue_final_message: true, add_generation_prompt: false }),
  };
}

/** A message as it is sent: images as parts of its content, before the text. */
function messageBody({ role, content, images }: Message): Record<string, unknown> {
  if (images === undefined) return { role, content };
  const shown = images.map((url) => ({ type: "image_url", image_url: { url } }));
  return { role, content: [...shown, { type: "text", text: content }] };
}

export function canPrefill(dialect: Dialect): boolean {
  return dialect === "vllm" || dialect === "llama.cpp";
}

/** Asks for at least one likeliest token: some servers give nothing for none. */
export function logprobsBody(prompt: Prompt, count: number | undefined): Record<string, unknown> {
  if (count === undefined) return {};
  const top = Math.max(1, count);
  return typeof prompt === "string" ? { logprobs: top } : { logprobs: true, top_logprobs: top };
}
