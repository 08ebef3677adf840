import { agrees, type PromptRow, pearson } from "@tenet/data";
import { unlessRefused } from "./encode.ts";
import { klEstimate } from "./kl.ts";
import { batches, type Sampling, shuffled } from "./loop.ts";
import { deviation, figure, sumOf } from "./numbers.ts";
import { openTrainer } from "./open-trainer.ts";
import { completionSequence, type Item } from "./packing.ts";
import {
  type OnlineOptions,
  type OnlineSettings,
  type PolicyOptions,
  type PolicySettings,
  sharesPrompts,
} from "./policy-options.ts";
import { answeredPlaces, mostUnanswered, type Scored } from "./reward/index.ts";
import { promptsOf, rewardRequest, rolloutOf, type Sample } from "./rollout.ts";
import { adapterShape, memoryOptions } from "./settings.ts";
import { active, openTerms } from "./terms.ts";
import type { Forward, Frozen, Trainer, TrainerOptions } from "./trainer.ts";

/** A batch of responses with all that is known of them before learning begins: those that were judged. */
export interface Experience {
  readonly samples: readonly Sample[];
  /** log π(yₜ) of each response's tokens, by the training graph. */
  readonly logprobs: readonly Float32Array[];
  /** The same under the reference. */
  readonly referenceLogprobs: readonly Float32Array[];
  /** V behind each of these tokens, where the policy's trunk has a value head. */
  readonly values?: readonly Float32Array[];
  readonly rewarded: readonly Scored[];
  /** What each response costs, where there is a constraint. */
  readonly costs?: readonly number[];
  /** Σₜ log π(yₜ) − log π_ref(yₜ) of each response: k1 estimates of KL(π‖π_ref), in nats. */
  readonly kl: readonly number[];
  readonly sampling: Sampling;
  /** What can be said of the batch without an algorithm. */
  readonly metrics: Readonly<Record<string, number>>;
}

/** The policy: an adapter in training, a frozen copy of where it started, and what both are asked with. */
export class Actor {
  readonly trainer: Trainer;
  /** Prompts short enough to be used. */
  readonly prompts: readonly PromptRow[];
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  /** Batches of learning, were every response as long as may be. */
  readonly expected: readonly (readonly Item[])[];
  /** Terms of the loss beside the algorithm's own. */
  readonly terms: ReturnType<typeof openTerms>;
  readonly #options: OnlineOptions;
  readonly #settings: OnlineSettings;
  /** What the policy is held to. */
  readonly #reference: Frozen;
  /** Whether that is where it began. */
  readonly #heldToStart: boolean;
  readonly #scoring: Forward;

