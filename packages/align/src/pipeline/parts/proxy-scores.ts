import { type GivenPrinciple, givenBefore, type ResponseRow } from "@tenet/data";
import { type Message, refusesText } from "@tenet/lm";
import { openPreferenceModel, type TrainableModel } from "@tenet/train";
import type { StageContext } from "../stages/index.ts";
import { type ModelValue, preferenceSource } from "../values.ts";

/** Replies scored between two messages of progress. */
const repliesAtOnce = 64;

/** What the preference model says of each checkpoint's replies, by row id. */
export async function proxyScores(
  { models, signal, emit }: StageContext,
  value: ModelValue,
  replies: readonly (readonly ResponseRow[])[],
  {
    shown = () => [],
    ...options
  }: Parameters<typeof openPreferenceModel>[2] & {
    /** Principles that the model is shown beside a reply. */
    readonly shown?: ((row: ResponseRow) => readonly GivenPrinciple[]) | undefined;
  },
): Promise<ReadonlyMap<string, number>[]> {
  const { reference, adapter } = preferenceSource(value);
  const base = await models.trainable(reference);
  // A constant reply is there also to prompts that the model's template refuses; it has no score then.
  const taken = replies.map((rows) => rows.filter((row) => takesPrompt(base, givenBefore(row.prompt, shown(row)))));
  const model = await openPreferenceModel(base, adapter, options);
  try {
    const total = taken.reduce((sum, rows) => sum + rows.length, 0);
    let done = 0;
    const scored: ReadonlyMap<string, number>[] = [];
    for (const rows of taken) {
      const scores: number[] = [];
      for (let start = 0; start < rows.length; start += repliesAtOnce) {
        scores.push(
          ...(await model.score(
            rows.slice(start, start + repliesAtOnce).map((row) => ({
              ...{ prompt: givenBefore(row.prompt, shown(row)), response: row.response },
              cut: row.finishReason === "length",
            })),
            { signal },
          )),
        );
        emit({ type: "progress", stage: "scorecard", done: done + scores.length, total, unit: "replies" });
      }
      done += rows.length;
      scored.push(new Map(rows.map(({ id }, i) => [id, scores[i]!])));
    }
    return scored;
  } finally {
    await model.close();
  }
}

function takesPrompt(base: Pick<TrainableModel, "text">, prompt: readonly Message[]): boolean {
  try {
    base.text.encodePrompt([...prompt]);
    return true;
  } catch (error) {
    if (refusesText(error)) return false;
    throw error;
  }
}
