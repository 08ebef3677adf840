import { type GivenPrinciple, givenBefore, groupBy, type ResponseRow } from "@tenet/data";
import { type Message, refusesText } from "@tenet/lm";
import { openPreferenceModel, type TrainableModel } from "@tenet/train";
import { promptKey } from "../../evaluate/index.ts";
import type { StageContext } from "../stages/index.ts";
import { type ModelValue, preferenceSource } from "../values.ts";

/** Replies scored between two messages of progress. */
const repliesAtOnce = 64;

/** What a preference model or a cost model says of each checkpoint's replies, by row id. */
export async function replyScores(
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
  const prompted = (row: ResponseRow) => givenBefore(row.prompt, shown(row));
  // A constant reply is there also to prompts that the model's template refuses; it has no score then.
  const taken = replies.map((rows, checkpoint) =>
    rows.filter((row) => takesPrompt(base, prompted(row))).map((row) => ({ row, checkpoint })),
  );
  const total = taken.reduce((sum, rows) => sum + rows.length, 0);
  // Behind a prompt that is computed once stands what every checkpoint said to it.
  const groups = options.shareBeginnings
    ? [[...groupBy(taken.flat(), ({ row }) => promptKey(row)).values()].flat()]
    : taken;
  const model = await openPreferenceModel(base, adapter, options);
  try {
    const scored = replies.map(() => new Map<string, number>());
    let done = 0;
    for (const group of groups)
      for (let start = 0; start < group.length; start += repliesAtOnce) {
        const some = group.slice(start, start + repliesAtOnce);
        const rows = some.map(({ row }) => ({
          ...{ prompt: prompted(row), response: row.response },
          cut: row.finishReason === "length",
        }));
        const scores = await model.score(rows, { signal });
        for (const [i, { row, checkpoint }] of some.entries()) scored[checkpoint]!.set(row.id, scores[i]!);
        done += some.length;
        emit({ type: "progress", stage: "scorecard", done, total, unit: "replies" });
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
