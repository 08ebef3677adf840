import { TensorError } from "../errors.ts";

export interface ScheduleOptions {
  readonly kind: "constant" | "linear" | "cosine";
  /** Learning rate at its highest. */
  readonly peak: number;
  /** Steps over which it rises linearly from 0 to the peak. Default 0. */
  readonly warmup?: number;
  /** Steps in all; linear and cosine reach 0 there. */
  readonly steps: number;
}

/**
 * Learning rate of a step, counted from 0. After the warm-up: constant stays at the peak, linear falls to 0 in a line,
 * cosine falls as ½(1 + cos πp) over the rest of the run.
 * @throws TensorError when the warm-up is longer than the run
 */
export function schedule({ kind, peak, warmup = 0, steps }: ScheduleOptions): (step: number) => number {
  if (!(warmup >= 0 && warmup <= steps))
    throw new TensorError(`schedule: expected a warm-up between 0 and the ${steps} steps of the run, got ${warmup}`);
  return (step) => {
    if (step < warmup) return (peak * step) / warmup;
    if (kind === "constant") return peak;
    const progress = Math.min(1, (step - warmup) / Math.max(1, steps - warmup));
    return peak * (kind === "linear" ? 1 - progress : 0.5 * (1 + Math.cos(Math.PI * progress)));
  };
}
