import type { PreferenceRow } from "@tenet/data";
import { preferenceSettingsSchema, trainingPlan, trainPreference } from "@tenet/train";
import type { PartContext } from "../context.ts";
import type { Size } from "../expectation.ts";
import { deviceOf } from "../models.ts";
import { pick } from "../recipe.ts";
import { type Stage, trainingStage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** A preference model: rankings first where there are any, then the labelled pairs. METHODS §4. */
export function preferenceModelStage(
  { recipe: { preferenceModel, seed }, options }: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly pairs: Stage<StoredRows<PreferenceRow>>;
    /** Pairs to test it on; without them it is tested on a share of its own. */
    readonly held?: Stage<StoredRows<PreferenceRow>> | undefined;
    readonly rankings?: Stage<StoredRows<PreferenceRow>> | undefined;
  },
): Stage<ModelValue> {
  const { name, base, pairs, held, rankings } = part;
  const settings = preferenceSettingsSchema.parse(pick(preferenceModel ?? {}, preferenceSettingsSchema.shape));
  // Of pairs to test it on, there are as many as there are.
  const heldOutPairs = held ? undefined : preferenceModel.gate.pairs;
  return trainingStage({
    name,
    title: "preference model",
    kind: "preference-model",
    version: 1,
    seed,
    inputs: { pairs, ...(held && { held }), ...(rankings && { rankings }) } as Record<"pairs", typeof pairs> &
      Partial<Record<"held" | "rankings", typeof pairs>>,
    mayBeEmpty: ["held"],
    base,
    settings: heldOutPairs === undefined ? settings : [settings, heldOutPairs],
    expect(sized) {
      const of = sized(pairs);
      // Training reads the prompt behind both replies.
      const layout = (pair: Size) => Math.min(pair.tokens + pair.prompt, 2 * settings.maxLength);
      const first = rankings ? settings.pretraining.epochs * sized(rankings).rows * layout(sized(rankings)) : 0;
      return {
        ...{ ...of, trainingTokens: first + settings.epochs * of.rows * layout(of) },
        training: trainingPlan(settings, {
          ...{ scores: true, learning: 0, looking: 0, networks: 1, sequencesPerItem: 2 },
          updateTokens: settings.batchSize * layout(of),
        }),
      };
    },
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.trainable(source.reference);
      const { path, report } = yield* trainPreference({
        model,
        rows: [...inputs.pairs.rows()],
        ...(inputs.held && { validation: [...inputs.held.rows()] }),
        ...(inputs.rankings && { pretraining: [...inputs.rankings.rows()] }),
        heldOutPairs,
        settings,
        seed,
        folder,
        from: source.adapter,
        signal,
        ...deviceOf(options),
      });
      return { kind: "adapter", path, report };
    },
  });
}
