import type { z } from "zod";
import type { Checkpoints } from "./checkpoint.ts";
import { namingCheckpoint } from "./divergence.ts";
import type { TrainableModel } from "./forward.ts";
import type { MetricEvent } from "./loop.ts";
import { Selection, type SelectionOptions, type SelectionState } from "./selection.ts";
import type { Trainer } from "./trainer.ts";

export interface LoopOptions<Progress> {
  readonly trainer: Trainer;
  readonly checkpoints: Checkpoints;
  readonly steps: number;
  readonly checkpointEvery: number;
  readonly signal?: AbortSignal | undefined;
  /** What to continue from where there is no checkpoint; replaced by the checkpoint's. */
  readonly progress: Progress;
  /** Further arrays of the stage, kept in each checkpoint and handed back to `restore`. `best` is the name of what `watch` keeps. */
  readonly blobs?: () => Record<string, Uint8Array>;
  readonly restore?: (blobs: Readonly<Record<string, Uint8Array>>) => void;
  /** Observes the model before the first step and after those that are `due`, and leaves the best weights in the trainer. */
  readonly watch?: {
    readonly options: SelectionOptions;
    readonly model: TrainableModel;
    readonly seed: number;
    readonly due: (step: number) => boolean;
  };
  /** One update. Reads and changes `progress`; setting `stopped` there ends the loop. */
  readonly take: (step: number, progress: Progress) => Promise<Record<string, number>>;
}

/**
 * Takes steps until all are done, from the last checkpoint if there is one. Aborting saves where it stands and throws the
 * signal's reason. Returns the final progress. A step's metrics are yielded before it is saved: a step that is done again yields them again,
 * and one that is saved and not yielded would have none.
 * Errors: DivergenceError, with nothing kept of the step that diverged.
 */
export async function* trainingLoop<
  Progress extends z.core.util.JSONType & { stopped?: boolean; selection?: SelectionState },
>(options: LoopOptions<Progress>): AsyncGenerator<MetricEvent, Progress> {
  const { trainer, checkpoints, steps, checkpointEvery, signal, take, watch } = options;
  const found = await checkpoints.latest();
  if (found) {
    const { parameters, optimizer, best, ...others } = found.blobs as Record<"parameters" | "optimizer", Uint8Array> &
      Partial<Record<string, Uint8Array>>;
    await trainer.restore({ parameters, optimizer });
    // Without a watch it is of a stage that was saved when this name was not yet the watch's alone.
    options.restore?.({ ...others, ...(best && !watch && { best }) } as Record<string, Uint8Array>);
  }
  const progress = found ? (found.progress as Progress) : options.progress;
  const selection =
    watch &&
    new Selection(
      watch.options,
      watch,
      progress.selection && { state: progress.selection, weights: found?.blobs.best },
    );
  const observe = async (watched: Selection) => {
    const observed = await watched.observe(trainer, trainer.step, signal);
    progress.selection = watched.state;
    if (watched.state.ended !== undefined) progress.stopped = true;
    return observed;
  };
  let saved = found?.step ?? 0;
  const save = async () => {
    saved = trainer.step;
    const blobs = { ...(await trainer.state()), ...options.blobs?.(), ...selection?.blobs };
    await checkpoints.save({ step: saved, progress, blobs });
  };
  if (selection && !selection.started) yield { step: trainer.step, of: steps, ...(await observe(selection)) };
  while (trainer.step < steps && !progress.stopped) {
    if (signal?.aborted) {
      if (trainer.step > saved) {
        await namingCheckpoint(checkpoints, () => trainer.verify());
        await save();
      }
      throw signal.reason;
    }
    const taken = await namingCheckpoint(checkpoints, async () => {
      const metrics = await take(trainer.step, progress);
      const saves = trainer.step % checkpointEvery === 0 || trainer.step === steps || progress.stopped;
      if (saves || watch?.due(trainer.step)) await trainer.verify();
      return metrics;
    });
    const observed = selection && watch?.due(trainer.step) ? await observe(selection) : undefined;
    const metrics = { ...taken, ...observed?.metrics };
    yield { step: trainer.step, of: steps, metrics, ...(observed && { usage: observed.usage }) };
    if (trainer.step % checkpointEvery === 0 || trainer.step === steps || progress.stopped) await save();
  }
  await selection?.restoreBest(trainer);
  return progress;
}
