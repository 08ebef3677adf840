import { imagesOf } from "@tenet/data";
import type { Message } from "@tenet/lm";
import type { Rubric } from "../rubric.ts";

/*
 * A judge of the literature was trained on one way of being asked and answers in one form. A format is both: the messages that it
 * is asked with, and how its verdict is read. The headings, markers and order are the publishers'; the sentences between them are ours.
 */

/** What a judge is shown. */
export interface JudgeCase<Responses extends readonly string[] = readonly string[]> {
  /** Ends with the turn that the responses reply to. */
  readonly prompt: readonly Message[];
  readonly responses: Responses;
  readonly rubric: Rubric;
  /** A response of the best score, where one is known. */
  readonly reference?: string | undefined;
}

interface Format<Mode extends string, Responses extends readonly string[], Value> {
  readonly mode: Mode;
  /** Whether the rubric is shown; else the judge looks for quality in general. */
  readonly rubric: boolean;
  /** How many images of the prompt are shown; a case of another number is not asked about. */
  readonly images: "none" | "one" | "any";
  /** The publisher's, for a first reading. */
  readonly sampling: Sampling;
  readonly messages: (shown: JudgeCase<Responses>) => Message[];
  /** The verdict in a text; undefined where none can be told, which is no verdict and no middle one either. Never throws. */
  readonly read: (text: string) => Value | undefined;
}

export interface Sampling {
  readonly temperature: number;
  readonly topP?: number;
  readonly repetitionPenalty?: number;
}

/** A score of one response. */
export interface AbsoluteFormat extends Format<"absolute", readonly [string], number> {
  /** The lowest score and the highest. */
  readonly range: readonly [number, number];
}

/** Which of two responses is better. */
export type RelativeFormat = Format<"relative", readonly [string, string], "A" | "B" | "tie">;

/** What is wrong with a response, in words. */
export type CritiqueFormat = Format<"critique", readonly [string], Critique>;

export interface Critique {
  readonly text: string;
  /** Whether it objects to anything. */
  readonly objects: boolean;
}

/** Why a format cannot be asked about a prompt: it shows another number of images. Undefined where it can. */
export function unshown(prompt: readonly Message[], { images }: { readonly images: "none" | "one" | "any" }) {
  const count = imagesOf(prompt).length;
  if (images === "any" || count === (images === "one" ? 1 : 0)) return undefined;
  const shown = count === 0 ? "no image" : count === 1 ? "an image" : `${count} images`;
  return images === "one"
    ? `the prompt shows ${shown}, and this judge is asked about exactly one`
    : `the prompt shows ${shown}, and this judge is one of texts: ask one that sees, such as prometheus-vision`;
}

/** A conversation as judges of single turns are shown it: the turn alone, or all turns by name. */
export function instructionOf(prompt: readonly Message[]): string {
  const [only] = prompt;
  if (prompt.length === 1) return only!.content;
  return prompt.map(({ role, content }) => `${role}: ${content}`).join("\n\n");
}

/** One message of the user. */
export function ask(...lines: readonly string[]): Message[] {
  return [{ role: "user", content: lines.join("\n") }];
}

/** The end of a text, where verdicts stand, without the marks of Markdown: what is read of long answers takes time in proportion to this. */
export function endOf(text: string): string {
  return text
    .normalize("NFKC")
    .trimEnd()
    .slice(-200)
    .replaceAll(/[*_`]+/g, "")
    .trimEnd();
}

/** A number in [low, high] as its digits say it; undefined for any other. */
export function within(digits: string | undefined, [low, high]: readonly [number, number]): number | undefined {
  if (digits === undefined) return undefined;
  const value = Number(digits);
  return value >= low && value <= high ? value : undefined;
}
