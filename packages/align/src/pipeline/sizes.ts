import type { Message } from "@tenet/data";
import { type DatasetKinds, imagesOf, openDataset, type PromptRow } from "@tenet/data";
import { tokensPerImage } from "@tenet/lm";
import { asAsked, type Principle } from "../constitution/index.ts";
import type { Asked, Size } from "./expectation.ts";
import type { DatasetReference } from "./recipe.ts";
import type { Stage } from "./stages/index.ts";

/*
 * How much there is to do, at most: every reply as long as it may be, no chain that ends early, nothing set aside. Tokens are told from
 * characters, so that no model has to be there.
 */

/** Characters that a token stands for: a rule of thumb for English. */
export const charactersPerToken = 4;
/** Tokens that a chat template puts around a message. */
export const perMessage = 8;
/** Rows of a file that are counted, at most; of a longer one the rest is not looked at. */
export const mostCounted = 100_000;

/** So many requests of so many tokens each to the model of a stage. Errors: TypeError for a stage that is no model. */
export function asking(role: string, model: Stage, requests: number, prompt: number, completion: number): Asked {
  if (model.player === undefined) throw new TypeError(`stage "${model.name}" is no model that could be asked`);
  return {
    role,
    model: model.player,
    promptTokens: requests * (prompt + perMessage),
    completionTokens: requests * completion,
    requests,
  };
}

/** Counts the rows of a file, or as many as it may have. Errors: those of reading it. */
export async function countRows(
  reference: DatasetReference,
  as: keyof DatasetKinds,
  { images = false }: { readonly images?: boolean | undefined } = {},
): Promise<Size> {
  const { path, format, limit } = typeof reference === "string" ? { path: reference } : reference;
  let [rows, tokens, prompts] = [0, 0, 0];
  const most = Math.min(limit ?? mostCounted, mostCounted);
  for await (const read of await openDataset(path, { as, images, limit: most, ...(format && { format }) })) {
    if (!("row" in read)) continue;
    rows++;
    const row = read.row as PromptRow & { completion?: string; a?: string; b?: string; options?: string[] } & Partial<
        Pick<DatasetKinds["safety"], "replies">
      >;
    const prompt = lengthOf(row.prompt);
    prompts += prompt;
    // Of a question, each option and the question before it.
    const options = row.options?.reduce((sum, option) => sum + prompt + size(option), -prompt) ?? 0;
    tokens +=
      prompt +
      size(row.completion) +
      size(row.a) +
      size(row.b) +
      options +
      (row.replies ?? []).reduce((sum, { reply }) => sum + size(reply), 0);
  }
  return { rows, tokens: tokens / Math.max(1, rows), prompt: prompts / Math.max(1, rows) };
}

/** What there is of several, of each a number of rows. */
export function together(parts: readonly (Size & { readonly taken: number })[]): Size {
  const rows = parts.reduce((sum, { taken }) => sum + taken, 0);
  const meanOf = (of: (part: Size) => number) =>
    parts.reduce((sum, part) => sum + part.taken * of(part), 0) / Math.max(1, rows);
  return { rows, tokens: meanOf(({ tokens }) => tokens), prompt: meanOf(({ prompt }) => prompt) };
}

export function size(text: string | undefined): number {
  return text === undefined ? 0 : text.length / charactersPerToken;
}

export function sizes(texts: Readonly<Record<string, string | undefined>>): number {
  return Object.values(texts).reduce<number>((sum, text) => sum + size(text) + perMessage, 0);
}

export function lengthOf(messages: readonly Message[]): number {
  const texts = messages.reduce((sum, { content }) => sum + size(content) + perMessage, 0);
  return texts + tokensPerImage * imagesOf(messages).length;
}

/** A principle as it is asked, the mean of some. */
export function principleSize(principles: readonly Principle[]): number {
  return mean(principles.map((principle) => size(asAsked(principle))));
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / Math.max(1, values.length);
}
