import { groupBy, type Message } from "@tenet/data";
import { shuffled } from "./loop.ts";

/** Equal for rows with one prompt. */
export function promptOf({ prompt }: { readonly prompt: readonly Message[] }): string {
  return JSON.stringify(prompt);
}

/**
 * Holds a share of the rows out, whole prompts at a time: what is trained on one reply to a prompt says little about another reply to
 * the same. Prompts are taken in an order drawn by (seed, stage) until the share is reached, but never more than half of the rows; rows keep their order.
 * @param atLeast so many rows of those that count, where the share has fewer of them, or as many as half of all rows have
 */
export function holdOut<Row extends { readonly prompt: readonly Message[] }>(
  rows: readonly Row[],
  {
    seed,
    stage,
    share,
    atLeast,
  }: {
    readonly seed: number;
    readonly stage: string;
    readonly share: number;
    readonly atLeast?: { readonly count: number; readonly of: (row: Row) => boolean } | undefined;
  },
): { readonly train: readonly Row[]; readonly validation: readonly Row[] } {
  const groups = [...groupBy(rows, promptOf)];
  const wanted = Math.round(share * rows.length);
  const held = new Set<string>();
  let count = 0;
  let counting = 0;
  for (const index of shuffled(groups.length, { seed, stage, epoch: 0 })) {
    const enough = !atLeast || counting >= atLeast.count || count >= rows.length / 2;
    if (count >= wanted && enough) break;
    const [prompt, members] = groups[index]!;
    // A prompt that most rows belong to is trained on, however small the share; one alone cannot be on both sides.
    if (count + members.length > rows.length / 2) continue;
    held.add(prompt);
    count += members.length;
    if (atLeast) counting += members.filter(atLeast.of).length;
  }
  const isHeld = (row: Row) => held.has(promptOf(row));
  return { train: rows.filter((row) => !isHeld(row)), validation: rows.filter(isHeld) };
}
