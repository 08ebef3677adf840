import { rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { Memo } from "../ask.ts";
import { expectedRatings } from "../judge/index.ts";
import { AskedOnce } from "./asked-once.ts";
import type { Reply } from "./critic.ts";

/** Asks a model for the expected rating of replies, in [−1, 1], each distinct one once. Source: d-RLAIF (2309.00267), §2.2.2. */
export function raterOf({
  rater,
  identity,
  question,
  memo,
  local,
}: {
  readonly rater: LanguageModel;
  /** What tells this model from another. */
  readonly identity: string;
  readonly question: string;
  readonly memo?: Memo | undefined;
  readonly local: boolean;
}): AskedOnce<Reply> {
  return new AskedOnce<Reply>({
    keyOf: ({ prompt, response }) => ["rating", 1, identity, question, prompt, response],
    async *ask(replies, call) {
      const rated = replies.map(({ prompt, response }) => ({ prompt, response, question }));
      for await (const answer of expectedRatings(rater, rated, call)) {
        const { request } = answer;
        if ("score" in answer) yield { request, value: answer.score };
        else yield { request, unanswered: "unread" in answer ? answer.unread : answer.refused };
      }
    },
    rowOf: ({ prompt, response }, score) => ({
      id: rowId("rating", [...prompt], response, score),
      origin: { models: { rater: rater.id }, parents: [] },
      ...{ prompt, response, score },
    }),
    numberOf: (row) => (row as typeof row & { score: number }).score,
    memo,
    together: local,
  });
}
