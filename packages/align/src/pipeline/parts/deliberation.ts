import type { ExampleRow, PromptRow } from "@tenet/data";
import { deliberate, deliberateDependsOn, readingsBy } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { asking, perMessage, principleSize } from "../sizes.ts";
import { itemStage, type Stage } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";

/** Replies behind reasoning that cites the principles a model was shown. */
export function deliberationStage(
  { recipe: { seed, supervised }, constitution }: PartContext,
  part: {
    readonly name: string;
    readonly prompts: Stage<StoredRows<PromptRow>>;
    readonly generator: Stage<ModelValue>;
    readonly critic: Stage<ModelValue>;
  },
): Stage<StoredRows<ExampleRow>> {
  const { name, prompts, generator, critic } = part;
  const settings = supervised.deliberate!;
  const options = { settings, constitution, seed };
  return itemStage<PromptRow, ExampleRow>({
    name,
    title: "reasoned replies",
    kind: "deliberate",
    version: 1,
    seed,
    expect(sized) {
      const { rows, tokens } = sized(prompts);
      const shown = settings.principles * (principleSize(constitution.principles) + perMessage);
      const { maxTokens } = settings.sampling;
      const written = rows * settings.samples;
      const asked = [asking("generator", generator, written, tokens + shown, maxTokens)];
      if (settings.keep) {
        const { asking: reading } = settings.keep;
        const readings = readingsBy(settings.keep);
        const verdict = reading.format === "d-rlaif" ? 0 : reading.maxTokens;
        asked.push(asking("critic", critic, written * readings, tokens + shown + maxTokens, verdict));
      }
      return { rows: written, tokens: tokens + maxTokens, prompt: tokens, asked };
    },
    over: prompts,
    // Who is not asked does not count.
    models: { generator, ...(settings.keep && { critic }) },
    dependsOn: (row) => deliberateDependsOn(row, options),
    run: (rows, models, call) => {
      const speaker = models.generator!;
      return deliberate(rows, { ...options, generator: speaker, critic: models.critic ?? speaker }, call);
    },
  });
}
