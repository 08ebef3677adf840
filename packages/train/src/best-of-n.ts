import { join } from "node:path";
import { type ExampleRow, exampleRowSchema, mean, rowId } from "@tenet/data";
import { loadAdapter } from "@tenet/lm";
import { z } from "zod";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { unlessRefused } from "./encode.ts";
import { baseIdentity } from "./fingerprint.ts";
import type { MetricEvent } from "./loop.ts";
import { figure } from "./numbers.ts";
import { speakerOf } from "./open-trainer.ts";
import type { OnlineOptions, PolicyReport, PolicyResult } from "./policy-options.ts";
import { answeredPlaces, mostUnanswered, rewardSettingsSchema, type Scored } from "./reward/index.ts";
import { promptsDigest, rewardRequest, rolloutOf, type Sample } from "./rollout.ts";
import { sftSettingsSchema, trainSft } from "./sft.ts";

/** Best of n: the reward chooses among samples, and the policy learns what was chosen. */
export const bestOfNSettingsSchema = z.strictObject({
  algorithm: z.literal("best-of-n").describe("The best of n samples, learned."),
  reward: rewardSettingsSchema.prefault({}).describe("What a response is worth."),
  n: z.int().min(2).default(8).describe("Samples of each prompt."),
  maxTokens: z.int().min(1).default(128).describe("Tokens of a response, at most."),
  temperature: z.number().gt(0).default(1).describe("Of sampling."),
  promptsAtOnce: z.int().min(1).default(32).describe("Prompts sampled, judged and checkpointed together."),
  supervised: sftSettingsSchema.omit({ weights: true }).prefault({}).describe("How the best responses are learned."),
});
export type BestOfNSettings = z.output<typeof bestOfNSettingsSchema>;

export interface BestOfNOptions extends OnlineOptions {
  readonly settings: Omit<z.input<typeof bestOfNSettingsSchema>, "algorithm">;
}

export interface BestOfNResult {
  /** The best response to each prompt. */
  readonly rows: readonly ExampleRow[];
  readonly report: PolicyReport;
}

interface Progress {
  rows: ExampleRow[];
  aside: { id: string; reason: string }[];
  history: Record<string, number>[];
}

/**
 * Samples n responses to every prompt and keeps the one with the highest reward (the first of equals), behind the reasoning that it was
 * written with, as examples to train on.
 *
 * Yields metrics after every few prompts: `objective/scores` of all samples, `objective/best` of those kept, `objective/kl_bound`,
 * log n − (n − 1)/n nats: what choosing among n adds to KL(π‖π_ref) at most. A killed run continues behind the prompts it had.
 * Prompts whose samples are all empty or not judged, or that leave no room or that the model cannot take, are set aside. Errors: those of model and reward.
 * Source: Nakano et al. (2112.09332), §3; the bound: Beirami et al. (2401.01879).
 */
