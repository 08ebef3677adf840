import { loadAdapter, type ModelConfig } from "@tenet/lm";
import type { Training } from "./trainings.ts";

/** What a training came to. */
export interface Trained {
  /** Metrics, event by event. */
  readonly events: readonly Readonly<Record<string, number>>[];
  /** Folder of the adapter. */
  readonly path: string;
  readonly seconds: number;
}

/** Runs a training to its end. */
export async function finish(run: Training): Promise<Trained> {
  const began = performance.now();
  const events: Readonly<Record<string, number>>[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, path: next.value.path, seconds: (performance.now() - began) / 1000 };
    events.push(next.value.metrics);
  }
}

/** How far two runs of one training are apart. */
export interface Distance {
  readonly steps: number;
  /**
   * Worst |Δ| of a loss over its size, 1e-3 at least, of a policy's 0.01: a sum of terms of size 1 that all but cancel. Of steps that
   * only sample, of their scores.
   */
  readonly loss: number;
  /** Worst |Δ| over its size, 1e-3 at least, of the gradient's norm before clipping; absent of trainings that do not report it. */
  readonly gradNorm?: number;
  /** ‖Δ‖ of the adapters over the distance that training moved from its start; 0 where both are the same. */
  readonly adapter: number;
}

type Metrics = Readonly<Record<string, number>>;
const lossOf = (metrics: Metrics) => metrics.loss ?? metrics["loss/policy_avg"] ?? metrics["objective/scores"];
const normOf = (metrics: Metrics) =>
  metrics.grad_norm ?? metrics["val/grad_norm_avg"] ?? metrics["policy/grad_norm_avg"];

/** Errors: TypeError where one of them says nothing of a step that the other speaks of. */
export async function distance(
  { config }: { readonly config: ModelConfig },
  one: Trained,
  other: Trained,
): Promise<Distance> {
  const worst = (of: (metrics: Metrics) => number | undefined, least: (metrics: Metrics) => number) =>
    one.events.reduce<number | undefined>((most, metrics, i) => {
      const [a, b] = [of(metrics), of(other.events[i] ?? {})];
      if (a === undefined && b === undefined) return most;
      if (a === undefined || b === undefined)
        throw new TypeError(`step ${i + 1}: expected the same metrics of both, got ${a} and ${b}`);
      return Math.max(most ?? 0, Math.abs(a - b) / Math.max(least(metrics), Math.abs(a)));
    }, undefined);
  const [a, b] = await Promise.all([one, other].map(({ path }) => loadAdapter(path, config)));
  let [difference, moved] = [0, 0];
  // B begins at zero: what is there has been trained.
  for (const { name } of a!.parameters.ranges) {
    const [mine, theirs] = [a!.parameters.view(name), b!.parameters.view(name)];
    mine.forEach((value, i) => {
      difference += (value - theirs[i]!) ** 2;
      if (name.endsWith("lora_B.weight")) moved += value ** 2;
    });
  }
  const [loss, gradNorm] = [
    worst(lossOf, (metrics) => ("loss/policy_avg" in metrics ? 1e-2 : 1e-3)),
    worst(normOf, () => 1e-3),
  ];
  if (loss === undefined) throw new TypeError("expected a training that reports its loss");
  return {
    ...{ steps: one.events.length, loss },
    ...(gradNorm !== undefined && { gradNorm }),
    adapter: Math.sqrt(difference / moved),
  };
}
