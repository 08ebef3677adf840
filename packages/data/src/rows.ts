import { createHash } from "node:crypto";
import { z } from "zod";
import { givenSchema } from "./given.ts";
import { imageSchema } from "./image.ts";

/*
 * What flows between stages. A row is plain JSON; it has an id that is a function of its content, and it names what it came
 * from: parent rows, model, adapter, constitution, principles, seed.
 */

export const messageSchema = z.strictObject({
  role: z.enum(["system", "user", "assistant"]),
  content: z.string(),
});

/** Where a row came from. Absent fields do not apply: a prompt read from a file has none but its source. */
export const originSchema = z.strictObject({
  /** File, dataset or stage. */
  source: z.string().optional(),
  /** `LanguageModel.id`s that wrote the row, by role. */
  models: z.record(z.string(), z.string()).optional(),
  /** Who wrote the row's reply, where people are known to have. */
  writtenBy: z.literal("people").optional(),
  /** SHA-256 of the constitution. */
  constitution: z.string().optional(),
  /** Ids of the principles that were drawn, in order. */
  principles: z.array(z.string()).optional(),
  seed: z.int().optional(),
  /** Ids of the rows it was made from. */
  parents: z.array(z.string()).default([]),
});
export type Origin = z.output<typeof originSchema>;

const row = { id: z.string().min(1), origin: originSchema };

/** A conversation whose last turn waits for a reply. */
const conversation = z
  .array(messageSchema.extend({ images: z.array(imageSchema).min(1).exactOptional() }))
  .min(1)
  .refine((messages) => messages.at(-1)?.role === "user", { error: "the last message must be the user's" });

export const promptRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  /** Topic or kind, e.g. "diagnosis"; reports are broken down by it. */
  category: z.string().optional(),
  /** A harmless look-alike: refusing it is a fault. */
  benign: z.boolean().optional(),
});
export type PromptRow = z.output<typeof promptRowSchema>;

/** One reply to a prompt. */
export const responseRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  /** What a person sees: without reasoning. */
  response: z.string(),
  /** What the model said to itself before, where it did. It is no part of what checks, judges and measures look at. */
  reasoning: z.string().optional(),
  finishReason: z.enum(["stop", "length", "filtered"]),
  category: z.string().optional(),
  benign: z.boolean().optional(),
});
export type ResponseRow = z.output<typeof responseRowSchema>;

/** A critique–revision chain: y⁰, then per round a principle, a critique and a revision. METHODS §2. */
export const chainRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  /** y⁰ … : the first response and every revision that was accepted, in order. */
  responses: z.array(z.string()).min(1),
  rounds: z.array(
    z.strictObject({
      principle: z.string(),
      critique: z.string(),
      /** As the reviser wrote it, accepted or not. */
      revision: z.string().optional(),
      /** What was taken away from it before it was judged, e.g. an announcement. */
      edits: z.array(z.string()).optional(),
      /** Why the revision did not replace the response before it, or why there is none. */
      rejected: z.string().optional(),
    }),
  ),
  /** The last of the responses goes on: it is the first one, and a limit cut it. */
  cut: z.literal(true).optional(),
  category: z.string().optional(),
  benign: z.boolean().optional(),
});
export type ChainRow = z.output<typeof chainRowSchema>;

/** A completion to learn, behind its prompt: loss falls on the completion only. */
export const exampleRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  completion: z.string().min(1),
  /** Factor of its loss. */
  weight: z.number().min(0).default(1),
  /** The completion goes on: a limit cut it, and no end is learnt behind it. */
  cut: z.literal(true).optional(),
  /** The prompt's, of a file that says it: checks may depend on it. */
  category: z.string().optional(),
});
export type ExampleRow = z.output<typeof exampleRowSchema>;

/** Two replies to one prompt. */
export const pairRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  a: z.string(),
  b: z.string(),
  /** Both go on: a limit cut them, and neither has an end. A reply that was cut is never held against a whole one. */
  cut: z.literal(true).optional(),
  /** The prompt's: checks may depend on it. */
  category: z.string().optional(),
});
export type PairRow = z.output<typeof pairRowSchema>;

