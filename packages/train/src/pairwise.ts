import { join } from "node:path";
import type { DeviceName } from "@tenet/tensor";
import type { z } from "zod";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { baseIdentity } from "./fingerprint.ts";
import type { TrainableModel } from "./forward.ts";
import { batches, type MetricEvent, shuffled } from "./loop.ts";
import { openTrainer } from "./open-trainer.ts";
import type { Item } from "./packing.ts";
import { digestOf, type Pair } from "./pairs.ts";
import { adapterShape, type LoraSettings, memoryOptions, optimizerOptions, type TrainingSettings } from "./settings.ts";
import type { BuildLoss, Sums, Trainer } from "./trainer.ts";
import { trainingLoop } from "./training-loop.ts";

/*
 * Training of a scalar head on pairs of replies: what the preference model and the cost model have in common.
 */

/** What is learnt of pairs. */
export interface PairTask<P extends Pair> {
  /** The loss of a micro-batch of pairs, and sums to report. */
  readonly objective: BuildLoss;
  /** Figures of one run of the objective on some pairs as one batch. */
  measure(run: (items: readonly Item[]) => Promise<Sums>, pairs: readonly P[]): Promise<Record<string, number>>;
}

export interface PhaseOptions<P extends Pair> {
  readonly task: PairTask<P>;
  readonly model: TrainableModel;
  readonly seed: number;
  readonly settings: TrainingSettings & { readonly lora: LoraSettings };
  /** What `plan` counts through, and further pairs that will be scored. */
  readonly pairs: readonly P[];
  readonly plan: Plan;
  readonly folder: string;
  readonly from: string | undefined;
  readonly rate: number;
  /** What the rate is a result of, where not of `learningRate` alone. */
  readonly rateSetting?: string;
  /** Steps of earlier phases, and of all phases. */
  readonly before: number;
  readonly of: number;
  /** What the pairs are besides what every training of pairs learns of them. */
  readonly data?: string;
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto" | undefined;
  readonly threads?: number | undefined;
}

interface Progress {
  tokens: number;
  [key: string]: z.core.util.JSONType;
}

/** Steps, each of pairs by their place, and how many epochs are done with it. */
export type Plan = readonly { readonly pairs: readonly number[]; readonly epoch: number }[];

/** A training of pairs: its own optimizer, schedule and checkpoints. */
export async function openPhase<P extends Pair>(phase: PhaseOptions<P>) {
  const { task, settings, pairs, plan, folder, from, rate, rateSetting = "learningRate", before, of } = phase;
  const { model, seed, signal, device, threads } = phase;
  const { checkpointEvery, ...outcome } = settings;
  const trainer: Trainer = await openTrainer({
    model,
    tuning: { lora: await adapterShape(settings.lora, { model, from }), head: true },
    optimizer: { ...optimizerOptions(settings, rate, plan.length), learningRateSetting: rateSetting },
    seed,
    from,
    expected: [
      ...plan.map((step) => step.pairs.map((i) => pairs[i]!.item)),
      pairs.flatMap(({ item, given }) => (given ? [item, given.turned] : [item])),
    ],
    sequencesPerItem: 2,
    ...memoryOptions(settings),
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  });
  const objective = trainer.objective(task.objective);
  const start = from && (await adapterDigest(from));
  const base = await baseIdentity(model);
  async function* run(): AsyncGenerator<MetricEvent, Progress> {
    const events = trainingLoop<Progress>({
      trainer,
      checkpoints: new Checkpoints(join(folder, "checkpoints"), {
        ...{ settings: outcome, learningRate: rate, seed, model: base, from: start },
        data: phase.data ?? digestOf(pairs),
      }),
      steps: plan.length,
      checkpointEvery,
      signal,
      progress: { tokens: 0 },
      take: async (step, progress) => {
        const batch = plan[step]!.pairs.map((index) => pairs[index]!);
        const measured = await task.measure(objective.accumulate, batch);
        const { gradNorm, learningRate } = await trainer.update();
        progress.tokens += batch.reduce((sum, { tokens }) => sum + tokens, 0);
        return {
          ...measured,
          grad_norm: gradNorm,
          learning_rate: learningRate,
          num_tokens: progress.tokens,
          epoch: plan[step]!.epoch,
        };
      },
    });
    for (let next = await events.next(); ; next = await events.next()) {
      if (next.done) return next.value;
      yield { step: before + next.value.step, of, metrics: next.value.metrics };
    }
  }
  return { trainer, run };
}

interface PlanOptions {
  readonly seed: number;
  readonly stage: string;
  readonly epochs: number;
  readonly batchSize: number;
}

/** Which pairs each update is made of. */
export function planSteps(pairs: readonly Pair[], { seed, stage, epochs, batchSize: size }: PlanOptions): Plan {
  return Array.from({ length: epochs }, (_, epoch) => {
    const order = shuffled(pairs.length, { seed, stage, epoch });
    const steps = batches(order, (index) => pairs[index]!.tokens, { size });
    return steps.map((taken, i) => ({ pairs: taken, epoch: epoch + (i + 1) / steps.length }));
  }).flat();
}