export async function* bestOfN(options: BestOfNOptions): AsyncGenerator<MetricEvent, BestOfNResult> {
  const { model, from, prompts, reward, seed, folder, signal } = options;
  const settings = bestOfNSettingsSchema.parse({ algorithm: "best-of-n", ...options.settings });
  const { n, maxTokens, temperature, promptsAtOnce } = settings;
  const room = model.config.max_position_embeddings - maxTokens;
  const start = from && (await adapterDigest(from));
  const base = await baseIdentity(model);
  const { supervised: _, ...choosing } = settings;
  const identity = { settings: choosing, seed, model: base, from: start, data: promptsDigest(prompts) };
  const checkpoints = new Checkpoints(join(folder, "sampling"), identity);
  const saved = await checkpoints.latest();
  const progress = (saved?.progress ?? { rows: [], aside: [], history: [] }) as unknown as Progress;
  const adapter = from === undefined ? undefined : { id: from, ...(await loadAdapter(from, model.config)) };
  const steps = Math.ceil(prompts.length / promptsAtOnce);
  for (let step = saved?.step ?? 0; step < steps; step++) {
    signal?.throwIfAborted();
    const batch = prompts.slice(step * promptsAtOnce, (step + 1) * promptsAtOnce).filter(({ id, prompt }) => {
      const encoded = unlessRefused(() => model.text.encodePrompt(prompt));
      const reason =
        "refused" in encoded
          ? encoded.refused
          : encoded.value.length > room
            ? `the prompt has ${encoded.value.length} tokens, more than ${room}`
            : undefined;
      if (reason !== undefined) progress.aside.push({ id, reason });
      return reason === undefined;
    });
    const { samples, generator, sampling } = await rolloutOf(() => speakerOf(model, adapter), batch, {
      ...{ text: model.text, seed, iteration: 0, samplesPerPrompt: n, maxTokens, temperature, signal },
    });
    const rewarded = await reward.score(
      samples.map((sample) => rewardRequest(sample, step)),
      { signal },
    );
    const limit = { most: mostUnanswered(settings.reward), when: `prompts ${step * promptsAtOnce + 1} and on` };
    const places = answeredPlaces([rewarded], limit);
    const scores = new Map(places.map((place) => [place, (rewarded[place] as Scored).reward]));
    const best: number[] = [];
    for (let first = 0; first < samples.length; first += n) {
      const { prompt } = samples[first]!;
      const chosen = bestAmong(samples, scores, first, first + n);
      if (chosen === undefined) {
        progress.aside.push({ id: prompt.id, reason: `all ${n} samples are empty, or were not judged` });
        continue;
      }
      const { completion, finished } = samples[chosen]!;
      best.push(scores.get(chosen)!);
      const origin = { source: "best-of-n", models: { generator }, seed, parents: [prompt.id] };
      const id = rowId("example", prompt.prompt, completion);
      progress.rows.push(
        exampleRowSchema.parse({ id, origin, prompt: prompt.prompt, completion, ...(!finished && { cut: true }) }),
      );
    }
    const metrics = {
      // Nothing that was judged, or kept, is not worth 0.
      ...figure("objective/scores", mean([...scores.values()])),
      ...figure("objective/best", mean(best)),
      "objective/kl_bound": Math.log(n) - (n - 1) / n,
      "val/kept": best.length,
      ...(places.length < samples.length && { "reward/unanswered": 1 - places.length / samples.length }),
    };
    progress.history.push(metrics);
    yield { step: step + 1, of: steps, metrics, usage: { policy: sampling } };
    await checkpoints.save({ step: step + 1, progress: progress as unknown as z.core.util.JSONType, blobs: {} });
  }
  const { rows, aside, history } = progress;
  return { rows, report: { algorithm: "best-of-n", steps, aside, history } };
}

/** Number of the highest-scored sample from `start` to `end` that says anything; the first of equals. Those without a score are none. */
function bestAmong(samples: readonly Sample[], scores: ReadonlyMap<number, number>, start: number, end: number) {
  let top: number | undefined;
  for (let i = start; i < end; i++) {
    const score = scores.get(i);
    if (score === undefined || samples[i]!.response === "") continue;
    if (top === undefined || score > scores.get(top)!) top = i;
  }
  return top;
}

/**
 * Best of n, learned: `bestOfN`, then supervised fine-tuning on what it kept. Events are first those of the one, then those of
 * the other. Errors: those of `bestOfN` and `trainSft`.
 */
export async function* trainBestOfN(options: BestOfNOptions): AsyncGenerator<MetricEvent, PolicyResult> {
  const { rows, report } = yield* bestOfN(options);
  const { supervised } = bestOfNSettingsSchema.parse({ algorithm: "best-of-n", ...options.settings });
  const { prompts: _, reward: __, ...rest } = options;
  const { path, report: learned } = yield* trainSft({ ...rest, rows, settings: supervised });
  const aside = [...report.aside, ...learned.aside];
  const { selection } = learned;
  const all = { ...report, steps: report.steps + learned.steps, aside, ...(selection && { selection }) };
  return { kind: "adapter", path, report: all };
}
