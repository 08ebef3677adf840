import { keyOf } from "@tenet/data";
import type { LanguageModel, Message } from "@tenet/lm";
import type { StageCall } from "../ask.ts";
import { chooseEach, type SampledLetters } from "./choose.ts";
import { askingWay, choicePrompt, type Question } from "./question.ts";

/** Whether a reply breaks a principle. */
export interface VerdictAsked {
  readonly prompt: readonly Message[];
  readonly response: string;
  /** Text of the principle. */
  readonly principle: string;
}

export type VerdictAnswer = { readonly request: number } & (
  | {
      /** P(yes, it breaks the principle): the mean over both orders of the options. */
      readonly breaks: number;
    }
  | { readonly unread: string }
  | { readonly refused: string }
);

/**
 * What a critic says of replies: does each break its principle, yes or no, asked in both orders and read as every question is
 * (`chooseEach`). Equal questions are asked once. Conversation and reply come first and the principle last, so that an engine computes
 * once what the questions about a reply share. An answer that cannot be read in either order is no verdict.
 *
 * Errors: those of `LanguageModel`.
 */
export async function* verdicts(
  critic: LanguageModel,
  asked: readonly VerdictAsked[],
  asking: { readonly seed: number; readonly sampled?: SampledLetters | undefined },
  call: StageCall = {},
): AsyncGenerator<VerdictAnswer> {
  if (asked.length === 0) return;
  const way = askingWay(await critic.capabilities(call.signal ? { signal: call.signal } : {}));
  const places = new Map<string, { yes: 0 | 1; question: Question; of: number[] }>();
  for (const [i, one] of asked.entries())
    for (const yes of [0, 1] as const) {
      const question = verdictQuestion(one, yes);
      const key = keyOf({ question, yes });
      const place = places.get(key);
      if (place) place.of.push(i);
      else places.set(key, { yes, question, of: [i] });
    }
  const keys = [...places.keys()];
  const questions = [...places.values()].map(({ question }, i) => ({
    prompt: choicePrompt([], question, way),
    options: question.options,
    key: keys[i]!,
  }));
  const heard = asked.map((): (number | { refused: string } | { unread: string } | undefined)[] => [
    undefined,
    undefined,
  ]);
  for await (const answer of chooseEach(critic, questions, asking, call)) {
    const { yes, of } = places.get(keys[answer.request]!)!;
    const said =
      "choice" in answer
        ? yes === 0
          ? answer.choice.p
          : 1 - answer.choice.p
        : "refused" in answer
          ? { refused: answer.refused }
          : { unread: answer.unread };
    for (const request of of) {
      heard[request]![yes] = said;
      const [first, second] = heard[request]!;
      if (first === undefined || second === undefined) continue;
      if (typeof first === "object") yield { request, ...first };
      else if (typeof second === "object") yield { request, ...second };
      else yield { request, breaks: (first + second) / 2 };
    }
  }
}

/** The question whether a reply breaks a principle; `yes`: which of the two options says so. */
export function verdictQuestion({ prompt, response, principle }: VerdictAsked, yes: 0 | 1): Question {
  return {
    prompt: [...prompt, { role: "assistant" as const, content: response }],
    question: `The principle is: ${principle}\nDoes the assistant's last response break this principle?`,
    options: yes === 0 ? (["Yes.", "No."] as const) : (["No.", "Yes."] as const),
  };
}
