import { createHash } from "node:crypto";
import type { ExampleRow } from "@tenet/data";
import { z } from "zod";
import { NoExamplesError } from "./errors.ts";
import { digestExamples, type Example, encodeExamples, weightedItems } from "./examples.ts";
import type { TrainableModel } from "./forward.ts";
import type { BatchGraph } from "./graph.ts";
import { shuffled } from "./loop.ts";
import { sftLoss, unlikelihoodLoss } from "./losses.ts";
import { trainingFields } from "./settings.ts";
import type { LossTerm } from "./terms.ts";

const termFields = {
  batchSize: z.int().min(1).default(8).describe("Of them in each update; all are gone through, again and again."),
  maxLength: trainingFields.maxLength,
};
const weight = z.number().min(0).default(0.1);

/** λ·L_CAI beside an algorithm's loss. METHODS §6. */
export const imitateSettingsSchema = z.strictObject({
  weight: weight.describe("λ of the cross-entropy; 0 does without it."),
  ...termFields,
});

/** λ·unlikelihood beside an algorithm's loss. */
export const avoidSettingsSchema = z.strictObject({
  weight: weight.describe("λ of the unlikelihood; 0 does without it."),
  by: z
    .enum(["checks", "critic", "both"])
    .default("checks")
    .describe("Who says which of the pairs' replies violate: programs, the critic (roles.critic), or both."),
  ...termFields,
});

interface TermOptions {
  readonly model: Pick<TrainableModel, "text" | "config">;
  readonly rows: readonly ExampleRow[];
  readonly settings: { readonly weight: number; readonly batchSize: number; readonly maxLength: number };
  readonly seed: number;
}

/** Cross-entropy of examples, revised replies as a rule: what supervised fine-tuning learns, beside what is rewarded. Errors: NoExamplesError. */
export function imitation(options: TermOptions): LossTerm {
  return exampleTerm("imitate", sftLoss, options);
}

/**
 * Unlikelihood of replies that are not to be given: flagged ones. Of a reply its own tokens, never its end: not when to stop is wrong, but what
 * was said. Errors: NoExamplesError.
 */
export function avoidance({ rows, ...options }: TermOptions): LossTerm {
  return exampleTerm("avoid", unlikelihoodLoss, { ...options, rows: rows.map((row) => ({ ...row, cut: true })) });
}

function exampleTerm(name: string, loss: typeof sftLoss, { model, rows, settings, seed }: TermOptions): LossTerm {
  const aside: { id: string; reason: string }[] = [];
  const examples = encodeExamples(rows, model, { maxLength: settings.maxLength, tooLong: "aside" }, aside);
  if (examples.length === 0)
    throw new NoExamplesError(
      `${name}: none of the ${rows.length} replies can be learnt from: ${aside[0]?.reason ?? "there are none"}. Give others, or do without policy.${name}.`,
    );
  const digest = createHash("sha256");
  digestExamples(rows, digest);
  const batchOf = (update: number) => {
    const { batchSize: size } = settings;
    const orders = new Map<number, readonly number[]>();
    return Array.from({ length: Math.min(size, examples.length) }, (_, i): Example => {
      const at = update * size + i;
      const epoch = Math.floor(at / examples.length);
      const order = orders.get(epoch) ?? shuffled(examples.length, { seed, stage: name, epoch });
      orders.set(epoch, order);
      return examples[order[at % examples.length]!]!;
    });
  };
  return {
    ...{ name, weight: settings.weight, aside, digest: digest.digest("hex") },
    build: (graph: BatchGraph) => ({ loss: loss(graph.tokens().logprobs, graph.value("weight")) }),
    items: (update) => weightedItems(batchOf(update)),
    expected: [
      ...Array.from({ length: 32 }, (_, update) => batchOf(update).map(({ item }) => item)),
      examples.map(({ item }) => item),
    ],
  };
}
