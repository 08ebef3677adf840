import type { ExampleRow, PromptRow } from "@tenet/data";
import { keptAsNow, sftSettingsSchema, trainingPlan, trainSft } from "@tenet/train";
import type { PartContext } from "../context.ts";
import { deviceOf } from "../models.ts";
import { pick } from "../recipe.ts";
import { type Stage, trainingStage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import { selectionOf, watchedOn } from "./validation.ts";

/** Fine-tuning on examples. */
export function supervisedStage(
  context: PartContext,
  part: {
    readonly name: string;
    readonly base: Stage<ModelValue>;
    readonly examples: Stage<StoredRows<ExampleRow>>;
    readonly validation?: Stage<StoredRows<PromptRow>> | undefined;
  },
): Stage<ModelValue> {
  const { recipe, options } = context;
  const { name, base, examples } = part;
  const settings = sftSettingsSchema.parse(pick(recipe.supervised, sftSettingsSchema.shape));
  // Of all weights there is no adapter to speak with while they are trained.
  const watched = settings.weights === "lora" ? watchedOn(context, part.validation) : undefined;
  return trainingStage({
    name,
    title: "supervised fine-tuning",
    kind: "sft",
    // Since 2 what is watched keeps no checkpoint that pays for fewer violations which are not shown, and of all weights those of words have
    // gradients that are added in order, not by several threads at once.
    version: watched || settings.weights === "all" ? 2 : 1,
    ...(watched && { before: { version: 1, same: (report) => keptAsNow(report, { imitating: true }) } }),
    seed: recipe.seed,
    inputs: { examples, ...watched?.inputs } as {
      examples: typeof examples;
      validation?: Stage<StoredRows<PromptRow>>;
    },
    base,
    settings: watched ? [settings, watched.settings] : settings,
    expect(sized) {
      const { rows, tokens, prompt } = sized(examples);
      const example = Math.min(tokens, settings.maxLength);
      const plan = trainingPlan(settings, {
        ...{ learning: 1, looking: settings.validationShare > 0 ? 1 : 0, networks: 1 },
        updateTokens: settings.batchTokens ?? settings.batchSize * example,
      });
      return {
        ...{ rows, tokens, prompt, trainingTokens: settings.epochs * rows * example },
        asked: watched?.asked(sized, base, settings.epochs + 1) ?? [],
        training: settings.weights === "lora" ? plan : { ...plan, lora: undefined },
      };
    },
    train: async function* (inputs, { base: source, folder, models, signal }) {
      const model = await models.trainable(source.reference);
      return yield* trainSft({
        model,
        rows: [...inputs.examples.rows()],
        settings,
        seed: recipe.seed,
        folder,
        from: source.adapter,
        selection: inputs.validation && selectionOf(context, [...inputs.validation.rows()], { mayPay: "imitating" }),
        signal,
        ...deviceOf(options),
      });
    },
  });
}
