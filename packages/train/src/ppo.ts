import { z } from "zod";
import { type Actor, type Experience, openActor } from "./actor.ts";
import { gae, tokenRewards, whiten } from "./advantages.ts";
import { adapterDigest } from "./checkpoint.ts";
import { Constraint, type ConstraintState } from "./constraint.ts";
import { adaptKl } from "./kl.ts";
import type { MetricEvent } from "./loop.ts";
import { policyLoss } from "./losses.ts";
import { trainOnline } from "./online.ts";
import { average, optimise, policyMetrics, policyUpdate, tokenMinibatch } from "./optimise.ts";
import { batchFields, type OnlineOptions, onlineFields, type PolicyResult, referenceField } from "./policy-options.ts";
import { takeStep } from "./terms.ts";
import { explainedVariance, openValueNetwork, type ValueNetwork, valueTerm } from "./value-network.ts";

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
      trunk: z
        .enum(["own", "shared"])
        .optional()
        .describe(
          "What the value network stands on: an adapter of its own (the default), begun from the preference model; or the policy's, `shared`, with a new head: one pass for both, which takes less time, and a policy that the value loss moves too.",
        ),
      learningRate: z.number().positive().default(5e-5).describe("AdamW's learning rate of the value network."),
      coefficient: z
        .number()
        .positive()
        .default(0.1)
        .describe(
          "Factor of the value loss. A value network of its own has an optimiser of its own, so that it only decides when that one's gradient is clipped; on a shared trunk it weighs values against replies.",
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
  /** Folder of the cost model's adapter, from which the value network of a constraint's cost starts; as `valueFrom` otherwise. */
  readonly costValueFrom?: string | undefined;
}

/**
 * PPO: four adapters on one base (policy, reference, the preference model inside the reward, value network), sampled from by
 * the generation engine, trained by the training graph: an async generator of metric events that returns where the adapter is. Under a
 * constraint it is PPO-Lagrangian: a second value network, of the cost, and advantages (A − λ·A_C)/(1 + λ). With `value.trunk: shared` the reward's values
 * come of a new head on the policy's adapter, learnt in the same pass by policy loss + coefficient · value loss.
 *
 * Yields metrics after each iteration; docs/ppo.md explains each metric and numbers the
 * details that matter. Errors: those of model, reward and disk; CheckpointMismatchError when the folder holds another training.
 */
export async function* trainPpo(options: PpoOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { seed, signal } = options;
  const settings = ppoSettingsSchema.parse({ algorithm: "ppo", ...options.settings });
  const { iterations, epochs, minibatches, clip, targetKl, kl, gamma } = settings;
  const updates = iterations * epochs * minibatches;
  const shared = settings.value.trunk === "shared";
  if (shared && settings.value.warmup !== undefined)
    throw new RangeError(
      'value.warmup goes with value.trunk "own": on a shared trunk it would move the policy that it is to wait for',
    );
  const actor = await openActor(options, settings, updates, { valued: shared });
  const signals = await openSignals(options, settings, { updates, expected: actor.expected });
  const policyObjective = actor.trainer.objective((graph) => {
    const { logprobs } = graph.tokens();
    const [oldLogprobs, advantages] = [graph.value("logprob"), graph.value("advantage")];
    const terms = { logprobs, oldLogprobs, advantages, weights: graph.value("weight") };
    const { loss, ...metrics } = policyLoss(terms, clip);
    if (!shared) return { loss, metrics };
    const value = valueTerm(graph, graph.scores(), settings.value.clip);
    return {
      loss: loss.add(value.loss.mul(settings.value.coefficient)),
      metrics: { ...metrics, policy: loss, value: value.loss, valueClip: value.clipFraction },
    };
  });
  const state: { beta: number; constraint?: ConstraintState } = { beta: kl.coefficient };
  const constraint = settings.constraint && new Constraint(settings.constraint, state);

  /** What a signal says of an iteration: returns to learn, and advantages before whitening. */
  async function stream({ sign, network, of }: Signal, experience: Experience, iteration: number) {
    const { samples, logprobs, referenceLogprobs } = experience;
    const numbers = of(experience);
    // KL is paid for on every signal, against a cost with the other sign: its weight is then β whatever λ is.
    const rewards = samples.map((_, i) =>
      tokenRewards(logprobs[i]!, referenceLogprobs[i]!, { beta: sign * state.beta, reward: numbers[i]! }),
    );
    const shaped = settings.whitenRewards ? acrossRows(rewards, (all) => whiten(all, { shiftMean: false })) : rewards;
    const { warmup } = settings.value;
    if (iteration === 0 && warmup !== undefined) {
      // λ = 1: what was received, whatever the network says by now.
      const received = shaped.map((row) => gae(row, new Float64Array(row.length), { gamma, lambda: 1 }).returns);
      await network!.warmUp(samples, received, { seed, epochs: warmup, minibatches, signal });
    }
    const values = network ? await network.estimate(samples) : experience.values!;
    const estimates = shaped.map((row, i) => gae(row, values[i]!, settings));
    return {
      values,
      returns: estimates.map(({ returns }) => returns),
      advantages: estimates.map((one) => one.advantages),
    };
  }

  async function learn(experience: Experience, iteration: number) {
    const { samples, logprobs, costs, metrics } = experience;
    const { beta } = state;
    const streams: Awaited<ReturnType<typeof stream>>[] = [];
    for (const one of signals) streams.push(await stream(one, experience, iteration));
    const [reward, cost] = streams;
    const advantagesNow = () =>
      acrossRows(
        constraint ? combineRows(constraint, reward!.advantages, cost!.advantages) : reward!.advantages,
        whiten,
      );
    constraint?.observe(costs!);
    const every = constraint?.settings.multiplier.every;
    if (every === "iteration") constraint!.move(iteration);
    let advantages = advantagesNow();

    const passes = { seed, iteration, count: samples.length, epochs, minibatches, targetKl };
    const learned = await optimise(passes, async (batch) => {
      signal?.throwIfAborted();
      if (every === "update") {
        constraint!.move(iteration);
        advantages = advantagesNow();
      }
      const ofValue = shared && { value: reward!.values, return: reward!.returns };
      const items = tokenMinibatch(batch, samples, { logprob: logprobs, advantage: advantages, ...ofValue });
      const { sums, ...step } = await takeStep(actor.trainer, policyObjective, items, actor.terms);
      const update: Record<string, number> = {};
      for (const [i, { name, network }] of signals.entries()) {
        const { values, returns } = streams[i]!;
        const { loss, clipFraction, gradNorm } = network
          ? await network.learn(batch, samples, { value: values, return: returns })
          : { loss: sums.value!, clipFraction: sums.valueClip!, gradNorm: undefined };
        Object.assign(update, { [`${name} loss`]: loss, [`${name} clip`]: clipFraction });
        // On a shared trunk the norm is of both together: the policy's.
        if (gradNorm !== undefined) update[`${name} norm`] = gradNorm;
      }
      return { ...policyUpdate({ ...sums, loss: sums.policy ?? sums.loss }, step), ...update };
    });

    const klMean = metrics["objective/kl"]!;
    if (kl.target !== undefined) {
      const { target, horizon } = kl;
      state.beta = adaptKl(beta, { kl: klMean, responses: samples.length }, { target, horizon });
    }
    const ofSignals = signals.map(({ name, prefix, network }, i) => {
      const explained = explainedVariance(streams[i]!.values, streams[i]!.returns);
      return {
        [`loss/${prefix}value_avg`]: average(learned, `${name} loss`),
        [`val/${prefix}clipfrac_avg`]: average(learned, `${name} clip`),
        ...(network && { [`val/${prefix}grad_norm_avg`]: average(learned, `${name} norm`) }),
        ...(explained !== undefined && { [`val/${prefix}explained_variance`]: explained }),
      };
    });
    return {
      "objective/kl_coefficient": beta,
      "objective/non_score_reward": -beta * klMean,
      "objective/rlhf_reward": metrics["objective/scores"]! - beta * klMean,
      ...constraint?.metrics(costs!),
      ...policyMetrics(learned),
      ...Object.assign({}, ...ofSignals),
    };
  }

  try {
    const trainers = {
      policy: actor.trainer,
      ...Object.fromEntries(networksOf(signals).map(([prefix, network]) => [`${prefix}value`, network.trainer])),
    };
    const { valueFrom, costValueFrom } = options;
    const dependsOn = {
      ...(!shared && { valueFrom: valueFrom && (await adapterDigest(valueFrom)) }),
      ...(costValueFrom !== undefined && { costValueFrom: await adapterDigest(costValueFrom) }),
    };
    return yield* trainOnline({ name: "ppo", trainers, state, dependsOn, learn }, actor, options, settings);
  } finally {
    await actor.close();
    for (const [, network] of networksOf(signals)) await network.close();
  }
}

