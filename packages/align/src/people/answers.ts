import { randomStream } from "@tenet/data";
import type { Answer, StoredAnswer } from "@tenet/runs";
import { z } from "zod";

/*
 * What people are asked of a pair of replies and what they may say. They judge before they see what the machine said: sides are drawn for
 * each person, and nothing that is shown says whose replies they are. A skip, and two bad replies, are no preference and never become one.
 */

export const choices = ["left much", "left", "tie", "right", "right much", "both bad", "skip"] as const;
export type Choice = (typeof choices)[number];

/** Which of a pair's replies. */
export type Side = "a" | "b";

/** What a queue's `spec` holds. */
export const reviewSpecSchema = z.object({
  run: z.string(),
  stage: z.string(),
  how: z.string(),
  /** People that each item is asked of. */
  overlap: z.int().min(1).max(5),
  guidelines: z.string(),
  question: z.string(),
  reasons: z.array(z.string()),
});
export type ReviewSpec = z.output<typeof reviewSpecSchema>;

/** What is asked where nobody wrote another question. */
export const usualQuestion = "Which reply is better?";

/** What an answer's `value` holds. */
export const answerValueSchema = z.object({
  choice: z.enum(choices),
  /** Which of the pair's replies stood left. */
  left: z.enum(["a", "b"]),
  /** From when the pair was shown to the answer. */
  milliseconds: z.number().optional(),
  reasons: z.array(z.string()).default([]),
});
export type AnswerValue = z.output<typeof answerValueSchema>;

/** One person's latest word on one pair. */
export interface Word {
  readonly row: string;
  readonly who: string;
  readonly value: AnswerValue;
}

/** Which reply stands left for a person: drawn once for the queue, the pair and them. */
export function drawnSide(queue: string, row: string, who: string): Side {
  return randomStream({ seed: 0, stage: `review ${queue} ${who}`, item: row }).uniform(0) < 0.5 ? "a" : "b";
}

/** The probability that `a` is better, for who learns from it; undefined where nothing was preferred. How much better is kept beside it. */
export function preferenceOf(choice: Choice, left: Side): number | undefined {
  if (choice === "skip" || choice === "both bad") return undefined;
  if (choice === "tie") return 0.5;
  return choice.startsWith("left") === (left === "a") ? 1 : 0;
}

/** What a person said, whichever side the replies stood on; undefined where they skipped. */
export function saysOf({ choice, left }: AnswerValue): Side | "tie" | "both bad" | undefined {
  if (choice === "skip") return undefined;
  if (choice === "both bad") return "both bad";
  const p = preferenceOf(choice, left);
  return p === 0.5 ? "tie" : p === 1 ? "a" : "b";
}

/** What was said of a pair, for `Store.addAnswer`: the value, and the label that it stands for, where it is one. */
export function answerOf({
  choice,
  left,
  milliseconds,
  reasons = [],
  note,
  blind = true,
}: {
  readonly choice: Choice;
  readonly left: Side;
  readonly milliseconds?: number | undefined;
  readonly reasons?: readonly string[];
  readonly note?: string | undefined;
  /** Whether the sides were drawn and nothing else was shown. */
  readonly blind?: boolean;
}): Pick<Answer, "value" | "p" | "note"> {
  const p = preferenceOf(choice, left);
  const own = note === undefined ? {} : { note };
  const value = {
    choice,
    left,
    reasons: [...reasons],
    blind,
    ...(milliseconds !== undefined && { milliseconds }),
    ...own,
  };
  return { value, ...(p !== undefined && { p }), ...own };
}

/** Each person's latest answer to each pair, in the order in which pairs were first judged. */
export function wordsOf(answers: readonly StoredAnswer[]): Word[] {
  const latest = new Map<string, Word>();
  for (const { row, who, value } of answers)
    latest.set(JSON.stringify([row, who]), { row, who, value: answerValueSchema.parse(value) });
  return [...latest.values()];
}
