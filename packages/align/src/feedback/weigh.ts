import { type PreferenceRow, rowId } from "@tenet/data";
import { z } from "zod";
import { constitutionScore, violationProbability } from "../reward/index.ts";
import type { PairVerdict } from "./pair-verdicts.ts";

/** How labels are held against what the constitution says of both replies, whoever made them. The defaults are written here only. */
export const weighSettingsSchema = z.strictObject({
  by: z
    .enum(["checks", "critic", "both"])
    .default("checks")
    .describe(
      "Who says what a reply violates: programs, the critic (roles.critic), or both, the worse of the two counting.",
    ),
  principles: z
    .union([z.literal("all"), z.int().min(1)])
    .default("all")
    .describe("Principles that the critic is asked about: so many, drawn by weight for each prompt, or all."),
  bothViolate: z
    .enum(["keep", "drop"])
    .default("drop")
    .describe("What becomes of a pair whose replies both violate: neither of them is to be learnt from."),
  contradicted: z
    .enum(["keep", "drop", "correct", "soften"])
    .default("correct")
    .describe(
      "What becomes of a label that prefers the reply that violates to the one that does not: kept, set aside, turned round, or taken half as sure.",
    ),
  reweight: z
    .number()
    .min(0)
    .default(0)
    .describe(
      "α: a pair weighs 1 + α·(R_const of the preferred reply − R_const of the other), where that difference is above 0; the weights keep their mean.",
    ),
});
export type WeighSettings = z.output<typeof weighSettingsSchema>;

/** A label behind its weighing, or why it is set aside. */
export type Weighed =
  | { readonly row: PreferenceRow }
  | { readonly aside: { readonly input: string; readonly reason: string } };

/** How many labels met with what. */
export interface WeighCounts {
  agreeing: number;
  contradicted: number;
  bothViolate: number;
  /** Pairs without a verdict, as nobody answered: they stay as they are. */
  unanswered: number;
}

/**
 * Filters, corrects and re-weights labels by what the constitution says of both replies: a machine's, people's, a file's. METHODS §6.
 *
 * A reply violates where that is likelier than not. A label that says nothing (p = ½) contradicts nothing. A pair without a verdict stays
 * as it is. What was changed stands in `explanation`. The weights of what is left have the mean that they had.
 *
 * @param verdicts by the pair's id
 */
export function weigh(
  rows: readonly PreferenceRow[],
  verdicts: ReadonlyMap<string, Pick<PairVerdict, "a" | "b">>,
  settings: WeighSettings,
): { readonly weighed: readonly Weighed[]; readonly counts: WeighCounts } {
  const counts: WeighCounts = { agreeing: 0, contradicted: 0, bothViolate: 0, unanswered: 0 };
  const judged = rows.map((row) => held(row, verdicts.get(row.id), settings, counts));
  let [before, after] = [0, 0];
  for (const outcome of judged)
    if ("row" in outcome) {
      before += outcome.row.weight;
      after += outcome.row.weight * outcome.factor;
    }
  const scale = after > 0 ? before / after : 1;
  const weighed = judged.map((outcome): Weighed => {
    if (!("row" in outcome)) return outcome;
    const { row, factor, changed } = outcome;
    const weight = settings.reweight === 0 ? row.weight : row.weight * factor * scale;
    if (!changed && weight === row.weight) return { row };
    return { row: { ...row, weight, id: rowId("weighed", row.id, row.p, weight) } };
  });
  return { weighed, counts };
}

type Held =
  | { readonly row: PreferenceRow; readonly factor: number; readonly changed: boolean }
  | Extract<Weighed, { aside: unknown }>;

/** One label against the verdicts on its replies. */
function held(
  row: PreferenceRow,
  verdict: Pick<PairVerdict, "a" | "b"> | undefined,
  { bothViolate, contradicted, reweight }: WeighSettings,
  counts: WeighCounts,
): Held {
  const aside = (reason: string): Held => ({ aside: { input: row.id, reason } });
  const as = (p: number, found?: string): Held => {
    const [better, worse] = p > 0.5 ? [verdict?.a, verdict?.b] : [verdict?.b, verdict?.a];
    const [high, low] = [better, worse].map((breaches) => breaches && constitutionScore(breaches));
    const ahead = p === 0.5 || high === undefined || low === undefined ? 0 : Math.max(0, high - low);
    const factor = 1 + reweight * ahead;
    if (found === undefined) return { row, factor, changed: false };
    const explanation = [...row.explanation, { step: "weigh", found, before: row.p }];
    return { row: { ...row, p, explanation }, factor, changed: true };
  };
  if (!verdict) {
    counts.unanswered++;
    return as(row.p);
  }
  const [a, b] = [verdict.a, verdict.b].map((breaches) => violationProbability(breaches) > 0.5);
  if (a && b) {
    counts.bothViolate++;
    return bothViolate === "drop" ? aside("both replies violate the constitution") : as(row.p);
  }
  const preferred = row.p === 0.5 ? false : row.p > 0.5 ? a : b;
  if (!preferred) {
    counts.agreeing++;
    return as(row.p);
  }
  counts.contradicted++;
  switch (contradicted) {
    case "keep":
      return as(row.p);
    case "drop":
      return aside("the label prefers the reply that violates the constitution to the one that does not");
    case "correct":
      return as(1 - row.p, "contradicted, and turned round");
    case "soften":
      return as((row.p + 0.5) / 2, "contradicted, and taken half as sure");
  }
}
