import { createHash } from "node:crypto";
import { bootstrap, type Estimate, mean, openingOf, type PromptRow, rateDifference } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import { type Measured, obstacle, type Price, prices } from "./choice.ts";
import { unlessRefused } from "./encode.ts";
import type { TrainableModel } from "./forward.ts";
import { bothSamplings, type Sampling } from "./loop.ts";
import { isScored, type Reward, type RewardRequest } from "./reward/index.ts";
import { promptsDigest, rewardRequest, rolloutOf } from "./rollout.ts";
import type { Trainer } from "./trainer.ts";

/** What a training is watched on: prompts that are neither trained on nor held out for the scorecard. */
export interface SelectionOptions {
  readonly prompts: readonly PromptRow[];
  /** Iterations of sampling and learning between two observations; the last is always observed. Others observe at evaluations. */
  readonly every: number;
  readonly sampling: { readonly temperature: number; readonly maxTokens: number };
  /** Whether each response breaks a rule; undefined where no rule applies to it. Training was told of none of these prompts. */
  readonly violates: (requests: readonly RewardRequest[]) => readonly (boolean | undefined)[];
  /**
   * Whether the start may be left for what pays for fewer violations, where these are shown. Absent: it may not.
   * `untrained`: the start is what nothing was trained of, as the scorecard's first is. A formula, and replies most of which are cut off, are still turned down.
   * `imitating`: it learns revisions, which may share one way to answer. Then openings do not count either.
   */
  readonly mayPay?: "untrained" | "imitating" | undefined;
  /**
   * Whether the rules are no part of what is trained against: their word is then held against the reward's, and where the two part that
   * is over-optimisation.
   */
  readonly independent?: boolean;
  /** Which responses are at fault in what counts besides the rules (`choice.ts`); null of those that it does not concern. */
  readonly faults?: (requests: readonly RewardRequest[]) => Faults;
  /** What else is to be told of the responses, under `validation/`. */
  readonly describe?: (requests: readonly RewardRequest[]) => Readonly<Record<string, number>>;
  /** What the model is asked besides, with the metrics that come of it, under `validation/`. */
  readonly probe?: (model: LanguageModel, signal?: AbortSignal) => Promise<Readonly<Record<string, number>>>;
  /** What the rules are, for the identity of a training. */
  readonly digest: string;
}

/** Of each response, by measure, whether it is at fault; null where it is none that is meant. */
export type Faults = { [Name in Exclude<Price, "perplexity" | "openings">]?: (boolean | null)[] };

/** A type, not an interface: checkpoints keep it as JSON. */
export type Observation = {
  /** Steps, or iterations, done; 0 is where training starts. */
  step: number;
  metrics: Record<string, number>;
  /** Of each response, in the order of the prompts: whether it breaks a rule, null where none applies. */
  violates: (boolean | null)[];
  /** Of each response, in the same order: what is at fault besides, by measure. */
  faults: Faults;
  /** Why it did not take the place of the best, where it violates less. */
  turnedDown?: string;
  /** Of each response, in the same order: its reward, null where nobody answered. Absent where nothing is rewarded. */
  rewards?: (number | null)[];
};

/** What was observed so far, and what follows of it. */
export type SelectionState = {
  observations: Observation[];
  /** Which of them is the best; absent where no rule applies to any response, so that nothing can be said. */
  best?: number;
  /** Why training was ended before its last step. */
  ended?: string;
};

/** How the checkpoint that a training returns was chosen. */
export interface SelectionReport {
  readonly prompts: number;
  /** Prompts that the model cannot take, as its chat template refuses them or they leave no room for a reply; absent where there are none. */
  readonly refused?: number;
  readonly observations: readonly {
    readonly step: number;
    readonly metrics: Readonly<Record<string, number>>;
    /** Why it was not kept although it violates less than what was the best then. */
    readonly turnedDown?: string;
  }[];
  /** Measures that the rule looks at and that nobody took here: they do not count. */
  readonly unmeasured: readonly Price[];
  /** Step whose weights were kept: 0 where nothing was better than the start. Absent where no rule says what is better: the last. */
  readonly kept?: number;
  readonly ended?: string;
}

/** Observations in a row that are measurably worse than the best before a training is ended. */
const patience = 2;

/**
 * Observes a model in training, and keeps its best.
 *
 * The best is found by the rule of `choice.ts`, which is the scorecard's too: what has a smaller share of violating responses than the best so far,
 * the start included, and does not pay for it with what was measured, takes its place; of equals the earliest keeps it. Training ends early when two observations in a row are worse than the
 * best by an interval that excludes zero. Every observation samples the same prompts with the same noise, so that two differ by the weights alone.
 * All of it is state for checkpoints: a killed training goes on, and ends, as it would have.
 */
