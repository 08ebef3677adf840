import { breaksOf, parseScorecard, type Scorecard, subjectOf } from "@tenet/align";
import type { Store, SupersededStage } from "@tenet/runs";
import type { Figure, Metric, RunSummary, Verdict } from "./api.ts";

/*
 * Scorecards as the page shows them: the same figures in the same order, and for each the rows that stand behind it.
 */

/** Scorecards that are kept read, by store and identity: what stands under an identity does not change. */
const kept = new WeakMap<Store, Map<string, Scorecard | undefined>>();
const mostKept = 32;

/** The scorecard of a run; undefined where it has none, or one of a version that is not known here. */
export function cardOf(store: Store, run: string): Scorecard | undefined {
  const scorecard = store.totals({ run }).get(run)?.stages.scorecard;
  if (scorecard?.status !== "done") return undefined;
  return readOnce(store, scorecard.identity, () => store.stage(run, "scorecard")?.output);
}

/** A scorecard that a later one replaced. */
export function formerCard(store: Store, { identity, output }: SupersededStage): Scorecard | undefined {
  return readOnce(store, identity, () => output);
}

function readOnce(store: Store, identity: string, output: () => unknown): Scorecard | undefined {
  const known = kept.get(store) ?? new Map<string, Scorecard | undefined>();
  kept.set(store, known);
  if (!known.has(identity)) {
    if (known.size >= mostKept) known.delete(known.keys().next().value!);
    known.set(identity, readCard(output()));
  }
  return known.get(identity);
}

function readCard(output: unknown): Scorecard | undefined {
  if (output === undefined) return undefined;
  try {
    return parseScorecard(JSON.stringify(output));
  } catch (error) {
    if ((error as Error).name === "ScorecardError") return undefined;
    throw error;
  }
}

export const figure = ({ value, interval, n }: Figure): Figure => ({ value, interval, n });

/** What a list of runs shows of a scorecard. */
export function headline(card: Scorecard): Pick<RunSummary, "tone" | "violations" | "change"> {
  const labels = new Map(card.checkpoints.map(({ id, label }) => [id, label]));
  const rows = card.rows.filter(({ metric, checkpoint }) => metric === "violations" && labels.has(checkpoint));
  const first = card.checkpoints[0]!.id;
  const subject = subjectOf(card).id;
  const change = card.differences.find(
    (one) => one.metric === "violations" && one.checkpoint === subject && one.against === first,
  );
  return {
    tone: card.verdict.tone,
    violations: rows.map((row) => ({
      checkpoint: row.checkpoint,
      label: labels.get(row.checkpoint)!,
      ...figure(row),
    })),
    ...(change && { change: figure(change) }),
  };
}

export function verdictOf(card: Scorecard): Verdict {
  const subject = subjectOf(card);
  const texts = new Map(card.constitution.principles.map(({ id, text }) => [id, text]));
  return {
    tone: card.verdict.tone,
    sentences: card.verdict.sentences,
    checkpoints: card.checkpoints.map(({ id, label, model }) => ({ id, label, model })),
    subject: { id: subject.id, label: subject.label, recommended: card.recommended === subject.id },
    heldOut: { prompts: card.heldOut.prompts, benign: card.heldOut.benign },
    metrics: card.metrics.map((metric) => metricOf(card, metric)),
    breaks: breaksOf(card, subject).map(({ principle, rate, severity, example }) => {
      const text = texts.get(principle);
      return {
        principle,
        rate: figure(rate),
        ...(text !== undefined && { text }),
        ...(severity !== undefined && { severity }),
        ...(example && {
          example: {
            row: example.row,
            prompt: example.prompt,
            response: example.response,
            ...(example.check !== undefined && { check: example.check }),
            ...(example.why !== undefined && { why: example.why }),
          },
        }),
      };
    }),
    mustHold: card.mustHold.map((one) => ({ principle: one.principle, ...figure(one) })),
    principles: card.principles.map((one) => ({
      principle: one.principle,
      checkpoint: one.checkpoint,
      ...figure(one),
    })),
    labelHealth: card.labelHealth.map(({ figures, principles, calibration, ...health }) => ({
      ...health,
      figures: figures.map(({ label, estimate, ideal }) => ({
        label,
        figure: figure(estimate),
        ...(ideal !== undefined && { ideal }),
      })),
      ...(calibration && { calibration }),
      principles: principles.map(({ principle, agreement }) => ({ principle, agreement: figure(agreement) })),
    })),
    ...(card.labelsBy && { labelsBy: card.labelsBy }),
    ...(card.labelling && { labelling: card.labelling, humanLabelUsd: card.humanLabelUsd }),
    gates: card.gates,
  };
}

function metricOf(card: Scorecard, { name, label, unit, change, better, about }: Scorecard["metrics"][number]): Metric {
  const of = new Set(card.checkpoints.map(({ id }) => id));
  return {
    name,
    label,
    unit,
    change,
    better,
    about,
    values: card.rows
      .filter(({ metric, checkpoint }) => metric === name && of.has(checkpoint))
      .map((row) => ({ checkpoint: row.checkpoint, ...figure(row) })),
    differences: card.differences
      .filter(({ metric, checkpoint }) => metric === name && of.has(checkpoint))
      .map((row) => ({ checkpoint: row.checkpoint, against: row.against, ...figure(row) })),
  };
}
