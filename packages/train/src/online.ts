import { join } from "node:path";
import type { z } from "zod";
import type { Actor, Experience } from "./actor.ts";
import { adapterDigest, Checkpoints } from "./checkpoint.ts";
import { namingCheckpoint } from "./divergence.ts";
import { baseIdentity } from "./fingerprint.ts";
import { bothSamplings, type MetricEvent, type ShownRollout } from "./loop.ts";
import type { OnlineOptions, OnlineSettings, PolicyResult } from "./policy-options.ts";
import { promptsDigest } from "./rollout.ts";
import { Selection, type SelectionState, selectionDigest, watchedReport } from "./selection.ts";
import { active, termsIdentity } from "./terms.ts";
import type { Trainer } from "./trainer.ts";

/** What tells one algorithm that samples while it learns from another. */
export interface OnlineAlgorithm {
  readonly name: string;
  /** All that is trained, by name: their states make a checkpoint. */
  readonly trainers: Readonly<Record<string, Trainer>>;
  /** What changes from iteration to iteration, as an adaptive KL coefficient or a window of costs: kept in checkpoints too. */
  readonly state: Record<string, z.core.util.JSONType>;
  /** What the outcome depends on besides policy, prompts and settings: a checkpoint made with others is refused. */
  readonly dependsOn?: Readonly<Record<string, unknown>>;
  /** Learns from one iteration's responses; returns metrics. */
  learn(experience: Experience, iteration: number): Promise<Readonly<Record<string, number>>>;
}

interface Progress {
  state: OnlineAlgorithm["state"];
  history: Readonly<Record<string, number>>[];
  selection?: SelectionState;
}

/**
 * Sampling and learning in turns, with a checkpoint after each iteration, from which a killed training continues with the
 * very bits it would have had. Yields an iteration's metrics before its checkpoint is written: who is killed between the two does the
 * iteration again, and its figures replace those; the other way round they would be lost.
 */
export async function* trainOnline(
  { name, trainers, state, dependsOn, learn }: OnlineAlgorithm,
  actor: Actor,
  { folder, seed, model, from, reference, reward, selection: watched, terms = [], signal }: OnlineOptions,
  settings: OnlineSettings,
): AsyncGenerator<MetricEvent, PolicyResult> {
  const { iterations, promptsPerIteration, samplesPerPrompt } = settings;
  const start = from && (await adapterDigest(from));
  const base = await baseIdentity(model);
  const data = promptsDigest(actor.prompts);
  const identity = {
    ...{ ...dependsOn, algorithm: name, settings, seed, model: base, from: start, data },
    ...(reference && { reference: reference.adapter === undefined ? null : await adapterDigest(reference.adapter) }),
    ...(watched && { selection: selectionDigest(watched) }),
    ...termsIdentity(terms),
  };
  const checkpoints = new Checkpoints(join(folder, "checkpoints"), identity);
  const saved = await checkpoints.latest();
  const progress = (saved?.progress ?? { state, history: [] }) as unknown as Progress;
  let { history } = progress;
  Object.assign(state, progress.state);
  if (saved) for (const [part, trainer] of Object.entries(trainers)) await trainer.restore(blobsOf(saved.blobs, part));
  const selection =
    watched &&
    new Selection(
      watched,
      { model, seed, reward },
      progress.selection && { state: progress.selection, weights: saved!.blobs.best },
    );
  if (selection && !selection.started)
    yield { step: 0, of: iterations, ...(await selection.observe(actor.trainer, 0, signal)) };

  for (let iteration = saved?.step ?? 0; iteration < iterations && !selection?.state.ended; iteration++) {
    signal?.throwIfAborted();
    const started = performance.now();
    const experience = await actor.experience(iteration);
    const learned = await namingCheckpoint(checkpoints, async () => {
      const metrics = await learn(experience, iteration);
      for (const trainer of Object.values(trainers)) await trainer.verify();
      return metrics;
    });
    const seconds = (performance.now() - started) / 1000;
    const episodes = promptsPerIteration * samplesPerPrompt;
    const step = iteration + 1;
    const observed = selection?.due(step, iterations)
      ? await selection.observe(actor.trainer, step, signal)
      : undefined;
    const pace = { eps: episodes / seconds, episode: episodes * step };
    const metrics = { ...experience.metrics, ...learned, ...observed?.metrics, ...pace };
    history = [...history, metrics];
    const policy = bothSamplings(experience.sampling, observed?.usage.policy);
    yield { step, of: iterations, metrics, usage: { policy }, rollouts: shownOf(experience) };
    const blobs = Object.assign(
      { ...selection?.blobs },
      ...(await Promise.all(Object.entries(trainers).map(([part, trainer]) => blobsFor(trainer, part)))),
    );
    const kept = selection ? { selection: selection.state } : {};
    await checkpoints.save({ step, progress: { state, history, ...kept }, blobs });
  }
  await selection?.restoreBest(actor.trainer);
  const path = join(folder, "adapter");
  await actor.trainer.save(path, { head: false });
  return {
    kind: "adapter",
    path,
    report: {
      ...{
        algorithm: name,
        steps: history.length,
        aside: [...actor.aside, ...active(terms).flatMap(({ aside }) => aside)],
        history,
      },
      ...watchedReport(watched, { selection: selection?.state }),
    },
  };
}

/** Replies of an iteration that are shown to people, at most. */
const mostShown = 64;

/** Those whose figures are numbers: JSON has no others. */
function shownOf({ samples, rewarded, kl }: Experience): ShownRollout[] {
  return samples.slice(0, mostShown).flatMap(({ prompt, response, finished, length }, i): ShownRollout[] => {
    const { reward: score, parts } = rewarded[i]!;
    if (![score, kl[i]!].every(Number.isFinite)) return [];
    return [
      {
        prompt: prompt.prompt,
        response,
        finishReason: finished ? "stop" : "length",
        score,
        parts: Object.fromEntries(Object.entries(parts).filter(([, part]) => Number.isFinite(part))),
        kl: kl[i]!,
        tokens: length,
      },
    ];
  });
}

async function blobsFor(trainer: Trainer, part: string): Promise<Record<string, Uint8Array>> {
  const { parameters, optimizer } = await trainer.state();
  return { [`${part}-parameters`]: parameters, [`${part}-optimizer`]: optimizer };
}

function blobsOf(blobs: Readonly<Record<string, Uint8Array>>, part: string) {
  return { parameters: blobs[`${part}-parameters`]!, optimizer: blobs[`${part}-optimizer`]! };
}
