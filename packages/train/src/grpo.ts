import { groupBy } from "@tenet/data";
import { z } from "zod";
import { type Experience, openActor, sampleItem } from "./actor.ts";
import { groupAdvantages } from "./advantages.ts";
import { Constraint } from "./constraint.ts";
import type { MetricEvent } from "./loop.ts";
import { klLoss, policyLoss } from "./losses.ts";
import { trainOnline } from "./online.ts";
import { average, constrained, optimise, policyMetrics, policyUpdate } from "./optimise.ts";
import { batchFields, type OnlineOptions, onlineFields, type PolicyResult, referenceField } from "./policy-options.ts";
import type { Sample } from "./rollout.ts";
import { takeStep } from "./terms.ts";

/** Group relative policy optimisation (GRPO, 2402.03300): no value network, a prompt's samples are each other's baseline. */
export const grpoSettingsSchema = z.strictObject({
  algorithm: z.literal("grpo").describe("Group relative policy optimisation."),
  ...onlineFields,
  ...batchFields({ prompts: 8, samples: 8, epochs: 1, minibatches: 1 }),
  kl: z
    .strictObject({
      coefficient: z.number().min(0).default(0.04).describe("β, cost of a nat of KL(π‖π_ref) per token (k3)."),
      reference: referenceField,
    })
    .prefault({})
    .describe("What keeps the policy near its reference."),
  scaleRewards: z
    .boolean()
    .default(true)
    .describe(
      "Divide a group's advantages by its deviation, as the paper does; without it easy and hard prompts weigh alike.",
    ),
});
export type GrpoSettings = z.output<typeof grpoSettingsSchema>;

export interface GrpoOptions extends OnlineOptions {
  readonly settings: Omit<z.input<typeof grpoSettingsSchema>, "algorithm">;
}

/**
 * GRPO: advantages are a response's reward against its group's mean and deviation, the same on each of its tokens; the loss is
 * PPO's clipped one with β·k3 inside it, a mean over responses of the mean over their tokens. An async generator of metric events
 * that returns where the adapter is. Errors: as `trainPpo`.
 * Source: GRPO (2402.03300), eq. 3, 4 and algorithm 1 with the reference kept fixed.
 */
export async function* trainGrpo(options: GrpoOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { seed, signal } = options;
  const settings = grpoSettingsSchema.parse({ algorithm: "grpo", ...options.settings });
  const { iterations, epochs, minibatches, clip, targetKl, kl, scaleRewards } = settings;
  const actor = await openActor(options, settings, iterations * epochs * minibatches);
  const state = {};
  const constraint = settings.constraint && new Constraint(settings.constraint, state);
  const objective = actor.trainer.objective((graph) => {
    const { logprobs } = graph.tokens();
    const weights = graph.value("weight");
    const terms = { logprobs, oldLogprobs: graph.value("logprob"), advantages: graph.value("advantage"), weights };
    const { loss, ...metrics } = policyLoss(terms, clip);
    const penalty = klLoss(logprobs, graph.value("reference"), weights);
    return { loss: loss.add(penalty.mul(kl.coefficient)), metrics: { ...metrics, kl: penalty } };
  });

  async function learn(experience: Experience, iteration: number) {
    const { samples, logprobs, referenceLogprobs } = experience;
    const { scores, metrics } = constrained(experience, constraint, iteration);
    const groups = groupsOf(scores, samples);
    const advantages = groups.flatMap((group) => [...groupAdvantages(group, { scale: scaleRewards })]);
    const passes = { seed, iteration, count: samples.length, epochs, minibatches, targetKl };
    const learned = await optimise(passes, async (batch) => {
      signal?.throwIfAborted();
      const items = batch.map((i) => {
        const { length } = samples[i]!.tokens;
        const each = (value: number) => new Float32Array(length).fill(value);
        const [advantage, weight] = [each(advantages[i]!), each(1 / (batch.length * length))];
        return sampleItem(samples[i]!, { logprob: logprobs[i]!, reference: referenceLogprobs[i]!, advantage, weight });
      });
      const { sums, ...step } = await takeStep(actor.trainer, objective, items, actor.terms);
      return { ...policyUpdate(sums, step), kl: sums.kl! };
    });
    return {
      ...metrics,
      ...policyMetrics(learned),
      "policy/kl_avg": average(learned, "kl"),
      frac_reward_zero_std: equalShare(groups),
    };
  }

  try {
    const trainers = { policy: actor.trainer };
    return yield* trainOnline({ name: "grpo", trainers, state, learn }, actor, options, settings);
  } finally {
    await actor.close();
  }
}

/** Share of groups whose values are all the same: of scores, those that teach nothing. */
export function equalShare(groups: readonly (readonly number[])[]): number {
  return groups.filter((group) => group.every((value) => value === group[0])).length / groups.length;
}

/** Values that stand beside samples, in groups: those of one prompt's turn, which stand together. */
export function groupsOf<T>(values: readonly T[], samples: readonly Pick<Sample, "turn">[]): T[][] {
  return [...groupBy([...values.keys()], (i) => `${samples[i]!.turn}`).values()].map((places) =>
    places.map((i) => values[i]!),
  );
}
