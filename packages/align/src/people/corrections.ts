import type { Message, PairRow, ResponseRow } from "@tenet/data";
import type { Store } from "@tenet/runs";

/** What corrections can be given back as: examples to imitate, or preferences of the correction over the reply. */
export const correctionForms = ["examples", "preferences"] as const;
export type CorrectionForm = (typeof correctionForms)[number];

/** A correction as recipes read it: `supervised.written` takes the examples, `preferenceModel.human` the preferences. */
export type Correction =
  | { readonly prompt: readonly Message[]; readonly completion: string }
  | { readonly prompt: readonly Message[]; readonly chosen: string; readonly rejected: string };

/** What people would rather have read in place of a run's replies, in the order in which they wrote it; of several people's, each is one. */
export function correctionsOf(store: Store, run: string, { as }: { readonly as: CorrectionForm }): Correction[] {
  const own = new Set(store.stages(run).map(({ name }) => name));
  return store.annotations().flatMap(({ row: id, kind, about, value }): Correction[] => {
    if (kind !== "correction" || typeof value !== "string") return [];
    const row = store.row<ResponseRow | PairRow>(id);
    const here = store.lineage(id)[0]?.stages.some((one) => one.run === run && own.has(one.stage));
    if (!row || !here) return [];
    const { prompt } = row;
    // Of a pair one of its replies is corrected.
    const response = "response" in row ? row.response : about === "a" || about === "b" ? row[about] : undefined;
    if (response === undefined) return [];
    return [as === "examples" ? { prompt, completion: value } : { prompt, chosen: value, rejected: response }];
  });
}