/** What is maximised or bounded, with what estimates it. */
interface Signal {
  readonly name: "value" | "cost";
  /** Of its metrics and checkpoints. */
  readonly prefix: "" | "cost_";
  /** −1 for what is to be small. */
  readonly sign: 1 | -1;
  /** Absent where the policy's trunk bears the value head. */
  readonly network: ValueNetwork | undefined;
  /** Its number of each response. */
  of(experience: Experience): readonly number[];
}

/** The value networks there are, by the prefix of their signal. */
function networksOf(signals: readonly Signal[]): [Signal["prefix"], ValueNetwork][] {
  return signals.flatMap(({ prefix, network }): [Signal["prefix"], ValueNetwork][] =>
    network ? [[prefix, network]] : [],
  );
}

/**
 * The reward and, under a constraint, the cost, each with a value network: from who gives the signal, or from where the policy starts. The
 * reward has none where it stands on the policy's trunk.
 */
async function openSignals(
  options: PpoOptions,
  settings: PpoSettings,
  { updates, expected }: { readonly updates: number; readonly expected: Actor["expected"] },
): Promise<readonly Signal[]> {
  const { value, minibatches, constraint } = settings;
  const shared = {
    ...{ coefficient: value.coefficient, clip: value.clip, expected },
    updates: updates + (value.warmup ?? 0) * minibatches,
  };
  const network =
    value.trunk === "shared"
      ? undefined
      : await openValueNetwork(options, settings, {
          ...{ ...shared, from: options.valueFrom, learningRate: value.learningRate },
          learningRateSetting: "value.learningRate",
        });
  const of = ({ rewarded }: Experience) => rewarded.map(({ reward }) => reward);
  const reward: Signal = { name: "value", prefix: "", sign: 1, network, of };
  if (!constraint) return [reward];
  const ofCost = await openValueNetwork(options, settings, {
    ...{ ...shared, from: options.costValueFrom, learningRate: constraint.value.learningRate },
    learningRateSetting: "constraint.value.learningRate",
  });
  return [reward, { name: "cost", prefix: "cost_", sign: -1, network: ofCost, of: ({ costs }) => costs! }];
}

/** (A − λ·A_C)/(1 + λ), token by token. */
function combineRows(
  constraint: Constraint,
  reward: readonly Float64Array[],
  cost: readonly Float64Array[],
): Float64Array[] {
  return reward.map((row, i) => row.map((advantage, t) => constraint.combine(advantage, cost[i]![t]!)));
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
