import { type JsonValue, type Outcome, type PromptRow, plainJson, type ResponseRow, rowId } from "@tenet/data";
import { type LanguageModel, type Message, type SamplingInput, whyEmpty } from "@tenet/lm";
import { generateEach, type StageCall } from "../ask.ts";

export interface RespondOptions {
  readonly generator: LanguageModel;
  /** Its `n` is the number of responses per prompt; its `seed` is the one below. */
  readonly sampling?: Omit<SamplingInput, "seed">;
  /** System prompt of the generator; prompts that bring their own keep it. It is not part of the row. */
  readonly system?: string | undefined;
  /** Turns before each prompt, behind its system prompt; not part of the row either. */
  readonly before?: readonly Message[] | undefined;
  readonly seed: number;
}

/** What the outcome of a prompt depends on besides the prompt, the generator and the seed. */
export function respondDependsOn(
  _row: PromptRow,
  { sampling, system, before }: Pick<RespondOptions, "sampling" | "system" | "before">,
): JsonValue {
  return plainJson({ sampling, system, before });
}

/**
 * First responses to prompts: y⁰ ~ π(·|x). METHODS §2.
 *
 * Yields one outcome per prompt in order of completion. An empty or withheld reply gives no row; `aside` says so, also when
 * other samples of the prompt are there. Errors: those of `LanguageModel.generate`.
 *
 * @example
 * const generator = scriptedModel({ fallback: "Rest, and see a doctor." });
 * const prompt = { id: "1", prompt: [{ role: "user", content: "My knee hurts." }], origin: { parents: [] } };
 * for await (const { rows } of respond([prompt], { generator, seed: 7 })) console.log(rows[0].response);
 */
export async function* respond(
  rows: readonly PromptRow[],
  { generator, sampling, system, before = [], seed }: RespondOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<ResponseRow>> {
  const requests = rows.map(({ id, prompt }) => ({
    prompt: behind(before, withSystem(prompt, system)),
    sampling: { ...sampling, seed },
    key: `respond:${id}`,
  }));
  for await (const answer of generateEach(generator, requests, call)) {
    const { id, prompt, origin, category, benign } = rows[answer.request]!;
    if ("refused" in answer) {
      yield { input: id, rows: [], aside: answer.refused };
      continue;
    }
    const faults: string[] = [];
    const responses: ResponseRow[] = [];
    for (const completion of answer.value) {
      const { text, finishReason, index } = completion;
      const response = text.trim();
      if (finishReason === "filtered") faults.push(`reply ${index} was withheld by the service`);
      else if (response === "") faults.push(`reply ${index} is ${whyEmpty(completion)}`);
      else
        responses.push({
          id: rowId("response", prompt, response, index),
          prompt,
          response,
          ...(completion.thoughts ? { reasoning: completion.thoughts } : {}),
          finishReason: finishReason === "length" ? "length" : "stop",
          ...(category === undefined ? {} : { category }),
          ...(benign === undefined ? {} : { benign }),
          origin: { ...origin, models: { generator: generator.id }, seed, parents: [id] },
        });
    }
    yield { input: id, rows: responses, ...(faults.length > 0 ? { aside: faults.join("; ") } : {}) };
  }
}

function behind(before: readonly Message[], prompt: readonly Message[]): Message[] {
  const own = prompt[0]?.role === "system" ? 1 : 0;
  return [...prompt.slice(0, own), ...before, ...prompt.slice(own)];
}

/** A conversation behind a system prompt, unless it has one. */
export function withSystem(prompt: readonly Message[], system: string | undefined): Message[] {
  return system === undefined || prompt[0]?.role === "system"
    ? [...prompt]
    : [{ role: "system", content: system }, ...prompt];
}
