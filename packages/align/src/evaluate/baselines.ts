import { formatChange, formatChangeInterval, formatEstimate } from "./format.ts";
import type { CheckpointEvidence } from "./measures.ts";
import type { Baseline, Scorecard } from "./scorecard.ts";
import { direction } from "./verdict.ts";

/** What was seen of something that was not trained: the model with other words before the prompt, or one reply to everything. */
export interface BaselineEvidence
  extends Pick<CheckpointEvidence, "id" | "label" | "model" | "responses" | "proxy" | "judge"> {
  readonly about: string;
  /** Of a constant reply, the reply. */
  readonly reply?: string;
}

export function baselineOf({ id, label, model, about, reply }: BaselineEvidence): Baseline {
  return { id, label, model, about, ...(reply === undefined ? {} : { reply }) };
}

type Facts = Pick<Scorecard, "checkpoints" | "rows" | "differences">;

const violations = { unit: "share", change: "difference" } as const;

/** What the baselines' violation rates allow to say of training, and of the checks. */
export function baselineSentences(baselines: readonly Baseline[], { checkpoints, rows, differences }: Facts): string[] {
  const trained = checkpoints.slice(1);
  return baselines.flatMap(({ id, label, reply }): string[] => {
    const row = rows.find(({ checkpoint, metric }) => checkpoint === id && metric === "violations");
    if (!row) return [];
    const share = formatEstimate(row, "share");
    if (reply !== undefined)
      return row.value === 0
        ? [
            `One reply to everything breaks no principle in ${row.n} of ${row.n} replies: the checks do not tell a good reply from a formula. Violations alone are no measure here; read kinds of openings and self-overlap beside them, and have a judge or people say whether what was asked is answered.`,
          ]
        : [`One reply to everything breaks a principle in ${share}.`];
    const against = trained.flatMap((checkpoint) => {
      const change = differences.find(
        (d) => d.metric === "violations" && d.checkpoint === checkpoint.id && d.against === id,
      );
      if (!change) return [];
      const said = {
        fell: "violates less",
        rose: "violates more",
        unclear: "is not shown to differ",
      }[direction(change)];
      const figures = `${formatChange(change.value, violations)}, 95% interval ${formatChangeInterval(change.interval, violations)}`;
      return [`${checkpoint.label} ${said} (${figures})`];
    });
    return [
      `${label}, untrained, breaks a principle in ${share}${against.length > 0 ? `; against it ${against.join(", ")}` : ""}.`,
    ];
  });
}
