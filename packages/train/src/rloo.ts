import { reshape } from "@tenet/tensor";
import { z } from "zod";
import { type Experience, openActor, sampleItem } from "./actor.ts";
import { leaveOneOut } from "./advantages.ts";
import { Constraint } from "./constraint.ts";
import { equalShare, groupsOf } from "./grpo.ts";
import type { MetricEvent } from "./loop.ts";
import { policyLoss } from "./losses.ts";
import { sumOf } from "./numbers.ts";
import { trainOnline } from "./online.ts";
import { constrained, optimise, policyMetrics, policyUpdate } from "./optimise.ts";
import { batchFields, type OnlineOptions, onlineFields, type PolicyResult, referenceField } from "./policy-options.ts";
import { takeStep } from "./terms.ts";

/** REINFORCE with a leave-one-out baseline (RLOO, 2402.14740): a response is one action, its siblings are the baseline. */
export const rlooSettingsSchema = z.strictObject({
  algorithm: z.literal("rloo").describe("REINFORCE with a leave-one-out baseline."),
  ...onlineFields,
  ...batchFields({ prompts: 16, samples: 4, epochs: 1, minibatches: 1 }),
  kl: z
    .strictObject({
      coefficient: z.number().min(0).default(0.05).describe("β, cost of a nat of log π(y|x) − log π_ref(y|x)."),
      reference: referenceField,
    })
    .prefault({})
    .describe("What keeps the policy near its reference."),
});
export type RlooSettings = z.output<typeof rlooSettingsSchema>;

export interface RlooOptions extends OnlineOptions {
  readonly settings: Omit<z.input<typeof rlooSettingsSchema>, "algorithm">;
}

/**
 * RLOO: R(x, y) − β·(log π(y|x) − log π_ref(y|x)) against the mean of the prompt's other samples, times the response's
 * log-probability. An async generator of metric events, one an iteration, that returns where the adapter is.
 * Errors: as `trainPpo`.
 *
 * The loss is TRL's form of it, with the clipped ratio of whole responses: in an iteration's first update, where the ratio is
 * 1, its gradient is REINFORCE's, and with more updates per iteration it stays near the policy that sampled.
 * Source: RLOO (2402.14740), eq. 8.
 */
export async function* trainRloo(options: RlooOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { seed, signal } = options;
  const settings = rlooSettingsSchema.parse({ algorithm: "rloo", ...options.settings });
  const { iterations, epochs, minibatches, clip, targetKl } = settings;
  const beta = settings.kl.coefficient;
  const actor = await openActor(options, settings, iterations * epochs * minibatches);
  const state = {};
  const constraint = settings.constraint && new Constraint(settings.constraint, state);
  const objective = actor.trainer.objective((graph) => {
    const logprobs = reshape(graph.perSequence(graph.tokens().logprobs), ["items"]);
    const [oldLogprobs, advantages] = [graph.item("logprob"), graph.item("advantage")];
    const { loss, ...metrics } = policyLoss({ logprobs, oldLogprobs, advantages, weights: graph.item("weight") }, clip);
    return { loss, metrics };
  });

  async function learn(experience: Experience, iteration: number) {
    const { samples, logprobs, kl, metrics } = experience;
    const bounded = constrained(experience, constraint, iteration);
    const rewards = bounded.scores.map((score, i) => score - beta * kl[i]!);
    const advantages = groupsOf(rewards, samples).flatMap((group) => [...leaveOneOut(group)]);
    const sums = logprobs.map((row) => sumOf(row, (logprob) => logprob));
    const passes = { seed, iteration, count: samples.length, epochs, minibatches, targetKl };
    const learned = await optimise(passes, async (batch) => {
      signal?.throwIfAborted();
      const items = batch.map((i) => {
        const values = { logprob: sums[i]!, advantage: advantages[i]!, weight: 1 / batch.length };
        return { ...sampleItem(samples[i]!), values };
      });
      const { sums: own, ...step } = await takeStep(actor.trainer, objective, items, actor.terms);
      return policyUpdate(own, step);
    });
    return {
      ...bounded.metrics,
      "objective/non_score_reward": -beta * metrics["objective/kl"]!,
      "objective/rlhf_reward": metrics["objective/scores"]! - beta * metrics["objective/kl"]!,
      ...policyMetrics(learned),
      frac_reward_zero_std: equalShare(groupsOf(bounded.scores, samples)),
    };
  }

  try {
    const trainers = { policy: actor.trainer };
    return yield* trainOnline({ name: "rloo", trainers, state, learn }, actor, options, settings);
  } finally {
    await actor.close();
  }
}
