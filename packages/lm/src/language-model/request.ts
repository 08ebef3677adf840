import { imageSchema } from "@tenet/data";
import { z } from "zod";
import { UsageError } from "./errors.ts";
import {
  type GenerateRequest,
  type Prompt,
  type SamplingInput,
  type SamplingOptions,
  samplingSchema,
  type Tokens,
} from "./types.ts";

/**
 * Sampling options with every default filled in.
 *
 * Errors: UsageError naming each option that is out of range or unknown.
 */
export function resolveSampling(input: SamplingInput = {}): SamplingOptions {
  const parsed = samplingSchema.safeParse(input);
  if (!parsed.success) throw new UsageError(`sampling options: ${z.prettifyError(parsed.error)}`);
  return parsed.data;
}

/** What names a request's randomness: its key or, without one, its prompt. */
export function randomnessKey(request: GenerateRequest<Prompt | Tokens>): string {
  return request.key ?? (typeof request.prompt === "string" ? request.prompt : JSON.stringify(request.prompt));
}

/**
 * Checks a prompt's shape.
 *
 * Errors: UsageError for an empty prompt, an unknown role, a system turn that is not the first, or images that are none or not the user's.
 */
export function checkPrompt(prompt: Prompt): void {
  if (prompt.length === 0) throw new UsageError("the prompt is empty: give text, or at least one message");
  if (typeof prompt === "string") return;
  prompt.forEach((message, turn) => {
    if (!["system", "user", "assistant"].includes(message.role))
      throw new UsageError(`message ${turn} has role '${message.role}': expected system, user or assistant`);
    if (typeof message.content !== "string") throw new UsageError(`message ${turn} has no text content`);
    if (message.role === "system" && turn > 0)
      throw new UsageError(`message ${turn} is a system turn: only the first can be`);
    if (message.images === undefined) return;
    if (message.role !== "user")
      throw new UsageError(`message ${turn} of the ${message.role} shows an image: only the user's can`);
    for (const image of message.images)
      if (!imageSchema.safeParse(image).success)
        throw new UsageError(
          `message ${turn} shows ${image.slice(0, 40)}…: expected a data URL of a PNG, JPEG, GIF or WebP image`,
        );
  });
}
