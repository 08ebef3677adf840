import type { PromptRow } from "@tenet/data";
import { dialogueDependsOn, dialogues } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { asking, mean, perMessage, size } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** Prompts that are gone on with as dialogues. */
export function dialoguesStage(
  { recipe, personas }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly assistant: Stage<ModelValue>;
    readonly person: Stage<ModelValue>;
  },
): Stage<StoredRows<PromptRow>> {
  const { name, prompts, assistant, person } = part;
  const { seed } = recipe;
  const { personas: _, ...settings } = recipe.prompts.dialogue!;
  const options = { settings, personas, seed };
  return itemStage<PromptRow, PromptRow>({
    name,
    title: "dialogues between two models",
    kind: "dialogues",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const { turns, share, sampling } = settings;
      const [held, further] = [rows * share, turns - 1];
      // The conversation grows by two replies with each turn.
      const read = tokens + further * sampling.maxTokens;
      const card = mean(personas.map(size)) + perMessage;
      const asked = [
        asking("assistant", assistant, held * further, read, sampling.maxTokens),
        asking("person", person, held * further, read + card, sampling.maxTokens),
      ];
      const all = rows + held * further;
      return { rows: all, tokens: read, prompt: read, asked };
    },
    over: prompts,
    models: { assistant, person },
    dependsOn: (row) => dialogueDependsOn(row, options),
    run: (rows, models, call) =>
      dialogues(rows, { ...options, assistant: models.assistant!, person: models.person! }, call),
  });
}
