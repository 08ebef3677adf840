import type { Estimate, PreferenceRow, PromptRow } from "@tenet/data";
import { effectiveSize, wilson } from "@tenet/data";
import { accuracyGate, fewPairs, type Gate } from "../../evaluate/index.ts";
import type { PartContext } from "../context.ts";
import { nothing } from "../expectation.ts";
import type { Recipe } from "../recipe.ts";
import { GateError, reportStage, type Stage } from "../stages/index.ts";
import type { ModelValue, Report, StoredRows } from "../values.ts";

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
  part: {
    readonly name: string;
    readonly preferenceModel: Stage<ModelValue>;
    /** What the pairs are of, where that is known of all. */
    readonly prompts?: Stage<StoredRows<PromptRow>> | undefined;
  } & (
    | { readonly held: Stage<StoredRows<PreferenceRow>> }
    /** What a share of is held out. */
    | { readonly learnt: Stage<StoredRows<PreferenceRow>> }
  ),
): Stage<Report<GateReport>> {
  const { name, preferenceModel } = part;
  const { validationShare, given } = recipe.preferenceModel;
  const more = remedies(recipe, "held" in part ? "prompts.validation" : "prompts.train");
  const { refused, ...settings } = recipe.preferenceModel.gate;
  const { chance, pairs: wanted } = settings;
  const accuracyOf = ({ report }: ModelValue): Estimate =>
    (report as { evaluation?: { accuracy: Estimate } } | undefined)?.evaluation?.accuracy ?? wilson(0, 0);
  return reportStage({
    name,
    title: "whether the preference model is right more often than chance",
    kind: "gate",
    version: 1,
    seed: recipe.seed,
    inputs: { preferenceModel },
    settings,
    expect(sized) {
      const { rows } = sized("held" in part ? part.held : part.learnt);
      const share = Math.max(Math.round(validationShare * rows), Math.min(wanted ?? 0, Math.floor(rows / 2)));
      const tested = "held" in part ? rows : share;
      const prompts = part.prompts && sized(part.prompts).rows * (rows === 0 ? 0 : tested / rows);
      // A pair under several draws of principles is one pair.
      return { ...nothing, gate: { chance, pairs: tested / (given?.draws ?? 1), prompts } };
    },
    async make(inputs) {
      const accuracy = accuracyOf(inputs.preferenceModel);
      const gate = accuracyGate(accuracy, settings, "no pair was held out to test it on");
      if (wanted !== undefined && accuracy.n < wanted)
        gate.reasons.push(
          `preferenceModel.gate.pairs asks for ${wanted} pairs with a preferred reply, and ${wanted - accuracy.n} are lacking: give more ${more.pairs}`,
        );
      return { name: judgedPreferences, gate };
    },
    gate({ gate }, { emit, value }) {
      if (gate.passed) return;
      const accuracy = accuracyOf(value(preferenceModel));
      const few = accuracy.n === 0 ? undefined : fewPairs(accuracy.n, { chance, counted: effectiveSize(accuracy) });
      const message = [...gate.reasons, ...(few === undefined ? [] : [few.text])].join("; ");
      const warn = (then: string) =>
        emit({
          ...{ type: "message", stage: name, level: "warning" },
          message: `the gate refuses the preference model, and ${then}: ${message}`,
        });
      if (gate.open) return warn("the recipe overrides it");
      if (refused === "go-without") return warn("the policy learns from what else its reward has");
      throw new GateError(
        `the gate refuses the preference model: ${message}. Give it more or better pairs (${more.learnt}, preferenceModel.human), more held-out ones (${more.held}), go on without it (preferenceModel.gate.refused: go-without, where policy.reward weighs something else), or set preferenceModel.gate.override: true, which the scorecard will say`,
      );
    },
  });
}

/** Where more pairs come from: of what people judge, so many as they are asked about, whatever the prompts are. */
export function remedies({ feedback }: Pick<Recipe, "feedback">, prompts: string) {
  return feedback.label.method === "people"
    ? {
        pairs: "pairs that people are asked about (feedback.people.pairs)",
        learnt: "feedback.people.pairs",
        held: "preferenceModel.gate.pairs",
      }
    : {
        pairs: `prompts (${prompts})`,
        learnt: "prompts, feedback.pairs.samples",
        held: "preferenceModel.gate.pairs, prompts.validation",
      };
}

/** Whether the policy learns without the preference model, since the gate refuses it and the recipe goes on. */
export function goesWithout(
  { preferenceModel }: { readonly preferenceModel: { readonly gate: { readonly refused?: string | undefined } } },
  { name, gate }: { readonly name: string; readonly gate: Pick<Gate, "open"> },
): boolean {
  return name === judgedPreferences && !gate.open && preferenceModel.gate.refused === "go-without";
}
