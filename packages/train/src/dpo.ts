import { createHash } from "node:crypto";
import { join } from "node:path";
import type { PreferenceRow } from "@tenet/data";
import { greater, greaterEqual, reshape, type Tensor, where } from "@tenet/tensor";
import { z } from "zod";
import { trainerOptions } from "./actor.ts";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { encodeReply, unlessRefused } from "./encode.ts";
import { baseIdentity } from "./fingerprint.ts";
import type { BatchGraph } from "./graph.ts";
import { batches, type MetricEvent, shuffled } from "./loop.ts";
import { dpoLoss } from "./losses.ts";
import { sumOf } from "./numbers.ts";
import { openTrainer } from "./open-trainer.ts";
import { completionSequence, type Item } from "./packing.ts";
import { type PolicyOptions, type PolicyReport, type PolicyResult, policyFields } from "./policy-options.ts";
import { type SelectionState, selectionDigest, watchedReport } from "./selection.ts";
import { mostPasses, trainingFields } from "./settings.ts";
import { active, openTerms, takeStep, termsIdentity } from "./terms.ts";
import { trainingLoop } from "./training-loop.ts";

/** Direct preference optimisation (DPO, 2305.18290): preferences teach the policy itself, without reward or sampling. */
export const dpoSettingsSchema = z.strictObject({
  algorithm: z.literal("dpo").describe("Direct preference optimisation."),
  ...policyFields,
  beta: z.number().positive().default(0.1).describe("β: how dearly leaving the reference is paid for."),
  labels: z
    .enum(["soft", "hard"])
    .default("soft")
    .describe("Whether a pair's target is its probability p (conservative DPO), or 0 or 1, whichever is nearer."),
  epochs: z.int().min(1).max(mostPasses).default(1).describe("Passes over the pairs."),
  batchSize: z.int().min(1).default(16).describe("Pairs of an update."),
  maxLength: trainingFields.maxLength,
  checkpointEvery: trainingFields.checkpointEvery,
});
export type DpoSettings = z.output<typeof dpoSettingsSchema>;

export interface DpoOptions extends PolicyOptions {
  readonly rows: readonly PreferenceRow[];
  readonly settings: Omit<z.input<typeof dpoSettingsSchema>, "algorithm">;
}

/** No pair can be trained on. */
export class NoPairsError extends Error {
  override readonly name = "NoPairsError";
}

interface Pair {
  readonly item: Item;
  readonly p: number;
  readonly weight: number;
}

type Progress = { history: Record<string, number>[]; selection?: SelectionState };

/**
 * DPO on pairs with soft targets: an async generator of metric events that returns where the adapter is. The reference's
 * log-probabilities of all pairs are computed once, before the first step.
 *
 * Events carry TRL's names: `loss`, `rewards/chosen` and `rewards/rejected` (β·(log π − log π_ref), nats times β, of the side with
 * the larger and the smaller p), `rewards/margins`, `rewards/accuracies`, `logps/chosen`, `logps/rejected`, `grad_norm` (before
 * clipping), `learning_rate`, `epoch`. A killed run continues from its last checkpoint and ends with the same bytes.
 * Errors: NoPairsError, CheckpointMismatchError for a folder with another training's checkpoints, those of `encodeReply`.
 */
