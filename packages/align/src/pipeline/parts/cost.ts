import { type CostRow, type PairRow, rowId, wilson } from "@tenet/data";
import { type CostEvaluation, costModelSettingsSchema, orderOf, trainCostModel, trainingPlan } from "@tenet/train";
import { accuracyGate } from "../../evaluate/index.ts";
import type { PairVerdict } from "../../feedback/index.ts";
import { violationProbability } from "../../reward/index.ts";
import type { PartContext } from "../context.ts";
import { deviceOf } from "../models.ts";
import { pick } from "../recipe.ts";
import { GateError, reportStage, rowsStage, type Stage, trainingStage } from "../stages/index.ts";
import type { ModelValue, Report, StoredRows } from "../values.ts";
import type { GateReport } from "./gates.ts";
import { byPair } from "./verdicts.ts";

/*
 * The cost model: what a constraint bounds where neither checks nor critic are to be asked of every reply. METHODS §6.
 */

/** Pairs with how unsafe each reply is, by verdicts on both. */
export function costRowsStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly verdicts: Stage<StoredRows<PairVerdict>>;
  },
): Stage<StoredRows<CostRow>> {
  const { name, pairs, verdicts } = part;
  return rowsStage<CostRow>({
    name,
    title: "how unsafe both replies are",
    kind: "costs",
    version: 1,
    seed,
    expect: (sized) => sized(pairs),
    inputs: [pairs, verdicts],
    settings: () => null,
    *make(context) {
      const said = byPair(context.value(verdicts).rows());
      for (const pair of context.value(pairs).rows()) {
        const verdict = said.get(pair.id);
        if (verdict === undefined) {
          yield {
            aside: { input: pair.id, reason: "the critic did not answer: how unsafe its replies are is unknown" },
          };
          continue;
        }
        const unsafe: [number, number] = [violationProbability(verdict.a), violationProbability(verdict.b)];
        const { prompt, a, b, cut, origin } = pair;
        const content = { prompt, a, b, ...(cut && { cut }), unsafe, q: orderOf(unsafe), weight: 1 };
        yield { row: { ...content, id: rowId("cost", content), origin: { ...origin, parents: [pair.id] } } };
      }
    },
  });
}

/** A cost model of such pairs. */
export function costModelStage(
  { recipe: { costModel, seed }, options }: PartContext,
  part: { readonly name: string; readonly base: Stage<ModelValue>; readonly costs: Stage<StoredRows<CostRow>> },
): Stage<ModelValue> {
  const { name, base, costs } = part;
  const settings = costModelSettingsSchema.parse(pick(costModel ?? {}, costModelSettingsSchema.shape));
  return trainingStage({
    name,
    title: "cost model",
    kind: "cost-model",
    version: 1,
    seed,
    inputs: { costs },
    base,
    settings,
    expect(sized) {
      const { rows, tokens, prompt } = sized(costs);
      const longest = Math.min(tokens + prompt, 2 * settings.maxLength);
      return {
        ...{ rows, tokens, prompt, trainingTokens: settings.epochs * rows * longest },
        training: trainingPlan(settings, {
          ...{ scores: true, learning: 0, looking: 0, networks: 1, sequencesPerItem: 2 },
          updateTokens: settings.batchSize * longest,
        }),
      };
    },
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.trainable(source.reference);
      const rows = [...inputs.costs.rows()];
      const training = { model, rows, settings, seed, folder, from: source.adapter, signal, ...deviceOf(options) };
      const { path, report } = yield* trainCostModel(training);
      return { kind: "adapter", path, report };
    },
  });
}

/**
 * The gate in front of a policy that is bounded by the cost model: on held-out replies the sign of the cost is right more often than calling
 * all of them alike would be, by an interval. Throws GateError where it is not and the recipe does not override it.
 */
export function costGateStage(
  { recipe: { costModel, seed } }: PartContext,
  { name, costModel: model }: { readonly name: string; readonly costModel: Stage<ModelValue> },
): Stage<Report<GateReport>> {
  const { override } = costModel!.gate;
  return reportStage({
    name,
    title: "whether the cost model's boundary is better than none",
    kind: "gate",
    version: 1,
    seed,
    inputs: { model },
    settings: ["cost", override],
    async make(inputs) {
      const { evaluation } = (inputs.model.report ?? {}) as { evaluation?: CostEvaluation };
      const signs = evaluation?.signs ?? wilson(0, 0);
      const settings = { chance: evaluation?.majority ?? 0.5, override };
      return { name: "cost model", gate: accuracyGate(signs, settings, "no pair was held out to test it on") };
    },
    gate({ gate }, { emit }) {
      if (gate.passed) return;
      const message = gate.reasons.join("; ");
      if (!gate.open)
        throw new GateError(
          `the gate refuses the cost model: ${message}. Give it more pairs (prompts, feedback.pairs.samples), bound what the checks say instead (policy.constraint.cost: checks), or set costModel.gate.override: true, which the scorecard will say`,
        );
      emit({
        ...{ type: "message", stage: name, level: "warning" },
        message: `the gate refuses the cost model, and the recipe overrides it: ${message}`,
      });
    },
  });
}
