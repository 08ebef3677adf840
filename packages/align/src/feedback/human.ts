import { type PreferenceRow, rowId } from "@tenet/data";
import { pairKey } from "./pair-key.ts";

export interface HumanLabels {
  /** The rows in their order; those that a human labelled carry the human's label. */
  readonly rows: PreferenceRow[];
  /** Rows whose machine label was replaced. */
  readonly replaced: number;
  /** Human labels of pairs that are not among the rows; they are preferences of their own. */
  readonly unmatched: PreferenceRow[];
}

/**
 * Human labels over machine labels: the same pair, found by prompt and responses in either order, takes the human's
 * probability; the mean where several humans labelled it. The machine's label stays in `explanation`. METHODS §3.
 */
export function applyHumanLabels(rows: readonly PreferenceRow[], human: readonly PreferenceRow[]): HumanLabels {
  const said = new Map<string, PreferenceRow[]>();
  for (const label of human) {
    const key = pairKey(label);
    said.set(key, [...(said.get(key) ?? []), label]);
  }
  const matched = new Set<string>();
  let replaced = 0;
  const merged = rows.map((row): PreferenceRow => {
    const labels = said.get(pairKey(row));
    if (labels === undefined) return row;
    matched.add(pairKey(row));
    replaced++;
    const p = labels.reduce((sum, label) => sum + (label.a === row.a ? label.p : 1 - label.p), 0) / labels.length;
    const step = { step: "human", p, labels: labels.length, instead: { label: row.label, p: row.p } };
    return {
      ...row,
      id: rowId("preference", row.prompt, row.a, row.b, p, "human"),
      p,
      label: "human",
      explanation: [...row.explanation, step],
      origin: { ...row.origin, parents: [...row.origin.parents, ...labels.map(({ id }) => id)] },
    };
  });
  return { rows: merged, replaced, unmatched: human.filter((label) => !matched.has(pairKey(label))) };
}