export class Selection {
  readonly state: SelectionState;
  readonly #options: SelectionOptions;
  /** Those that the model can take. */
  readonly #prompts: readonly PromptRow[];
  readonly #text: TrainableModel["text"];
  readonly #seed: number;
  readonly #reward: Reward | undefined;
  #weights: Uint8Array | undefined;

  constructor(
    options: SelectionOptions,
    {
      model,
      seed,
      reward,
    }: { readonly model: TrainableModel; readonly seed: number; readonly reward?: Reward | undefined },
    saved?: { readonly state: SelectionState; readonly weights: Uint8Array | undefined },
  ) {
    this.#options = options;
    this.#prompts = options.prompts.filter(({ prompt }) => {
      const encoded = unlessRefused(() => model.text.encodePrompt(prompt));
      return "value" in encoded && encoded.value.length < model.config.max_position_embeddings;
    });
    this.#text = model.text;
    this.#seed = seed;
    this.#reward = reward;
    this.state = saved?.state ?? { observations: [] };
    this.#weights = saved?.weights;
  }

  /** Whether an iteration is one that is observed. */
  due(iteration: number, last: number): boolean {
    return iteration % this.#options.every === 0 || iteration === last;
  }

  get started(): boolean {
    return this.state.observations.length > 0;
  }

  /** The best weights so far, for a checkpoint. */
  get blobs(): Record<string, Uint8Array> {
    return this.#weights ? { best: this.#weights } : {};
  }

  /** Samples from the model as it is, and judges it. Returns the metrics, all under `validation/`, and what was sampled. */
  async observe(
    trainer: Trainer,
    step: number,
    signal?: AbortSignal,
  ): Promise<{ readonly metrics: Record<string, number>; readonly usage: { readonly policy: Sampling } }> {
    const { sampling, violates, independent, describe, probe } = this.#options;
    const speaker = () => trainer.speaker(`validation-${step}`);
    const { samples, sampling: spent } = await rolloutOf(speaker, this.#prompts, {
      ...{ text: this.#text, seed: this.#seed, iteration: -1, samplesPerPrompt: 1, ...sampling, signal },
    });
    const requests = samples.map((sample) => rewardRequest(sample, -1 - step));
    const broken = violates(requests).map((yes) => yes ?? null);
    const metrics: Record<string, number> = {};
    const judged = broken.filter((yes) => yes !== null);
    if (judged.length > 0) metrics["validation/violations"] = judged.filter(Boolean).length / judged.length;
    let rewards: (number | null)[] | undefined;
    if (this.#reward) {
      const rewarded = await this.#reward.score(requests, { signal });
      rewards = rewarded.map((one) => (isScored(one) ? one.reward : null));
      const scored = rewarded.filter(isScored);
      if (scored.length > 0) metrics["validation/reward"] = meanOf(scored.map(({ reward }) => reward));
      if (scored.length < rewarded.length) metrics["validation/unanswered"] = 1 - scored.length / rewarded.length;
      for (const name of new Set(rewarded.flatMap(({ parts }) => Object.keys(parts)))) {
        const values = rewarded.flatMap(({ parts }) => (name in parts ? [parts[name]!] : []));
        metrics[`validation/${name}`] = meanOf(values);
      }
    }
    metrics["validation/tokens"] = meanOf(requests.map(({ length }) => length));
    metrics["validation/cut"] = meanOf(requests.map(({ finished }) => (finished ? 0 : 1)));
    metrics["validation/openings"] =
      new Set(requests.map(({ response }) => openingOf(response))).size / requests.length;
    for (const [name, value] of Object.entries(describe?.(requests) ?? {})) metrics[`validation/${name}`] = value;
    const asked = probe && (await this.#probed(trainer, step, probe, signal));
    for (const [name, value] of Object.entries(asked?.metrics ?? {})) metrics[`validation/${name}`] = value;
    const faults: Faults = {
      unfinished: requests.map(({ finished }) => !finished),
      ...this.#options.faults?.(requests),
    };
    const observation: Observation = { step, metrics, violates: broken, faults, ...(rewards && { rewards }) };
    Object.assign(metrics, this.#againstStart(observation, { independent: independent === true }));
    await this.#consider(observation, trainer);
    return { metrics, usage: { policy: bothSamplings(spent, asked?.sampling) } };
  }

  /** What comes of asking the model as it is besides, and what that took. */
  async #probed(
    trainer: Trainer,
    step: number,
    probe: NonNullable<SelectionOptions["probe"]>,
    signal: AbortSignal | undefined,
  ): Promise<{ readonly metrics: Readonly<Record<string, number>>; readonly sampling: Sampling }> {
    const began = performance.now();
    const speaker = await trainer.speaker(`probe-${step}`);
    try {
      const metrics = await probe(speaker, signal);
      const { promptTokens, completionTokens, completions: calls } = speaker.usage();
      const seconds = (performance.now() - began) / 1000;
      return { metrics, sampling: { promptTokens, completionTokens, calls, seconds } };
    } finally {
      await speaker.close();
    }
  }

  /**
   * How far a model has gone from where its training began, response by response: `drift`, the change of its violations, with the ends
   * of its 95 % interval; where the rules are independent, `proxy` and `judge`, the reward and the share that breaks no rule, with the
   * lower end of the one's change and the upper end of the other's.
   */
  #againstStart(now: Observation, { independent }: { readonly independent: boolean }): Record<string, number> {
    const [start] = this.state.observations;
    const found: Record<string, number> = {};
    const tell = (name: string, value: number | undefined) => {
      if (value !== undefined && Number.isFinite(value)) found[`validation/${name}`] = value;
    };
    const drift = start && changeOfViolations(start, now);
    tell("drift", drift?.value);
    tell("drift_low", drift?.interval[0]);
    tell("drift_high", drift?.interval[1]);
    const rate = now.metrics["validation/violations"];
    if (!independent || rate === undefined || !now.rewards) return found;
    tell("proxy", now.metrics["validation/reward"]);
    tell("judge", 1 - rate);
    tell("proxy_low", start && changeOfRewards(start, now)?.interval[0]);
    tell("judge_high", drift && -drift.interval[0]);
    return found;
  }

  /** Puts the best weights back. */
  async restoreBest(trainer: Trainer): Promise<void> {
    if (this.state.best === undefined || !this.#weights) return;
    await trainer.restore({ ...(await trainer.state()), parameters: this.#weights });
  }

  async #consider(observation: Observation, trainer: Trainer): Promise<void> {
    const { observations } = this.state;
    observations.push(observation);
    const rate = observation.metrics["validation/violations"];
    if (rate === undefined) return;
    const best = this.state.best === undefined ? undefined : observations[this.state.best];
    const { mayPay } = this.#options;
    const behind = best && whyBehind(observation, { best, start: observations[0]!, mayPay });
    if (best === undefined || behind === undefined) {
      this.state.best = observations.length - 1;
      this.#weights = (await trainer.state()).parameters;
      return;
    }
    if (behind.turnedDown !== undefined) observation.turnedDown = behind.turnedDown;
    const latest = observations.slice(this.state.best! + 1).slice(-patience);
    if (latest.length === patience && latest.every((one) => measurablyWorse(best, one)))
      this.state.ended = `violations on ${observation.violates.length} validation prompts are measurably above those of step ${best.step} for ${patience} observations`;
  }
}

const payableBy: Record<NonNullable<SelectionOptions["mayPay"]>, readonly Price[]> = {
  untrained: ["perplexity", "over-refusal", "evasive"],
  imitating: prices,
};

/** Why an observation does not take the place of the best so far, and in words where that is the price of fewer violations; undefined where it does. */
export function whyBehind(
  now: Observation,
  {
    best,
    start,
    mayPay,
  }: { readonly best: Observation; readonly start: Observation; readonly mayPay?: SelectionOptions["mayPay"] },
): { readonly turnedDown?: string } | undefined {
  const rateOf = ({ metrics }: Observation) => metrics["validation/violations"]!;
  const payable = mayPay === undefined ? [] : payableBy[mayPay];
  const counts = (price: Price, before: Observation) => {
    // What is a formula is told by the start: the best so far may have opened more variedly than that by chance.
    if (price === "openings") return mayPay !== "imitating" && before === start;
    // What the best paid against the start was shown to be worth it, and is not asked for again.
    return before === best || !payable.includes(price);
  };
  // Against the start too: who may not pay may not pay little by little either.
  for (const before of new Set([best, start])) {
    const [low, high] = changeOfViolations(before, now)?.interval ?? [null, null];
    const found = obstacle(
      {
        // The rates are what is told, and what is compared where a rule applies to a response of one of the two alone.
        violations: { value: rateOf(now) - rateOf(before), interval: [low, high] },
        measured: (price) => (counts(price, before) ? measuredBetween(before, now, price) : undefined),
      },
      { shown: false, mayPay: before === start ? payable : [] },
    );
    if (found === undefined) continue;
    if (typeof found === "string") return {};
    const { before: was, after: is } = measuredBetween(before, now, found.pays)!;
    const levels = `${found.pays} ${was.toFixed(3)} → ${is.toFixed(3)}`;
    return {
      turnedDown: `violates less than step ${best.step}, and pays for it against step ${before.step}: ${levels}`,
    };
  }
  return undefined;
}

/** What a report says of the choice, where the training was watched. */
export function watchedReport(
  options: SelectionOptions | undefined,
  { selection }: { readonly selection?: SelectionState | undefined },
): { selection?: SelectionReport } {
  if (!options || !selection) return {};
  const { observations, best, ended } = selection;
  const answered = observations[0]?.violates.length ?? options.prompts.length;
  const report: SelectionReport = {
    prompts: answered,
    ...(answered < options.prompts.length && { refused: options.prompts.length - answered }),
    observations: observations.map(({ step, metrics, turnedDown }) => {
      return { step, metrics, ...(turnedDown !== undefined && { turnedDown }) };
    }),
    unmeasured: prices.filter((price) => observations.every((one) => levelOf(one, price) === undefined)),
    ...(best === undefined ? {} : { kept: observations[best]!.step }),
    ...(ended === undefined ? {} : { ended }),
  };
  return { selection: report };
}

const formerReport = z.object({
  // There the lowest validation loss had the last word.
  best: z.undefined().optional(),
  selection: z
    .object({
      observations: z.array(z.object({ metrics: z.record(z.string(), z.number()) })),
    })
    .optional(),
});

/**
 * Whether a training that was watched when violations and, unless it imitated, half of the start's openings alone counted kept what it would keep
 * now: nothing that took a place then refuses more, or is cut off more in most of its responses, than what it replaced or the start. Told
 * from the shares of its report, without intervals, so that what is not told to be the same is done again.
 */
export function keptAsNow(report: unknown, { imitating }: { readonly imitating: boolean }): boolean {
  const former = formerReport.safeParse(report);
  if (!former.success) return false;
  const looks = (former.data.selection?.observations ?? []).flatMap(({ metrics }) => {
    const { violations, openings, refusals, cut } = Object.fromEntries(
      Object.entries(metrics).map(([name, value]) => [name.replace("validation/", ""), value]),
    );
    return violations === undefined ? [] : [{ violations, openings: openings ?? 0, refusals, cut: cut ?? 1 }];
  });
  const [start, ...later] = looks;
  let best = start;
  for (const now of later) {
    if (!(now.violations < best!.violations) || !(imitating || now.openings >= 0.5 * start!.openings)) continue;
    const pays = [best!, start!].some(
      (before) =>
        now.refusals === undefined ||
        before.refusals === undefined ||
        now.refusals > before.refusals ||
        (now.cut > 0.5 && now.cut > before.cut),
    );
    if (pays) return false;
    best = now;
  }
  return true;
}

/** Whether the share of violating responses rose from one observation to another by a 95 % interval that excludes zero. */
function measurablyWorse(before: Observation, after: Observation): boolean {
  const change = changeOfViolations(before, after);
  return change !== undefined && change.interval[0] > 0;
}

/** By how much the share of violating responses changed, over those that a rule applies to both times. */
function changeOfViolations(before: Observation, after: Observation): Estimate | undefined {
  return changeOf(before.violates, after.violates);
}

/** By how much a share of responses changed, over those that are meant both times. */
function changeOf(before: readonly (boolean | null)[], after: readonly (boolean | null)[]): Estimate | undefined {
  const pairs = before.flatMap((was, i) => {
    const is = after[i]!;
    return was === null || is === null ? [] : [{ cluster: String(i), before: was, after: is }];
  });
  return pairs.length === 0 ? undefined : rateDifference(pairs, { seed: 0 });
}

/** A measure of two observations, as the rule takes it; undefined where it was not taken of both. */
function measuredBetween(before: Observation, after: Observation, price: Price): Measured | undefined {
  const [was, is] = [levelOf(before, price), levelOf(after, price)];
  if (was === undefined || is === undefined) return undefined;
  if (price === "openings" || price === "perplexity") return { before: was, after: is };
  return { before: was, after: is, change: changeOf(before.faults[price]!, after.faults[price]!) };
}

/** How large a measure is; undefined where it was not taken. */
function levelOf({ metrics, faults }: Observation, price: Price): number | undefined {
  if (price === "perplexity") return undefined;
  if (price === "openings") return metrics["validation/openings"];
  const meant = (faults[price] ?? []).filter((at) => at !== null);
  return meant.length === 0 ? undefined : meant.filter(Boolean).length / meant.length;
}

/** By how much the reward changed, over the responses that were judged both times. */
function changeOfRewards(before: Observation, after: Observation): Estimate | undefined {
  const changes = (before.rewards ?? []).flatMap((was, i) => {
    const is = after.rewards?.[i] ?? null;
    return was === null || is === null ? [] : [is - was];
  });
  return changes.length === 0 ? undefined : bootstrap(changes, mean, { seed: 0 });
}

/** SHA-256 of what an outcome depends on when a training is watched. */
export function selectionDigest({ prompts, every, sampling, mayPay, digest }: SelectionOptions): string {
  // As it was written when fine-tuning alone might pay.
  const pays = mayPay === "imitating" ? true : mayPay;
  return createHash("sha256")
    .update(JSON.stringify(["what pays", promptsDigest(prompts), every, sampling, pays, digest]))
    .digest("hex");
}

function meanOf(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
