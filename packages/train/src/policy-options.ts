import type { PromptRow } from "@tenet/data";
import type { DeviceName } from "@tenet/tensor";
import { z } from "zod";
import { constraintSettingsSchema } from "./constraint.ts";
import type { TrainableModel } from "./forward.ts";
import { avoidSettingsSchema, imitateSettingsSchema } from "./imitate.ts";
import { type Reward, rewardSettingsSchema } from "./reward/index.ts";
import type { SelectionOptions, SelectionReport } from "./selection.ts";
import { loraSettingsSchema, mostPasses, trainingFields } from "./settings.ts";
import type { LossTerm } from "./terms.ts";

/** What every training of a policy is given. */
export interface PolicyOptions {
  /** The frozen base. It is in memory once, under every adapter of the training. */
  readonly model: TrainableModel;
  /** Folder of the adapter that the policy starts from; without it, the base itself. */
  readonly from?: string | undefined;
  /** Receives `adapter` and `checkpoints`; a folder with checkpoints of the same training is continued. */
  readonly folder: string;
  readonly seed: number;
  /** Watches the training and has it return its best; without it, the last is returned. */
  readonly selection?: SelectionOptions | undefined;
  /** Terms of the loss beside the algorithm's own, in the same updates. */
  readonly terms?: readonly LossTerm[] | undefined;
  /** Stops between calls of the model; the last checkpoint stays. */
  readonly signal?: AbortSignal | undefined;
  readonly device?: DeviceName | "auto";
  readonly threads?: number;
}

/** What an algorithm that samples while it learns is given besides. */
export interface OnlineOptions extends PolicyOptions {
  readonly prompts: readonly PromptRow[];
  readonly reward: Reward;
  /** What the policy is held to: a model with an adapter of the policy's shape, or without one the base; by default where it starts. */
  readonly reference?: { readonly adapter?: string | undefined } | undefined;
  /** What responses cost, where `settings.constraint` bounds it: its number is the cost. */
  readonly cost?: Reward | undefined;
}

export interface PolicyReport {
  readonly algorithm: string;
  readonly steps: number;
  /** Rows that were not used, and why. */
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  /** Metrics of every step, those before a restart too. */
  readonly history: readonly Readonly<Record<string, number>>[];
  /** Present where the training was watched. */
  readonly selection?: SelectionReport;
}

export interface PolicyResult {
  readonly kind: "adapter";
  /** Folder of the trained adapter in PEFT's format. */
  readonly path: string;
  readonly report: PolicyReport;
}

const { maxLength: _, checkpointEvery: __, ...optimizerFields } = trainingFields;

/** Settings that all algorithms of policy training share. */
export const policyFields = {
  ...optimizerFields,
  learningRate: z
    .number()
    .positive()
    .default(5e-5)
    .describe("AdamW's learning rate; full weights would take 3e-6, LoRA takes 10 to 30 × that."),
  lora: loraSettingsSchema
    .prefault({})
    .describe("Factors of a policy that starts from the base; one that starts from an adapter keeps that one's."),
  imitate: imitateSettingsSchema
    .optional()
    .describe(
      "Also learns the revised examples, in the same updates: λ times their cross-entropy beside the algorithm's loss.",
    ),
  avoid: avoidSettingsSchema
    .optional()
    .describe(
      "Also unlearns replies that violate, in the same updates: λ times their unlikelihood beside the algorithm's loss.",
    ),
};

/** Settings of the algorithms that sample while they learn, but for those whose defaults are an algorithm's own. */
export const onlineFields = {
  ...policyFields,
  reward: rewardSettingsSchema.prefault({}).describe("What a response is worth."),
  constraint: constraintSettingsSchema
    .optional()
    .describe(
      "Bounds what responses cost on average, by a Lagrange multiplier (PPO-Lagrangian): without it nothing is bounded.",
    ),
  iterations: z.int().min(1).default(50).describe("Rounds of sampling and learning."),
  maxTokens: z.int().min(1).default(128).describe("Tokens of a response, at most."),
  maxPromptTokens: z.int().min(1).default(512).describe("Longer prompts are set aside."),
  clip: z.number().gt(0).default(0.2).describe("ε: how far a probability ratio may move before its gain is cut off."),
  targetKl: z
    .number()
    .positive()
    .optional()
    .describe("Passes over an iteration's responses end early once ½(log ρ)² exceeds this on average over one."),
};

/** What a policy is held to, for the settings of each algorithm's KL; which model that is, whoever trains it says. */
export const referenceField = z
  .enum(["start", "first", "base"])
  .optional()
  .describe(
    "Whom the policy is held to: where this training starts (the default), where the policy of the first round started, or the recipe's model.",
  );

/** How many responses an iteration has, and how often it goes through them. */
export function batchFields(defaults: { prompts: number; samples: number; epochs: number; minibatches: number }) {
  const count = z.int().min(1);
  return {
    promptsPerIteration: count.default(defaults.prompts).describe("Prompts of an iteration."),
    samplesPerPrompt: z
      .int()
      .min(defaults.samples > 1 ? 2 : 1)
      .default(defaults.samples)
      .describe("Responses to each prompt."),
    epochs: count.max(mostPasses).default(defaults.epochs).describe("Passes over an iteration's responses."),
    minibatches: count.default(defaults.minibatches).describe("Updates per pass."),
  };
}

const policySettings = z.strictObject(policyFields);
export type PolicySettings = z.output<typeof policySettings>;

const onlineSettings = z.strictObject({
  ...onlineFields,
  ...batchFields({ prompts: 1, samples: 1, epochs: 1, minibatches: 1 }),
});
export type OnlineSettings = z.output<typeof onlineSettings>;

/** Whether replies to one prompt compute it once, where they are learnt from or scored together: an algorithm samples several. */
export function sharesPrompts(policy: object): boolean {
  return "samplesPerPrompt" in policy && Number(policy.samplesPerPrompt) > 1;
}
