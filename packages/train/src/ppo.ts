import { z } from "zod";
import { type Actor, type Experience, openActor, sampleItem, trainerOptions } from "./actor.ts";
import { gae, moments, tokenRewards, whiten } from "./advantages.ts";
import { adapterDigest } from "./checkpoint.ts";
import type { BatchGraph } from "./graph.ts";
import { adaptKl } from "./kl.ts";
import type { MetricEvent } from "./loop.ts";
import { policyLoss, valueLoss } from "./losses.ts";
import { trainOnline } from "./online.ts";
import { average, optimise, policyMetrics, tokenMinibatch } from "./optimise.ts";
import { batchFields, type OnlineOptions, onlineFields, type PolicyResult, referenceField } from "./policy-options.ts";
import { readNormalisation } from "./preference-model.ts";
import { openTrainer, type Trainer } from "./trainer.ts";

/** Proximal policy optimisation (PPO, 1707.06347) of a language model against a reward. METHODS §5. */
export const ppoSettingsSchema = z.strictObject({
  algorithm: z.literal("ppo").describe("Proximal policy optimisation."),
  ...onlineFields,
  ...batchFields({ prompts: 32, samples: 1, epochs: 4, minibatches: 4 }),
  gamma: z.number().gt(0).max(1).default(1).describe("γ, what a reward one token later is worth."),
  lambda: z
    .number()
    .min(0)
    .max(1)
    .default(0.95)
    .describe("λ of the advantage estimate: 1 trusts returns, 0 the value network."),
  kl: z
    .strictObject({
      coefficient: z.number().min(0).default(0.05).describe("β, cost of a nat of log π − log π_ref."),
      target: z
        .number()
        .positive()
        .optional()
        .describe("KL per response in nats to which β is steered; without it β stays as it is."),
      horizon: z.int().min(1).default(10_000).describe("Responses over which β can change by the whole error."),
      reference: referenceField,
    })
    .prefault({})
    .describe("What keeps the policy near its reference."),
  value: z
    .strictObject({
      learningRate: z.number().positive().default(5e-5).describe("AdamW's learning rate of the value network."),
      coefficient: z
        .number()
        .positive()
        .default(0.1)
        .describe(
          "Factor of the value loss. The value network has an optimiser of its own, so that it only decides when that one's gradient is clipped.",
        ),
      clip: z.number().positive().default(0.2).describe("How far a value may move from the rollout's."),
      warmup: z
        .int()
        .min(1)
        .optional()
        .describe(
          "Passes of the value network alone over the first iteration's responses, before the policy moves: it then starts with the reward's scale instead of the preference model's.",
        ),
    })
    .prefault({})
    .describe("The value network."),
  whitenRewards: z.boolean().default(false).describe("Divide token rewards by their deviation over the iteration."),
});
export type PpoSettings = z.output<typeof ppoSettingsSchema>;

export interface PpoOptions extends OnlineOptions {
  readonly settings: Omit<z.input<typeof ppoSettingsSchema>, "algorithm">;
  /**
   * Folder of the preference model's adapter, from which the value network starts. Without it, it starts from the policy's
   * adapter with a new head.
   */
  readonly valueFrom?: string | undefined;
}

/**
 * PPO: four adapters on one base (policy, reference, the preference model inside the reward, value network), sampled from by
 * the generation engine, trained by the training graph: an async generator of metric events that returns where the adapter is.
 *
 * Yields metrics after each iteration, when its checkpoint is on the disk; docs/ppo.md explains each metric and numbers the
 * details that matter. Errors: those of model, reward and disk; CheckpointMismatchError when the folder holds another training.
 */