export async function* trainDpo(options: DpoOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { model, seed, folder, from, selection: watched, signal } = options;
  const settings = dpoSettingsSchema.parse({ algorithm: "dpo", ...options.settings });
  const { beta, epochs, batchSize, checkpointEvery, ...rest } = settings;
  const { pairs, aside, digest } = prepare(options, settings);
  const plan = Array.from({ length: epochs }, (_, epoch) => {
    const order = shuffled(pairs.length, { seed, stage: "dpo", epoch });
    const steps = batches(order, () => 1, { size: batchSize });
    return steps.map((chosen, i) => ({ chosen, epoch: epoch + (i + 1) / steps.length }));
  }).flat();
  const start = from && (await adapterDigest(from));
  const base = await baseIdentity(model);
  const given = await trainerOptions(options, settings, {
    updates: plan.length,
    expected: [
      ...plan.map(({ chosen }) => chosen.map((i) => pairs[i]!.item)),
      pairs.map(({ item }) => item),
      ...active(options.terms).flatMap((term) => term.expected),
    ],
    sequencesPerItem: 2,
  });
  const trainer = await openTrainer(given);
  try {
    // Before any checkpoint is restored the parameters are those of the reference.
    const scoring = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
    const { logprobs } = await scoring.run(pairs.map(({ item }) => item));
    await scoring.close();
    const reference = logprobs!.map((sides) => sides.map((side) => sumOf(side, (logprob) => logprob)));
    const objective = trainer.objective((graph) => dpoObjective(graph, beta));
    const terms = openTerms(trainer, options.terms);
    const progress = yield* trainingLoop<Progress>({
      trainer,
      checkpoints: new Checkpoints(join(folder, "checkpoints"), {
        ...{ settings: { beta, epochs, batchSize, ...rest }, seed, model: base, from: start, data: digest },
        ...(watched && { selection: selectionDigest(watched) }),
        ...termsIdentity(options.terms),
      }),
      steps: plan.length,
      checkpointEvery,
      signal,
      progress: { history: [] },
      ...(watched && {
        watch: { options: watched, model, seed, due: (step: number) => Number.isInteger(plan[step - 1]!.epoch) },
      }),
      take: async (step, progress) => {
        const { chosen, epoch } = plan[step]!;
        const total = sumOf(chosen, (i) => pairs[i]!.weight);
        const items = chosen.map((i): Item => {
          const { item, p, weight } = pairs[i]!;
          const [referenceA, referenceB] = reference[i] as [number, number];
          return { ...item, values: { p, weight: weight / total, share: 1 / chosen.length, referenceA, referenceB } };
        });
        const taken = await takeStep(trainer, objective, items, terms);
        const { gradNorm: grad_norm, learningRate: learning_rate } = taken;
        const metrics = { ...taken.sums, ...taken.metrics, grad_norm, learning_rate, epoch };
        progress.history.push(metrics);
        return metrics;
      },
    });
    const path = join(folder, "adapter");
    await trainer.save(path);
    return {
      kind: "adapter",
      path,
      report: {
        ...{ algorithm: "dpo", steps: progress.history.length, history: progress.history },
        aside: [...aside, ...active(options.terms).flatMap((term) => term.aside)],
        ...watchedReport(watched, progress),
      },
    };
  } finally {
    await trainer.close();
  }
}

/** The loss of a batch of pairs, and means over its pairs of what TRL reports. */
function dpoObjective(graph: BatchGraph, beta: number) {
  const sums = graph.perSequence(graph.tokens().logprobs); // [items, 2]
  const [a, b] = [side(sums, 0), side(sums, 1)];
  const [p, share] = [graph.item("p"), graph.item("share")];
  const [referenceA, referenceB] = [graph.item("referenceA"), graph.item("referenceB")];
  const terms = { a, b, referenceA, referenceB, p, weights: graph.item("weight") };
  const { loss, rewardA, rewardB } = dpoLoss(terms, beta);
  const first = greaterEqual(p, 0.5);
  const mean = (x: Tensor) => x.mul(share).sum();
  const chosen = where(first, rewardA, rewardB);
  const rejected = where(first, rewardB, rewardA);
  return {
    loss,
    metrics: {
      "rewards/chosen": mean(chosen),
      "rewards/rejected": mean(rejected),
      "rewards/margins": mean(chosen.sub(rejected)),
      "rewards/accuracies": mean(greater(chosen, rejected).cast("float32")),
      "logps/chosen": mean(where(first, a, b)),
      "logps/rejected": mean(where(first, b, a)),
    },
  };
}

function side(sums: Tensor, index: number): Tensor {
  return reshape(sums.slice(1, index, index + 1), ["items"]);
}

interface Prepared {
  readonly pairs: readonly Pair[];
  readonly aside: PolicyReport["aside"];
  readonly digest: string;
}

/** Pairs as the trainer takes them. @throws NoPairsError when none is short enough and has a weight */
function prepare({ model, rows }: DpoOptions, { maxLength, labels }: DpoSettings): Prepared {
  const limit = Math.min(maxLength, model.config.max_position_embeddings);
  const aside: { id: string; reason: string }[] = [];
  const digest = createHash("sha256");
  const pairs = rows.flatMap(({ id, prompt, a, b, p, weight, cut }): Pair[] => {
    digest.update(JSON.stringify([prompt, a, b, p, weight, ...(cut ? [cut] : [])]));
    const reject = (reason: string) => {
      aside.push({ id, reason });
      return [];
    };
    if (weight === 0) return reject("its weight is 0");
    if (a === b) return reject("both replies are the same: there is nothing to prefer");
    if (labels === "hard" && p === 0.5) return reject("its label prefers neither, and labels are hard");
    const encoded = unlessRefused(() => [a, b].map((reply) => encodeReply(model.text, prompt, reply, { cut })));
    if ("refused" in encoded) return reject(encoded.refused);
    const sequences = encoded.value.map(({ prompt, completion }) => completionSequence(prompt, completion));
    const length = Math.max(...sequences.map(({ tokens }) => tokens.length));
    if (length > limit) return reject(`prompt and reply have ${length} tokens, more than ${limit}`);
    return [{ item: { sequences }, p: labels === "soft" ? p : Math.round(p), weight }];
  });
  if (pairs.length === 0)
    throw new NoPairsError(
      `none of the ${rows.length} pairs can be trained on: ${aside[0]?.reason ?? "there are none"}. Give others, or raise maxLength.`,
    );
  return { pairs, aside, digest: digest.digest("hex") };
}
