import type { Estimate } from "@tenet/data";
import { wilson } from "@tenet/data";
import { accuracyGate, type Gate } from "../../evaluate/index.ts";
import type { PartContext } from "../context.ts";
import { GateError, reportStage, type Stage } from "../stages/index.ts";
import type { ModelValue, Report } from "../values.ts";

/** What a gate found, as the store and the scorecard keep it. */
export interface GateReport {
  /** Of what passed it or did not. */
  readonly name: string;
  readonly gate: Gate;
}

/** What this gate judges, in its report. */
export const judgedPreferences = "preference model";

/**
 * The gate in front of everything that is optimised against the preference model: on held-out pairs it must be right more often
 * than chance, by an interval. METHODS §3, §4. Throws GateError where it is not, unless the recipe overrides it or goes
 * on without the model.
 */
export function preferenceGateStage(
  { recipe }: PartContext,
  { name, preferenceModel }: { readonly name: string; readonly preferenceModel: Stage<ModelValue> },
): Stage<Report<GateReport>> {
  const { refused, ...settings } = recipe.preferenceModel.gate;
  return reportStage({
    name,
    title: "whether the preference model is right more often than chance",
    kind: "gate",
    version: 1,
    seed: recipe.seed,
    inputs: { preferenceModel },
    settings,
    async make(inputs) {
      const { evaluation } = (inputs.preferenceModel.report ?? {}) as { evaluation?: { accuracy: Estimate } };
      const accuracy = evaluation?.accuracy ?? wilson(0, 0);
      return { name: judgedPreferences, gate: accuracyGate(accuracy, settings, "no pair was held out to test it on") };
    },
    gate({ gate }, { emit }) {
      if (gate.passed) return;
      const message = gate.reasons.join("; ");
      const warn = (then: string) =>
        emit({
          ...{ type: "message", stage: name, level: "warning" },
          message: `the gate refuses the preference model, and ${then}: ${message}`,
        });
      if (gate.open) return warn("the recipe overrides it");
      if (refused === "go-without") return warn("the policy learns from what else its reward has");
      throw new GateError(
        `the gate refuses the preference model: ${message}. Give it more or better pairs (prompts, feedback.pairs.samples, preferenceModel.human), more held-out ones (prompts.validation, preferenceModel.validationShare), go on without it (preferenceModel.gate.refused: go-without, where policy.reward weighs something else), or set preferenceModel.gate.override: true, which the scorecard will say`,
      );
    },
  });
}

/** Whether the policy learns without the preference model, since the gate refuses it and the recipe goes on. */
export function goesWithout(
  { preferenceModel }: { readonly preferenceModel: { readonly gate: { readonly refused?: string | undefined } } },
  { name, gate }: { readonly name: string; readonly gate: Pick<Gate, "open"> },
): boolean {
  return name === judgedPreferences && !gate.open && preferenceModel.gate.refused === "go-without";
}
