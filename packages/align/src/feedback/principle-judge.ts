import { mean, type PairRow } from "@tenet/data";
import type { PairJudge } from "../evaluate/index.ts";
import { type LabelOptions, labelPairs } from "./label.ts";
import { readingsOf } from "./labelled-pair.ts";

/**
 * A labeller as a judge: it is asked the constitution's questions about each pair, in both orders, as it would be for labels;
 * over several principles the orders are means. What a trained judge was taught is thus what it is asked. METHODS §3, §7.
 *
 * Errors: those of `labelPairs`.
 */
export function principleJudge(options: Omit<LabelOptions, "method" | "swap" | "constitutionFirst">): PairJudge {
  return {
    id: options.labeller.id,
    async *compare(pairs, call = {}) {
      // Equal pairs are one question, and one row.
      const places = new Map<string, number[]>();
      for (const [i, { id }] of pairs.entries()) places.set(id, [...(places.get(id) ?? []), i]);
      const rows = [...places.values()].map(([first]) => pairs[first!]!);
      const asking = { ...options, method: "choice" as const, swap: true };
      for await (const { input, rows: labels, aside } of labelPairs(rows, asking, call)) {
        const [label] = labels;
        for (const pair of places.get(input)!)
          if (label === undefined) yield { pair, refused: aside ?? "the judge gave no answer" };
          else yield { pair, orders: ordersOf(label.explanation) };
      }
    },
  };
}

/** That `a` is better, with `a` shown first and with `b` shown first. */
function ordersOf(explanation: readonly unknown[]): readonly [number, number] {
  const readings = readingsOf(explanation);
  const shown = (first: keyof Pick<PairRow, "a" | "b">) =>
    mean(readings.filter((reading) => reading.first === first).map(({ p }) => p));
  return [shown("a"), shown("b")];
}
