import { type ExampleRow, type Message, type Outcome, type PromptRow, type ResponseRow, rowId } from "@tenet/data";
import { refusesText, UsageError } from "@tenet/lm";
import { asAsked } from "../../constitution/index.ts";
import { commonest } from "../../evaluate/variety.ts";
import { type RespondOptions, respond, respondDependsOn } from "../../feedback/respond.ts";
import type { PartContext } from "../context.ts";
import type { OpenRecipe } from "../open.ts";
import type { BaselineName } from "../recipe.ts";
import { lengthOf, perMessage, size } from "../sizes.ts";
import { itemStage, rowsStage, type Stage, type StageContext } from "../stages/index.ts";
import type { ModelValue, StoredRows } from "../values.ts";
import { repliesTo } from "./replies.ts";

/*
 * What the held-out prompts give without training: what training is worth is the difference to these, not to the bare model.
 */

/** One of them, as the scorecard names it. */
export interface BaselinePart {
  readonly id: string;
  readonly label: string;
  readonly about: string;
  readonly responses: Stage<StoredRows<ResponseRow>>;
  /** Of a constant reply, the reply; known once the stages before it are done. */
  readonly reply?: (context: StageContext) => string;
}

/** Their names in the scorecard, which checkpoints have none of. */
export const baselineIds: Record<BaselineName, string> = {
  demonstrations: "with-demonstrations",
  constitution: "with-constitution",
  constant: "constant-reply",
};

/** Stages of what the untrained model answered, by the baseline's id. */
export const baselineAnswers: Readonly<Record<string, string>> = {
  [baselineIds.demonstrations]: "answers of base with demonstrations",
  [baselineIds.constitution]: "answers of base with constitution",
};

export interface BaselineSources {
  readonly model: Stage<ModelValue>;
  readonly heldOut: Stage<StoredRows<PromptRow>>;
  /** What is learnt, where anything is. */
  readonly examples?: Stage<StoredRows<ExampleRow>> | undefined;
}

/** The baselines that a recipe asks for; where it does not say, all that it has what it takes for. */
export function baselineNames(
  { recipe, demonstrations }: Pick<OpenRecipe, "recipe" | "demonstrations">,
  { examples }: { readonly examples: boolean },
): BaselineName[] {
  const { baselines = ["demonstrations", "constitution", "constant"] } = recipe.evaluate;
  if (baselines === false) return [];
  const shown = demonstrations.length > 0;
  const possible = { demonstrations: shown, constitution: true, constant: shown || examples };
  return baselines.filter((name) => possible[name]);
}

export function baselineParts(context: PartContext, sources: BaselineSources): BaselinePart[] {
  const names = baselineNames(context, { examples: sources.examples !== undefined });
  return names.map((name) => makers[name](context, sources));
}

/** Demonstrations as a conversation: what each person said, and its revision as the reply. */
export function demonstrationTurns({ demonstrations }: Pick<OpenRecipe, "demonstrations">): Message[] {
  return demonstrations.flatMap(({ prompt, revision }): Message[] => [
    ...prompt,
    { role: "assistant", content: revision },
  ]);
}

/** The constitution as a system prompt. */
export function constitutionPrompt({ constitution }: Pick<OpenRecipe, "constitution">): string {
  const principles = constitution.principles.map((principle) => `- ${asAsked(principle)}`).join("\n");
  return `You are a helpful assistant. In every reply keep to these principles:\n${principles}`;
}