  constructor(
    options: OnlineOptions,
    settings: OnlineSettings,
    { trainer, reference, valued }: { readonly trainer: Trainer; readonly reference: Frozen; readonly valued: boolean },
    prompts: PromptSelection,
  ) {
    this.#options = options;
    this.#settings = settings;
    this.trainer = trainer;
    this.prompts = prompts.kept;
    this.aside = prompts.aside;
    this.expected = prompts.expected;
    this.terms = openTerms(trainer, options.terms);
    this.#reference = reference;
    this.#heldToStart = options.reference === undefined;
    this.#scoring = trainer.forward((graph) => {
      const { logprobs, entropy } = graph.tokens({ entropy: true });
      return { logprobs, entropy: entropy!, ...(valued && { values: graph.scores() }) };
    });
  }

  /**
   * Samples one iteration's responses, scores them under policy and reference, and has them judged; those that a judge did not answer for
   * are left out, and counted.
   *
   * Old log-probabilities are the training graph's, never the generation engine's: the ratio of the first update is then 1
   * up to rounding, whatever the engine does to be fast. How far the two are apart is the metric `val/engine_gap`.
   * Errors: RewardError where more responses than `reward.failures.most` were not judged.
   */
  async experience(iteration: number): Promise<Experience> {
    const { model, seed, reward, cost, signal } = this.#options;
    const { promptsPerIteration: count, samplesPerPrompt, maxTokens } = this.#settings;
    const prompts = promptsOf(this.prompts, { seed, iteration, count });
    const { samples, sampling } = await rolloutOf(() => this.trainer.speaker(`iteration-${iteration}`), prompts, {
      ...{ text: model.text, seed, iteration, samplesPerPrompt, maxTokens, temperature: 1, signal },
    });
    signal?.throwIfAborted();
    const requests = samples.map((sample) => rewardRequest(sample, iteration));
    // Judges behind a network work while the passes compute; what they throw is thrown behind these.
    const judging = Promise.allSettled(
      [reward, ...(cost ? [cost] : [])].map((judge) => judge.score(requests, { signal })),
    );
    const items = samples.map((sample) => sampleItem(sample));
    const policy = await this.#scoring.run(items);
    // Where it is held to its start they are one at first: what the reference would say is known to the last bit.
    const moved = this.trainer.step > 0 || !this.#heldToStart;
    const reference = moved ? await this.#scoring.run(items, this.#reference) : policy;
    const judged = (await judging).map((outcome) => {
      if (outcome.status === "rejected") throw outcome.reason;
      return outcome.value;
    });
    signal?.throwIfAborted();
    const limit = { most: mostUnanswered(this.#settings.reward), when: `iteration ${iteration + 1}` };
    const places = answeredPlaces(judged, limit);
    const kept = <T>(values: readonly T[]) => places.map((place) => values[place]!);
    const [rewarded, costed] = judged.map((said) => kept(said as readonly Scored[]));
    const [logprobs, referenceLogprobs] = [policy, reference].map((found) =>
      kept(found.logprobs!).map(([only]) => only!),
    );
    const kl = logprobs!.map((row, i) => sumOf(row, (logprob, t) => logprob - referenceLogprobs![i]![t]!));
    const experience = {
      ...{ samples: kept(samples), sampling, rewarded: rewarded!, kl },
      ...{ logprobs: logprobs!, referenceLogprobs: referenceLogprobs! },
      ...(costed && { costs: costed.map(({ reward: cost }) => cost) }),
      ...(policy.values && { values: kept(policy.values).map(([only]) => only!) }),
    };
    const entropies = kept(policy.entropy!).map(([only]) => only!);
    const metrics = describeExperience(experience, entropies);
    // Of all that were sampled: what `episode` counts.
    metrics["val/num_eos_tokens"] = sumOf(samples, ({ finished }) => (finished ? 1 : 0));
    const left = samples.length - places.length;
    if (left > 0) metrics["reward/unanswered"] = left / samples.length;
    for (const [name, value] of partMeans("reward", rewarded!)) metrics[name] = value;
    for (const [name, value] of partMeans("cost", costed ?? [])) metrics[name] = value;
    return { ...experience, metrics };
  }

  close(): Promise<void> {
    return this.trainer.close();
  }
}

/** Opens the policy of a training. @param updates optimizer steps of all of it @param valued whether its trunk has a value head, a new one */
export async function openActor(
  options: OnlineOptions,
  settings: OnlineSettings,
  updates: number,
  { valued } = { valued: false },
): Promise<Actor> {
  const prompts = selectPrompts(options, settings);
  const expected = [...prompts.expected, ...active(options.terms).flatMap((term) => term.expected)];
  const opening = await trainerOptions(options, settings, {
    updates,
    expected,
    shareBeginnings: sharesPrompts(settings),
  });
  const trainer = await openTrainer(valued ? { ...opening, tuning: { ...opening.tuning, head: true } } : opening);
  try {
    const reference = await trainer.frozen(options.reference);
    return new Actor(options, settings, { trainer, reference, valued }, prompts);
  } catch (error) {
    await trainer.close();
    throw error;
  }
}

/** A trainer's options for a policy: from the adapter it starts from, with that adapter's shape, or from the base. */
export async function trainerOptions(
  { model, from, seed, device, threads }: Omit<PolicyOptions, "folder">,
  settings: PolicySettings,
  {
    updates,
    ...layout
  }: { readonly updates: number } & Pick<TrainerOptions, "expected" | "sequencesPerItem" | "shareBeginnings">,
): Promise<TrainerOptions> {
  const { learningRate, schedule, warmupSteps, betas, epsilon, weightDecay, maxGradNorm } = settings;
  const lora = await adapterShape(settings.lora, { model, from });
  return {
    ...{ model, from, seed },
    ...memoryOptions(settings),
    tuning: { lora },
    optimizer: { learningRate, schedule, warmupSteps, betas, epsilon, weightDecay, maxGradNorm, steps: updates },
    ...layout,
    ...(device === undefined ? {} : { device }),
    ...(threads === undefined ? {} : { threads }),
  };
}

interface PromptSelection {
  readonly kept: readonly PromptRow[];
  readonly aside: readonly { readonly id: string; readonly reason: string }[];
  readonly expected: Actor["expected"];
}

/** Sets prompts aside that leave no room for a response, or that the model cannot take. @throws RangeError when none is left */
function selectPrompts({ model, prompts }: OnlineOptions, settings: OnlineSettings): PromptSelection {
  const { maxPromptTokens, maxTokens } = settings;
  const limit = Math.min(maxPromptTokens, model.config.max_position_embeddings - maxTokens);
  const aside: { id: string; reason: string }[] = [];
  const encodings: (readonly number[])[] = [];
  const kept = prompts.filter(({ id, prompt }) => {
    const encoded = unlessRefused(() => model.text.encodePrompt(prompt));
    if ("refused" in encoded) {
      aside.push({ id, reason: encoded.refused });
      return false;
    }
    const { length } = encoded.value;
    if (length <= limit) encodings.push(encoded.value);
    else aside.push({ id, reason: `the prompt has ${length} tokens; at most ${limit} leave room for a response` });
    return length <= limit;
  });
  if (kept.length === 0)
    throw new RangeError(
      `none of ${prompts.length} prompts can be trained on: expected at least one of at most ${limit} tokens (the first: ${aside[0]?.reason ?? "there is none"}). Give more prompts, or raise maxPromptTokens.`,
    );
  return { kept, aside, expected: expectedBatches(encodings, settings) };
}

/** Minibatches of all prompts in random order, again and again for at least 32, each response of `maxTokens` and like no other. */
function expectedBatches(prompts: readonly (readonly number[])[], settings: OnlineSettings): Item[][] {
  const { promptsPerIteration, samplesPerPrompt, minibatches, maxTokens } = settings;
  const size = Math.ceil((promptsPerIteration * samplesPerPrompt) / minibatches);
  const passes = Math.ceil((32 * size) / (prompts.length * samplesPerPrompt));
  const order = Array.from({ length: passes }, (_, epoch) =>
    shuffled(prompts.length, { seed: 0, stage: "expected", epoch }),
  ).flat();
  const items = batches(order, () => 1, { size: promptsPerIteration }).flatMap((some, epoch) => {
    const sampled = some.flatMap((prompt) => new Array<number>(samplesPerPrompt).fill(prompt));
    // Samples of one prompt come into different minibatches.
    const places = sharesPrompts(settings)
      ? shuffled(sampled.length, { seed: 0, stage: "expected samples", epoch })
      : sampled.keys();
    return Array.from(places, (place, i): Item => {
      const response = new Array<number>(maxTokens).fill(-1 - i);
      return { sequences: [{ tokens: [...prompts[sampled[place]!]!, ...response], chosen: [] }] };
    });
  });
  return batches([...items.keys()], () => 1, { size }).map((some) => some.map((i) => items[i]!));
}

/** A sample as the trainer takes it. @param values numbers beside each token of the response */
export function sampleItem(sample: Sample, values?: Readonly<Record<string, ArrayLike<number>>>): Item {
  return { sequences: [completionSequence(sample.promptTokens, sample.tokens, values)] };
}

function describeExperience(
  { samples, logprobs, referenceLogprobs, rewarded, kl }: Omit<Experience, "metrics" | "sampling">,
  entropies: readonly Float32Array[],
): Record<string, number> {
  const count = samples.length;
  const tokens = sumOf(samples, ({ tokens }) => tokens.length);
  const perSample = (of: (i: number) => number) => sumOf(samples, (_, i) => of(i)) / count;
  const k3 = (i: number) => sumOf(logprobs[i]!, (x, t) => klEstimate(x - referenceLogprobs[i]![t]!, "k3"));
  const drawn = sumOf(samples, ({ sampledLogprobs }) => sampledLogprobs.length);
  const gap = sumOf(samples, ({ sampledLogprobs }, i) =>
    sumOf(sampledLogprobs, (logprob, t) => Math.abs(logprob - logprobs[i]![t]!)),
  );
  const scores = rewarded.map(({ reward }) => reward);
  const agreeing = samples.map(({ response }) => Number(agrees(response)));
  const lengths = samples.map(({ length }) => length);
  return {
    "objective/kl": perSample((i) => kl[i]!),
    "objective/kl_k3": perSample(k3),
    "objective/entropy": perSample((i) => -sumOf(logprobs[i]!, (x) => x)),
    "objective/scores": perSample((i) => scores[i]!),
    "objective/scores_std": deviation(scores),
    "policy/entropy_avg": sumOf(entropies, (row) => sumOf(row, (x) => x)) / tokens,
    "val/response_length": perSample((i) => lengths[i]!),
    "val/duplicates": duplicateShare(samples),
    "val/agreement": perSample((i) => agreeing[i]!),
    ...figure("reward/length_correlation", pearson(lengths, scores)),
    ...figure("reward/agreement_correlation", pearson(agreeing, scores)),
    // Nothing is drawn where every reply ended at once.
    ...(drawn > 0 && { "val/engine_gap": gap / drawn }),
  };
}

/** Means of judged responses' parts, each over those that have it. */
function partMeans(prefix: string, judged: readonly Scored[]): [string, number][] {
  const names = new Set(judged.flatMap(({ parts }) => Object.keys(parts)));
  return [...names].map((name) => {
    const values = judged.flatMap(({ parts }) => parts[name] ?? []);
    return [`${prefix}/${name}`, sumOf(values, (value) => value) / values.length];
  });
}

/** Share of responses that one to another prompt equals word for word. */
function duplicateShare(samples: readonly Sample[]): number {
  const prompts = new Map<string, Set<string>>();
  for (const { response, prompt } of samples) {
    const ids = prompts.get(response) ?? new Set();
    prompts.set(response, ids.add(prompt.id));
  }
  return sumOf(samples, ({ response }) => (prompts.get(response)!.size > 1 ? 1 : 0)) / samples.length;
}
