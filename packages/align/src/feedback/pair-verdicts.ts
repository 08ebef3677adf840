import { type Outcome, originSchema, type PairRow, rowId } from "@tenet/data";
import { z } from "zod";
import type { StageCall } from "../ask.ts";
import { type Critic, judgeReplies, type PanelOptions } from "../reward/index.ts";

const breachesSchema = z.array(
  z.strictObject({
    principle: z.string(),
    weight: z.number(),
    breaks: z.number().min(0).max(1),
    by: z.enum(["checks", "critic"]),
    factor: z.number().min(0).max(1).exactOptional(),
  }),
);

/** What both replies of a pair break. */
export const pairVerdictSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** Id of the pair. */
  pair: z.string(),
  a: breachesSchema,
  b: breachesSchema,
});
export type PairVerdict = z.output<typeof pairVerdictSchema>;

/** Verdicts on both replies of pairs. Set aside: pairs of which the critic did not answer a question. Errors: those of the critic. */
export async function* judgePairs(
  rows: readonly PairRow[],
  options: PanelOptions,
  critic: Critic | undefined,
  call: StageCall = {},
): AsyncGenerator<Outcome<PairVerdict>> {
  const replies = rows.flatMap(({ prompt, a, b, category }) =>
    // Under the same principles for one prompt's text, whichever pair it stands in.
    [a, b].map((response) => ({ id: rowId("prompt", prompt), prompt, response, category })),
  );
  const verdicts = await judgeReplies(replies, options, critic, { round: 0, asker: 0 }, call);
  for (const [i, { id }] of rows.entries()) {
    const [a, b] = [verdicts[2 * i]!, verdicts[2 * i + 1]!];
    if ("unanswered" in a) yield { input: id, rows: [], aside: a.unanswered };
    else if ("unanswered" in b) yield { input: id, rows: [], aside: b.unanswered };
    else {
      const content = { pair: id, a: [...a.breaches], b: [...b.breaches] };
      yield { input: id, rows: [{ id: rowId("pair verdict", content), origin: { parents: [id] }, ...content }] };
    }
  }
}
