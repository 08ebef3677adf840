import { type LoraConfig, loadAdapter, projections } from "@tenet/lm";
import { z } from "zod";
import type { TrainableModel } from "./forward.ts";
import { defaultMicroBatchTokens } from "./forward.ts";
import type { TrainingPlan } from "./memory.ts";
import type { OptimizerOptions, TrainerOptions } from "./trainer.ts";

/** Passes over data, at most: the order of all of them is laid out before the first step. */
export const mostPasses = 10_000;

/** Low-rank adapters (LoRA, arXiv 2106.09685). */
export const loraSettingsSchema = z.strictObject({
  rank: z.int().min(1).max(1024).default(16).describe("Width of the adapter's factors."),
  alpha: z.number().positive().default(32).describe("The factors' product is scaled by alpha / rank."),
  targets: z
    .array(z.enum(projections))
    .min(1)
    .optional()
    .describe("Matrices of each layer that are adapted; all seven when not given."),
});
export type LoraSettings = z.output<typeof loraSettingsSchema>;

/** Such settings as the decoder takes them. */
export function loraConfig({ rank, alpha, targets }: LoraSettings): LoraConfig {
  return { rank, alpha, ...(targets === undefined ? {} : { targets }) };
}

/**
 * The shape of an adapter in training: the settings' where it begins, and that of the adapter which it goes on from, whatever the
 * settings say: factors of another width cannot be gone on with. Errors: those of `loadAdapter`.
 */
export async function adapterShape(
  settings: LoraSettings,
  { model, from }: { readonly model: TrainableModel; readonly from?: string | undefined },
): Promise<LoraConfig> {
  return from === undefined ? loraConfig(settings) : (await loadAdapter(from, model.config)).lora;
}

/** What every training stage lets one set of AdamW and of memory: spread into its own schema. */
export const trainingFields = {
  schedule: z
    .enum(["constant", "linear", "cosine"])
    .default("constant")
    .describe("How the learning rate goes after the warm-up: it stays, or falls to 0 at the last step."),
  warmupSteps: z.int().min(0).default(0).describe("Steps over which the learning rate rises from 0."),
  betas: z
    .tuple([z.number().min(0).lt(1), z.number().min(0).lt(1)])
    .default([0.9, 0.999])
    .describe("AdamW's decay rates of the first and second moment."),
  epsilon: z.number().positive().default(1e-8).describe("AdamW's addition to the root of the second moment."),
  weightDecay: z.number().min(0).default(0).describe("Share of learning rate · weight taken off each step."),
  maxGradNorm: z.number().min(0).default(1).describe("The gradient's norm is clipped to this; 0 does not clip."),
  maxLength: z
    .int()
    .min(8)
    .max(2 ** 20)
    .default(1024)
    .describe("Longest sequence in tokens, prompt and reply together."),
  microBatchTokens: z
    .int()
    .min(64)
    .max(2 ** 20)
    .default(defaultMicroBatchTokens)
    .describe(
      "Tokens computed at once; bounds memory. An update is a sum over what is computed at once, so that another number gives the same up to rounding, not to the last bit.",
    ),
  activationCheckpointing: z
    .boolean()
    .default(false)
    .describe("Compute activations anew in the backward pass: a quarter of the memory, 1.25 × the time."),
  checkpointEvery: z.int().min(1).default(20).describe("Steps between checkpoints, from which a killed run continues."),
};
const training = z.strictObject(trainingFields);
export type TrainingSettings = z.output<typeof training>;

/** The optimizer of such settings for a run of `steps` updates. */
export function optimizerOptions(settings: TrainingSettings, learningRate: number, steps: number): OptimizerOptions {
  const { schedule, warmupSteps, betas, epsilon, weightDecay, maxGradNorm } = settings;
  return { learningRate, schedule, warmupSteps, steps, betas, epsilon, weightDecay, maxGradNorm };
}

/** A training by such settings, as far as its memory goes. */
export function trainingPlan(
  settings: Pick<TrainingSettings, "microBatchTokens" | "activationCheckpointing"> & { readonly lora: LoraSettings },
  plan: Omit<TrainingPlan, "lora" | "microBatchTokens" | "activationCheckpointing">,
): TrainingPlan {
  const { microBatchTokens, activationCheckpointing, lora } = settings;
  return { lora: loraConfig(lora), microBatchTokens, activationCheckpointing, ...plan };
}

/** What of such settings bounds a trainer's memory. */
export function memoryOptions(
  settings: Pick<TrainingSettings, "microBatchTokens" | "activationCheckpointing">,
): Pick<TrainerOptions, "microBatchTokens" | "checkpointing"> {
  return { microBatchTokens: settings.microBatchTokens, checkpointing: settings.activationCheckpointing };
}
