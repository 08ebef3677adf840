import type { LoraConfig } from "@tenet/lm";
import type { Checkpoints } from "./checkpoint.ts";

/** A training whose loss, gradient or parameters are no longer finite numbers: going on would learn nothing. */
export class DivergenceError extends Error {
  override readonly name = "DivergenceError";
  /** The step that left the finite numbers, counted from 1; 0 where they were left before the first. */
  readonly step: number;
  /** Folder of the last checkpoint before it; undefined where there is none. */
  readonly checkpoint: string | undefined;

  constructor(message: string, step: number, checkpoint?: string) {
    super(message);
    this.step = step;
    this.checkpoint = checkpoint;
  }
}

/** Runs a part of a training. Where it diverges, the error names the last checkpoint too: all that are kept are finite. */
export async function namingCheckpoint<T>(checkpoints: Checkpoints, part: () => Promise<T>): Promise<T> {
  try {
    return await part();
  } catch (error) {
    if (!(error instanceof DivergenceError)) throw error;
    const last = await checkpoints.newest();
    const where = last
      ? `The last good checkpoint is that of step ${last.step}, ${last.folder}.`
      : "No checkpoint was kept.";
    throw new DivergenceError(`${error.message} ${where}`, error.step, last?.folder);
  }
}

/**
 * @param step that is blamed
 * @param training updates done, and what they were made with
 * @throws DivergenceError naming what it was that is no finite number, the step, and what to lower
 */
export function requireFinite(
  what: string,
  value: number,
  {
    step,
    done,
    optimizer,
    lora,
  }: {
    readonly step: number;
    readonly done: number;
    readonly optimizer: StepSize & { readonly steps: number };
    readonly lora: LoraConfig | undefined;
  },
): void {
  if (Number.isFinite(value)) return;
  const advice = done === 0 ? whatToBeginFrom(lora) : whatToLower(optimizer, lora);
  throw new DivergenceError(
    `training diverged at step ${step} of ${optimizer.steps}: ${what} is ${value}. ${advice}`,
    step,
  );
}

/** What a training without finite numbers before its first update was given. */
export function whatToBeginFrom(lora: LoraConfig | undefined): string {
  const scale = lora ? `, or lower lora.alpha (${lora.alpha}, over a rank of ${lora.rank})` : "";
  return `Nothing was learned yet: begin from a model and an adapter whose numbers are finite${scale}.`;
}

/** What of an optimizer can be too large. */
interface StepSize {
  readonly learningRate: number;
  readonly learningRateSetting?: string;
  readonly weightDecay: number;
  /** 0 where gradients are not clipped. */
  readonly maxGradNorm: number;
}

/** Which settings a training that diverges was most likely given too large, with their values. */
export function whatToLower(optimizer: StepSize, lora: LoraConfig | undefined): string {
  const { learningRate, learningRateSetting = "learningRate", weightDecay, maxGradNorm } = optimizer;
  const rate = `${learningRateSetting} (the rate was ${learningRate})`;
  // A step multiplies parameters by 1 − ηλ: beyond 2 they grow by themselves.
  if (learningRate * weightDecay > 2)
    return `Lower weightDecay (${weightDecay}) or ${rate}: their product is above 2, so that parameters grow with every step.`;
  const settings = [rate];
  if (lora) {
    const scale = `lora.alpha (${lora.alpha}, over a rank of ${lora.rank})`;
    // Usual are rates about 1e-4 and scales about 1: what exceeds its own by more comes first.
    if (lora.alpha / lora.rank > learningRate / 1e-4) settings.unshift(scale);
    else settings.push(scale);
  }
  const clip = maxGradNorm === 0 ? ", and clip gradients with maxGradNorm: 1" : "";
  return `Lower ${settings.join(" or ")}${clip}.`;
}
