import { type PairRow, type PreferenceRow, wilson } from "@tenet/data";
import { constitutionHash } from "../../constitution/index.ts";
import type { LabelHealth } from "../../evaluate/index.ts";
import { type Audit, type AuditSettings, auditLabels, auditPairs, knownExamples } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { lengthOf, mean, size } from "../sizes.ts";
import { GateError, reportStage, rowsStage, type Stage } from "../stages/index.ts";
import type { ModelValue, Report, StoredRows } from "../values.ts";
import { labelsStage, unreadIn } from "./labels.ts";

/** The constitution's own examples as pairs with a known answer. */
export function examplePairsStage(
  { recipe: { seed }, constitution }: PartContext,
  name: string,
): Stage<StoredRows<PreferenceRow>> {
  const known = knownExamples(constitution);
  return rowsStage<PreferenceRow>({
    name,
    title: "good and bad replies of the constitution's examples",
    kind: "example-pairs",
    version: 1,
    seed,
    expect: () => ({
      rows: known.length,
      tokens: mean(known.map(({ prompt, a, b }) => lengthOf(prompt) + size(a) + size(b))),
      prompt: mean(known.map(({ prompt }) => lengthOf(prompt))),
    }),
    settings: () => constitutionHash(constitution),
    *make() {
      for (const row of known) yield { row };
    },
  });
}

/** The audit's figures as the store and the scorecard keep them. */
export interface AuditReport {
  readonly health: LabelHealth;
  readonly gate: Audit["gate"];
}

/** Labels for pairs whose answer is known, in the way the recipe labels; drawn are the sides on which the replies stand. */
export function auditLabelsStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly known: Stage<StoredRows<PreferenceRow>>;
    readonly labeller: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, known, labeller, critic } = part;
  const { seed } = context.recipe;
  const pairs = rowsStage<PairRow>({
    name: `${name} pairs`,
    title: "pairs with a known answer, in a drawn order",
    kind: "audit-pairs",
    version: 1,
    seed,
    inputs: [known],
    settings: () => null,
    *make(stage) {
      for (const row of auditPairs([...stage.value(known).rows()], { seed })) yield { row };
    },
  });
  return labelsStage(context, {
    name: `${name} labels`,
    title: "labels for the audit",
    pairs,
    labeller,
    critic,
    given: true,
  });
}

/** Holds labels of pairs against their known answers, and refuses to go on when they are no better than chance. METHODS §3. */
export function auditStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly known: Stage<StoredRows<PreferenceRow>>;
    readonly labels: Stage<StoredRows<PreferenceRow>>;
    readonly settings: AuditSettings;
    /** Whom the audit is of. */
    readonly who: "labeller" | "critic";
    /** What to do where the gate refuses. */
    readonly refused: string;
  },
): Stage<Report<AuditReport>> {
  const { name, known, labels, settings, who, refused } = part;
  return reportStage({
    name,
    title: "what the labels are worth",
    kind: "audit",
    version: 3,
    seed,
    inputs: { known, labels },
    settings,
    async make(inputs) {
      const audit = auditLabels([...inputs.known.rows()], [...inputs.labels.rows()], { ...settings, seed });
      const labellerName = [...inputs.labels.rows()][0]?.origin.models?.labeller ?? "labeller";
      const unread = unreadIn(inputs.labels);
      const asked = audit.labelled + audit.settled + audit.unlabelled;
      return { health: labelHealth(audit, labellerName, { unread, asked }), gate: audit.gate };
    },
    gate({ gate }, { emit }) {
      if (gate.passed) return;
      const message = gate.reasons.join("; ");
      if (!gate.open) throw new GateError(`the audit refuses the ${who}: ${message}. ${refused}`);
      emit({
        type: "message",
        stage: name,
        level: "warning",
        message: `the audit refuses the ${who}, and the recipe overrides it: ${message}`,
      });
    },
  });
}

function labelHealth(
  audit: Audit,
  labeller: string,
  { unread, asked }: { unread: number; asked: number },
): LabelHealth {
  const card = ({ value, interval: [low, high], n }: Audit["accuracy"]): LabelHealth["accuracy"] => ({
    value: Number.isFinite(value) ? value : 0,
    interval: [Number.isFinite(low) ? low : null, Number.isFinite(high) ? high : null],
    n,
  });
  const { gate, lengthBias, positionBias, flips, calibration } = audit;
  const figures: [string, Audit["accuracy"], string?][] = [
    ["Same answer in both orders", audit.swapConsistency, "1"],
    ["Follows the position", positionBias.share, "0"],
    ["Prefers the longer", lengthBias.longerPreferred, "as often as it is right"],
    ["The longer is right", lengthBias.longerRight],
    ["Planted flips ranked above the others", flips.ranked, "1; ½ by chance"],
    // Only where there is something to say of them.
    ...(audit.sampledLetters.value > 0
      ? [
          ["Read from sampled letters, not log-probabilities", audit.sampledLetters, "0"] as [
            string,
            Audit["accuracy"],
            string,
          ],
        ]
      : []),
    ...(audit.settled > 0
      ? [
          ["Pairs that checks settled before anybody was asked", wilson(audit.settled, asked)] as [
            string,
            Audit["accuracy"],
          ],
        ]
      : []),
    ...(unread > 0
      ? [
          ["Pairs with an answer that could not be read", wilson(unread, asked), "0"] as [
            string,
            Audit["accuracy"],
            string,
          ],
        ]
      : []),
  ];
  return {
    labeller,
    accuracy: card(audit.accuracy),
    gate: { passed: gate.passed, overridden: gate.overridden, why: gate.reasons.join("; ") },
    figures: figures
      .filter(([, { n }]) => n > 0)
      .map(([label, estimate, ideal]) => ({
        label,
        estimate: card(estimate),
        ...(ideal === undefined ? {} : { ideal }),
      })),
    ...(audit.labelled > 0 && { calibration: { ece: calibration.ece, brier: card(calibration.brier) } }),
    reliability: calibration.bins.map(({ predicted, observed, n }) => ({ predicted, observed, n })),
    principles: [...audit.principles].map(([principle, agreement]) => ({ principle, agreement: card(agreement) })),
  };
}