/** What a pair is, whoever says something of it. */
export function pairContent({
  prompt,
  a,
  b,
  cut,
  category,
}: Omit<PairRow, "id" | "origin">): Omit<PairRow, "id" | "origin"> {
  return { prompt, a, b, ...(cut && { cut }), ...(category !== undefined && { category }) };
}

/** A pair with what somebody preferred. METHODS §3, §4. */
export const preferenceRowSchema = pairRowSchema.extend({
  /** Probability that `a` is the better one; the soft target itself, not its argmax. */
  p: z.number().min(0).max(1),
  /** Factor of its loss. */
  weight: z.number().min(0).default(1),
  label: z.enum(["ai", "human", "ranking", "check", "contrast"]),
  /** Principles that the pair is judged by, where it is by drawn ones: p is under these. */
  given: givenSchema.optional(),
  /** How the label came about, for people: each step with its figures. */
  explanation: z.array(z.record(z.string(), z.json())).default([]),
});
export type PreferenceRow = z.output<typeof preferenceRowSchema>;

/** A question with options of which one is right. */
export const choiceRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  options: z.array(z.string().min(1)).min(2),
  /** Index of the right option. */
  answer: z.int().min(0),
});
export type ChoiceRow = z.output<typeof choiceRowSchema>;

/** A question in which a person says what they think, with the answer that follows their view and those that do not. METHODS §7. */
export const opinionRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  /** The same question without the person's view, where there is one: how far the view moves the answer is then known. */
  neutral: conversation.optional(),
  /** The answer that follows the view. */
  follows: z.string().min(1),
  others: z.array(z.string().min(1)).min(1),
});
export type OpinionRow = z.output<typeof opinionRowSchema>;

/** A reply to a prompt, or two, with what somebody said of their harm: one person's word. METHODS §6. */
export const safetyRowSchema = z.strictObject({
  ...row,
  prompt: conversation,
  replies: z
    .array(
      z.strictObject({
        reply: z.string(),
        /** Probability that it is unsafe: 0 or 1 where somebody said which. */
        unsafe: z.number().min(0).max(1),
        /** How harmful, from 0, where somebody said so; its steps are the file's. */
        severity: z.number().min(0).optional(),
      }),
    )
    .min(1)
    .max(2),
  /** Place of the safer of two. */
  safer: z.union([z.literal(0), z.literal(1)]).optional(),
});
export type SafetyRow = z.output<typeof safetyRowSchema>;

/** A pair with how unsafe each reply is, for a cost model. METHODS §6. */
export const costRowSchema = pairRowSchema.extend({
  /** Probability that each reply is unsafe: of `a`, of `b`. */
  unsafe: z.tuple([z.number().min(0).max(1), z.number().min(0).max(1)]),
  /** Probability that `a` is the more unsafe one. */
  q: z.number().min(0).max(1),
  /** Factor of its loss. */
  weight: z.number().min(0).default(1),
});
export type CostRow = z.output<typeof costRowSchema>;

/**
 * A row's id: 16 hexadecimal digits of the SHA-256 of its kind and the content that makes it what it is. Equal content gives
 * equal ids on every machine; 64 bits keep a million rows apart with a chance of 3e-8 of one clash.
 *
 * @example
 * rowId("prompt", [{ role: "user", content: "Hello" }]) === rowId("prompt", [{ role: "user", content: "Hello" }]); // true
 */
export function rowId(kind: string, ...content: readonly z.core.util.JSONType[]): string {
  return createHash("sha256")
    .update(JSON.stringify([kind, ...content]))
    .digest("hex")
    .slice(0, 16);
}

/**
 * What one input row became. Item stages are async generators of these, in any order: each is stored whole or not at all, so
 * that a killed stage continues with the rows that have none.
 */
export interface Outcome<Row> {
  /** Id of the input row. */
  readonly input: string;
  readonly rows: readonly Row[];
  /** Why the row could not be used; it is kept, counted and reported, never silently dropped. */
  readonly aside?: string;
}
