import { type ChoiceRow, type Estimate, type Outcome, originSchema, rate, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import { z } from "zod";
import { type StageCall, scoreEach } from "../ask.ts";

export const choiceAnswerSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  item: z.string(),
  /** ln P(option | prompt), in the order of the options. */
  logprobs: z.array(z.number()),
  chosen: z.int().min(0),
  correct: z.boolean(),
});
export type ChoiceAnswer = z.output<typeof choiceAnswerSchema>;

export interface ChoiceOptions {
  model: LanguageModel;
  /** Compare options by their whole log-probability. Otherwise it is divided by the option's characters, so that long ones are not at a loss. */
  unnormalised?: boolean;
}

/** What an answer depends on besides its item and the model. */
export function answerChoicesDependsOn(_item: ChoiceRow, { unnormalised }: ChoiceOptions): z.core.util.JSONType {
  return { unnormalised: unnormalised === true };
}

/**
 * Which option of each question a model finds likeliest as the assistant's reply; equal ones go to the first.
 *
 * Set aside: items whose answer is none of their options, or that the model does not take. Errors: CapabilityError where the model cannot score replies.
 */
export async function* answerChoices(
  items: readonly ChoiceRow[],
  { model, unnormalised }: ChoiceOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<ChoiceAnswer>> {
  const usable: ChoiceRow[] = [];
  for (const item of items)
    if (item.answer < item.options.length) usable.push(item);
    else
      yield {
        input: item.id,
        rows: [],
        aside: `the answer is option ${item.answer}, counted from 0, but there are ${item.options.length}`,
      };
  const requests = usable.map(({ prompt, options }) => ({ prompt, continuations: options }));
  for await (const answer of scoreEach(model, requests, call)) {
    const item = usable[answer.request]!;
    if ("refused" in answer) {
      yield { input: item.id, rows: [], aside: answer.refused };
      continue;
    }
    const logprobs = answer.value.map(({ logprob }) => logprob);
    const values = logprobs.map((logprob, i) => (unnormalised ? logprob : logprob / item.options[i]!.length));
    const chosen = values.indexOf(Math.max(...values));
    const content = { item: item.id, logprobs, chosen, correct: chosen === item.answer };
    const origin = { models: { scored: model.id }, parents: [item.id] };
    yield { input: item.id, rows: [{ id: rowId("choice", model.id, content), origin, ...content }] };
  }
}

/** Share of right answers with its interval. */
export function choiceAccuracy(answers: readonly ChoiceAnswer[]): Estimate {
  return rate(answers.map(({ item, correct }) => ({ cluster: item, yes: correct })));
}
