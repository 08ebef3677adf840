import type { Tensor } from "@tenet/tensor";
import { type Actor, sampleItem, trainerOptions } from "./actor.ts";
import { moments } from "./advantages.ts";
import type { BatchGraph } from "./graph.ts";
import { valueLoss } from "./losses.ts";
import { openTrainer } from "./open-trainer.ts";
import { optimise, tokenMinibatch } from "./optimise.ts";
import { type OnlineSettings, type PolicyOptions, sharesPrompts } from "./policy-options.ts";
import { readNormalisation } from "./preference-model.ts";
import type { Sample } from "./rollout.ts";
import type { Forward, Objective, Trainer } from "./trainer.ts";

export interface ValueOptions {
  /** Folder of the adapter of who gives the signal, from which the network starts, head and all; without it from the policy's, with a new head. */
  readonly from?: string | undefined;
  readonly learningRate: number;
  /** What the learning rate is called among the settings. */
  readonly learningRateSetting: string;
  /** Factor of its loss. */
  readonly coefficient: number;
  /** How far a value may move from the rollout's. */
  readonly clip: number;
  /** Optimizer steps of all the training, and batches to come. */
  readonly updates: number;
  readonly expected: Actor["expected"];
}

/** V(sₜ) of one signal, a reward or a cost: an adapter with a scalar head on the policy's base, and an optimiser of its own. */
export class ValueNetwork {
  readonly trainer: Trainer;
  readonly #coefficient: number;
  readonly #objective: Objective;
  readonly #warming: Objective;
  readonly #values: Forward;

  constructor(
    trainer: Trainer,
    { coefficient, clip }: ValueOptions,
    { mean, deviation }: { mean: number; deviation: number },
  ) {
    this.trainer = trainer;
    this.#coefficient = coefficient;
    // Values are on the scale of the signal's scores: a constant between them would fall on every last token.
    const valuesIn = (graph: BatchGraph) => graph.scores().sub(mean).div(deviation);
    this.#objective = trainer.objective((graph) => {
      const { loss, clipFraction } = valueTerm(graph, valuesIn(graph), clip);
      return { loss: loss.mul(coefficient), metrics: { clipFraction } };
    });
    this.#warming = trainer.objective((graph) => {
      const error = valuesIn(graph).sub(graph.value("return"));
      return { loss: error.mul(error).mul(graph.value("weight")).sum().mul(coefficient) };
    });
    this.#values = trainer.forward((graph) => ({ values: valuesIn(graph) }));
  }

  /** Values behind each token of samples' responses. */
  async estimate(samples: readonly Sample[]): Promise<Float32Array[]> {
    const { values } = await this.#values.run(samples.map((sample) => sampleItem(sample)));
    return values!.map(([only]) => only!);
  }

  /** Learns returns alone, before the policy moves. */
  async warmUp(
    samples: readonly Sample[],
    returns: readonly Float64Array[],
    passes: {
      readonly seed: number;
      readonly epochs: number;
      readonly minibatches: number;
      readonly signal?: AbortSignal | undefined;
    },
  ): Promise<void> {
    const { signal, ...order } = passes;
    await optimise({ ...order, iteration: -1, count: samples.length }, async (batch) => {
      signal?.throwIfAborted();
      const { loss } = await this.#warming.accumulate(tokenMinibatch(batch, samples, { return: returns }));
      await this.trainer.update();
      return { loss, approxKl: 0 };
    });
  }

  /** One update on some of an iteration's responses. */
  async learn(
    batch: readonly number[],
    samples: readonly Sample[],
    values: { readonly value: readonly ArrayLike<number>[]; readonly return: readonly ArrayLike<number>[] },
  ): Promise<{ readonly loss: number; readonly clipFraction: number; readonly gradNorm: number }> {
    const { loss, clipFraction } = await this.#objective.accumulate(tokenMinibatch(batch, samples, values));
    const { gradNorm } = await this.trainer.update();
    return { loss: loss / this.#coefficient, clipFraction: clipFraction!, gradNorm };
  }

  close(): Promise<void> {
    return this.trainer.close();
  }
}

/** The value loss of a minibatch beside whose tokens stand `value`, `return` and `weight`. */
export function valueTerm(graph: BatchGraph, values: Tensor, clip: number): ReturnType<typeof valueLoss> {
  const [oldValues, returns] = [graph.value("value"), graph.value("return")];
  return valueLoss({ values, oldValues, returns, weights: graph.value("weight") }, clip);
}

/** Opens the value network of a signal. Errors: those of loading the adapter that it starts from. */
export async function openValueNetwork(
  options: Omit<PolicyOptions, "folder">,
  settings: OnlineSettings,
  value: ValueOptions,
): Promise<ValueNetwork> {
  const { learningRate, learningRateSetting, updates, expected } = value;
  const start = { ...options, from: value.from ?? options.from };
  const trainer = await trainerOptions(
    start,
    { ...settings, learningRate },
    { updates, expected, shareBeginnings: sharesPrompts(settings) },
  );
  const optimizer = { ...trainer.optimizer, learningRateSetting };
  const opened = await openTrainer({ ...trainer, optimizer, tuning: { ...trainer.tuning, head: true } });
  const scale = value.from === undefined ? { mean: 0, deviation: 1 } : await readNormalisation(value.from);
  return new ValueNetwork(opened, value, scale);
}

/**
 * 1 − Var(R − V)/Var(R) over all tokens: 1 for a perfect value network, 0 for a constant one, below 0 for a worse; undefined where the
 * returns do not vary, so that there is nothing to explain.
 */
export function explainedVariance(
  values: readonly Float32Array[],
  returns: readonly Float64Array[],
): number | undefined {
  const flat = returns.flatMap((row) => [...row]);
  const errors = returns.flatMap((row, i) => [...row].map((value, t) => value - values[i]![t]!));
  const { variance } = moments(flat);
  return variance === 0 ? undefined : 1 - moments(errors).variance / variance;
}
