import type { Estimate } from "@tenet/data";
import type { Figure } from "./api.ts";

/** JSON has no infinity: where nothing bounds a figure, its bound is null. */
export function finite({ value, interval: [low, high], n }: Estimate): Figure {
  const bound = (x: number) => (Number.isFinite(x) ? x : null);
  return { value, interval: [bound(low), bound(high)], n };
}