export async function* trainPpo(options: PpoOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { seed, signal } = options;
  const settings = ppoSettingsSchema.parse({ algorithm: "ppo", ...options.settings });
  const { iterations, epochs, minibatches, clip, targetKl, kl } = settings;
  const updates = iterations * epochs * minibatches;
  const actor = await openActor(options, settings, updates);
  const warmup = (settings.value.warmup ?? 0) * minibatches;
  const critic = await openCritic(options, settings, { updates: updates + warmup, expected: actor.expected });
  // Values are on the scale of the preference model's scores: a constant between them would fall on every last token.
  const { mean, deviation } =
    options.valueFrom === undefined ? { mean: 0, deviation: 1 } : await readNormalisation(options.valueFrom);
  const valuesIn = (graph: BatchGraph) => graph.scores().sub(mean).div(deviation);
  const policyObjective = actor.trainer.objective((graph) => {
    const { logprobs } = graph.tokens();
    const [oldLogprobs, advantages] = [graph.value("logprob"), graph.value("advantage")];
    const terms = { logprobs, oldLogprobs, advantages, weights: graph.value("weight") };
    const { loss, ...metrics } = policyLoss(terms, clip);
    return { loss, metrics };
  });
  const { coefficient } = settings.value;
  const valueObjective = critic.objective((graph) => {
    const [oldValues, returns] = [graph.value("value"), graph.value("return")];
    const terms = { values: valuesIn(graph), oldValues, returns, weights: graph.value("weight") };
    const { loss, clipFraction } = valueLoss(terms, settings.value.clip);
    return { loss: loss.mul(coefficient), metrics: { clipFraction } };
  });
  const warmupObjective = critic.objective((graph) => {
    const error = valuesIn(graph).sub(graph.value("return"));
    return { loss: error.mul(error).mul(graph.value("weight")).sum().mul(coefficient) };
  });
  const valuesOf = critic.forward((graph) => ({ values: valuesIn(graph) }));
  const state = { beta: kl.coefficient };

  async function learn(experience: Experience, iteration: number) {
    const { samples, logprobs, referenceLogprobs, rewarded, metrics } = experience;
    const { beta } = state;
    const estimate = async () => {
      const found = await valuesOf.run(samples.map((sample) => sampleItem(sample)));
      return found.values!.map(([only]) => only!);
    };
    const rewards = samples.map((_, i) =>
      tokenRewards(logprobs[i]!, referenceLogprobs[i]!, { beta, reward: rewarded[i]!.reward }),
    );
    const shaped = settings.whitenRewards ? acrossRows(rewards, (all) => whiten(all, { shiftMean: false })) : rewards;
    if (iteration === 0 && settings.value.warmup !== undefined) {
      // λ = 1: what was received, whatever the network says by now.
      const received = shaped.map(
        (row) => gae(row, new Float64Array(row.length), { gamma: settings.gamma, lambda: 1 }).returns,
      );
      const passes = { seed, iteration: -1, count: samples.length, epochs: settings.value.warmup, minibatches };
      await optimise(passes, async (batch) => {
        signal?.throwIfAborted();
        const { loss } = await warmupObjective.accumulate(tokenMinibatch(batch, samples, { return: received }));
        critic.update();
        return { loss, approxKl: 0 };
      });
    }
    const values = await estimate();
    const estimates = shaped.map((row, i) => gae(row, values[i]!, settings));
    const returns = estimates.map((estimate) => estimate.returns);
    const advantages = acrossRows(
      estimates.map((estimate) => estimate.advantages),
      whiten,
    );
    const terms = { logprob: logprobs, advantage: advantages, value: values, return: returns };

    const passes = { seed, iteration, count: samples.length, epochs, minibatches, targetKl };
    const learned = await optimise(passes, async (batch) => {
      signal?.throwIfAborted();
      const items = tokenMinibatch(batch, samples, terms);
      const policy = await policyObjective.accumulate(items);
      const { gradNorm, learningRate } = actor.trainer.update();
      const value = await valueObjective.accumulate(items);
      const { gradNorm: valueGradNorm } = critic.update();
      const { loss, ratio, clipFraction, approxKl } = policy;
      return {
        ...{ loss, ratio: ratio!, clipFraction: clipFraction!, approxKl: approxKl!, gradNorm, learningRate },
        ...{ valueLoss: value.loss / coefficient, valueClipFraction: value.clipFraction!, valueGradNorm },
      };
    });

    const klMean = metrics["objective/kl"]!;
    if (kl.target !== undefined) {
      const { target, horizon } = kl;
      state.beta = adaptKl(beta, { kl: klMean, responses: samples.length }, { target, horizon });
    }
    return {
      "objective/kl_coefficient": beta,
      "objective/non_score_reward": -beta * klMean,
      "objective/rlhf_reward": metrics["objective/scores"]! - beta * klMean,
      ...policyMetrics(learned),
      "loss/value_avg": average(learned, "valueLoss"),
      "val/clipfrac_avg": average(learned, "valueClipFraction"),
      "val/grad_norm_avg": average(learned, "valueGradNorm"),
      "val/explained_variance": explainedVariance(values, returns),
    };
  }

  try {
    const trainers = { policy: actor.trainer, value: critic };
    const dependsOn = { valueFrom: options.valueFrom && (await adapterDigest(options.valueFrom)) };
    return yield* trainOnline({ name: "ppo", trainers, state, dependsOn, learn }, actor, options, settings);
  } finally {
    await actor.close();
    await critic.close();
  }
}

/** The value network: from the preference model, head and all, or from where the policy starts with a new head. */
async function openCritic(
  options: PpoOptions,
  settings: PpoSettings,
  size: { readonly updates: number; readonly expected: Actor["expected"] },
): Promise<Trainer> {
  const from = options.valueFrom ?? options.from;
  const own = { ...settings, learningRate: settings.value.learningRate };
  const trainer = await trainerOptions({ ...options, from }, own, size);
  const optimizer = { ...trainer.optimizer, learningRateSetting: "value.learningRate" };
  return openTrainer({ ...trainer, optimizer, tuning: { ...trainer.tuning, head: true } });
}

/** Applies a function of all rows' values at once, and cuts its result into rows again. */
function acrossRows(rows: readonly Float64Array[], of: (all: Float64Array) => Float64Array): Float64Array[] {
  const all = new Float64Array(rows.reduce((sum, row) => sum + row.length, 0));
  let at = 0;
  for (const row of rows) {
    all.set(row, at);
    at += row.length;
  }
  const made = of(all);
  at = 0;
  return rows.map(({ length }) => {
    at += length;
    return made.subarray(at - length, at);
  });
}

/** 1 − Var(R − V)/Var(R) over all tokens: 1 for a perfect value network, 0 for a constant one, below 0 for a worse. */
function explainedVariance(values: readonly Float32Array[], returns: readonly Float64Array[]): number {
  const flat = returns.flatMap((row) => [...row]);
  const errors = returns.flatMap((row, i) => [...row].map((value, t) => value - values[i]![t]!));
  const { variance } = moments(flat);
  return variance === 0 ? 0 : 1 - moments(errors).variance / variance;
}
