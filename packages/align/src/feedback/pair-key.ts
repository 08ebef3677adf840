import { keyOf, type PairRow } from "@tenet/data";

/** Equal for the same pair in either order, and for no other. */
export function pairKey({ prompt, a, b }: Pick<PairRow, "prompt" | "a" | "b">): string {
  return keyOf([prompt, ...[a, b].sort()]);
}
