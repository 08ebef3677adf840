import { randomStream } from "./random.ts";

export interface SplitOptions {
  readonly seed: number;
  /** Share of rows held out for validation, between 0 and 1. */
  readonly validation: number;
}

/**
 * The side a key falls on: a function of seed and key alone, so that rows added, removed or reordered move no other row across.
 *
 * @example
 * sideOf("5d1c…", { seed: 1, validation: 0.1 }) === sideOf("5d1c…", { seed: 1, validation: 0.1 }); // true
 */
export function sideOf(key: string, { seed, validation }: SplitOptions): "train" | "validation" {
  if (!(validation >= 0 && validation <= 1))
    throw new RangeError(`validation is ${validation}; expected a share between 0 and 1`);
  return randomStream({ seed, stage: "split", item: key }).uniform(0) < validation ? "validation" : "train";
}

/**
 * Splits rows into training and validation, each row by its id.
 *
 * The sizes follow the share by chance, as n coin flips do. With `key` rows that belong together stay together: pairs of one prompt on
 * both sides would let a model be tested on prompts it was trained on.
 *
 * @example
 * const rows = ["one", "two", "three"].map((id) => ({ id }));
 * splitRows(rows, { seed: 1, validation: 0 }).train.length; // 3
 */
export function splitRows<Row extends { readonly id: string }>(
  rows: Iterable<Row>,
  options: SplitOptions & { readonly key?: (row: Row) => string },
): { train: Row[]; validation: Row[] } {
  const { key = (row: Row) => row.id } = options;
  const sides = { train: [] as Row[], validation: [] as Row[] };
  for (const row of rows) sides[sideOf(key(row), options)].push(row);
  return sides;
}
