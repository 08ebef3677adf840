import type { Estimate } from "@tenet/data";
import { z } from "zod";

/** When a learned signal may be optimised against. The defaults are written here only. */
export const gateFields = {
  chance: z.number().min(0).max(1).default(0.5).describe("Accuracy that the interval has to clear."),
  override: z
    .boolean()
    .default(false)
    .describe("Go on although the gate refuses; scorecard, report and model card say so."),
};

export interface GateSettings {
  readonly chance: number;
  readonly override: boolean;
}

/** Whether a signal may be used. `passed` is the gate's own word; `open` is true also when the recipe overrides it. */
export interface Gate {
  readonly passed: boolean;
  readonly overridden: boolean;
  readonly open: boolean;
  readonly reasons: string[];
}

/**
 * Passes where the lower end of an accuracy's 95 % interval is above chance, on pairs whose answer is known and which were not
 * learnt from. METHODS §3.
 * @param none what to say where there was no such pair
 */
export function accuracyGate(
  { value, interval: [low, high], n }: Estimate,
  { chance, override }: GateSettings,
  none: string,
): Gate {
  const passed = n > 0 && low > chance;
  const figures = () =>
    `accuracy ${value.toFixed(3)} on ${n} pairs, 95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`;
  const reasons =
    n === 0
      ? [none]
      : [`${figures()}: ${passed ? "clears" : high < chance ? "lies below" : "does not clear"} chance (${chance})`];
  const overridden = !passed && override;
  if (overridden) reasons.push("it is used all the same, since the recipe overrides the gate");
  return { passed, overridden, open: passed || override, reasons };
}