const makers: Record<BaselineName, (context: PartContext, sources: BaselineSources) => BaselinePart> = {
  demonstrations(context, sources) {
    return {
      id: baselineIds.demonstrations,
      label: "With demonstrations",
      about: "The untrained model behind the recipe's demonstrations as turns of the conversation.",
      responses: answersStage(context, sources, {
        name: baselineAnswers[baselineIds.demonstrations]!,
        title: "replies of the untrained model behind the demonstrations",
        before: demonstrationTurns(context),
      }),
    };
  },
  constitution(context, sources) {
    return {
      id: baselineIds.constitution,
      label: "With constitution",
      about: "The untrained model with the constitution's principles as its system prompt.",
      responses: answersStage(context, sources, {
        name: baselineAnswers[baselineIds.constitution]!,
        title: "replies of the untrained model under the constitution",
        system: constitutionPrompt(context),
      }),
    };
  },
  constant({ recipe, demonstrations }, { heldOut, examples }) {
    const from = demonstrations.length > 0 ? "demonstrations' commonest sentence" : "commonest reply that is learnt";
    const reply = ({ value }: StageContext) =>
      demonstrations.length > 0
        ? commonestSentence(demonstrations.map(({ revision }) => revision))!
        : (commonest([...value(examples!).rows()].map(({ completion }) => completion.trim())) ?? "");
    const inputs = demonstrations.length > 0 ? [heldOut] : [heldOut, examples!];
    const { samples } = recipe.evaluate;
    const responses = rowsStage<ResponseRow>({
      name: "answers of a constant",
      title: "one reply to every held-out prompt",
      kind: "constant-responses",
      version: 1,
      seed: recipe.seed,
      expect: (sized) => ({ ...sized(heldOut), rows: sized(heldOut).rows * samples }),
      inputs,
      settings: (context) => [reply(context), samples],
      *make(context) {
        const response = reply(context);
        for (const { id, prompt, origin, category, benign } of context.value(heldOut).rows())
          for (let sample = 0; sample < samples; sample++)
            yield {
              row: {
                id: rowId("constant response", prompt, response, sample),
                prompt,
                response,
                finishReason: "stop",
                ...(category === undefined ? {} : { category }),
                ...(benign === undefined ? {} : { benign }),
                origin: { ...origin, parents: [id] },
              },
            };
      },
    });
    const about = `The same words to everybody: the ${from}.`;
    return { id: baselineIds.constant, label: "Constant reply", about, responses, reply };
  },
};

/** Replies of the untrained model, sampled as the checkpoints' are. */
function answersStage(
  { recipe }: PartContext,
  { model, heldOut }: BaselineSources,
  part: { readonly name: string; readonly title: string } & Pick<RespondOptions, "system" | "before">,
): Stage<StoredRows<ResponseRow>> {
  const { name, title, system, before } = part;
  const { sampling, samples } = recipe.evaluate;
  const options = { sampling: { ...sampling, n: samples }, system, before, seed: recipe.seed };
  return itemStage<PromptRow, ResponseRow>({
    name,
    title,
    kind: "respond",
    version: 1,
    seed: recipe.seed,
    over: heldOut,
    models: { generator: model },
    expect: (sized) =>
      repliesTo(sized(heldOut), {
        model,
        sampling: options.sampling,
        before: lengthOf(before ?? []) + (system === undefined ? 0 : size(system) + perMessage),
      }),
    dependsOn: (row) => respondDependsOn(row, options),
    run: (rows, { generator }, call) => orAside(rows, respond(rows, { ...options, generator: generator! }, call)),
  });
}

/**
 * Sets every prompt aside that the model does not take, all of them too: what is put before the prompts may be longer than a
 * small model's context or a turn that its template refuses, and a run is not to fail at its end for a figure beside the others.
 */
export async function* orAside(
  rows: readonly PromptRow[],
  outcomes: AsyncIterable<Outcome<ResponseRow>>,
): AsyncGenerator<Outcome<ResponseRow>> {
  const open = new Set(rows.map(({ id }) => id));
  try {
    for await (const outcome of outcomes) {
      open.delete(outcome.input);
      yield outcome;
    }
  } catch (error) {
    if (!(error instanceof UsageError || refusesText(error))) throw error;
    for (const input of open) yield { input, rows: [], aside: error.message };
  }
}

/** The sentence that is there most often, the first of equally common ones; undefined of nothing. */
export function commonestSentence(texts: readonly string[]): string | undefined {
  const sentences = texts.flatMap((text) => text.replaceAll(/\s+/g, " ").match(/[^.!?]+[.!?]*/g) ?? []);
  return commonest(sentences.map((sentence) => sentence.trim()).filter((sentence) => sentence !== ""));
}
