import { keyOf, rowId } from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { JudgeTerm } from "@tenet/train";
import type { Memo, StageCall } from "../ask.ts";
import { type Constitution, drawnFrom, drawPrinciples, type Principle } from "../constitution/index.ts";
import {
  expectedRatings,
  generalRubric,
  type JudgeAsking,
  judgeAskingSchema,
  type Rubric,
  rubricOf,
  scoreByJudge,
} from "../judge/index.ts";
import { AskedOnce, type Batch, type Said } from "./asked-once.ts";
import type { Reply } from "./critic.ts";

/** Who rates, and what tells this model from another. */
export interface RaterOptions {
  readonly rater: LanguageModel;
  readonly identity: string;
  readonly memo?: Memo | undefined;
  /** Whether it runs here: see `AskedOnceOptions.together`. */
  readonly local: boolean;
}

/** Asks a model for the expected rating of replies, in [−1, 1], each distinct one once. Source: d-RLAIF (2309.00267), §2.2.2. */
export function raterOf({
  rater,
  identity,
  question,
  memo,
  local,
}: RaterOptions & { readonly question: string }): AskedOnce<Reply> {
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

/** How replies are rated in a judge's own format, and by what. */
export interface JudgedRatingOptions extends Pick<JudgeTerm, "asking" | "principles"> {
  readonly constitution: Constitution;
  readonly seed: number;
}

/** A reply and what it is rated by. */
interface Criterion {
  readonly reply: Reply;
  readonly rubric: Rubric;
  /** Its id, where the rubric is a principle's. */
  readonly principle?: string;
}

/** Rates replies, in [−1, 1]: of each the mean over what it is rated by, or why there is none. */
export type JudgedRater = (replies: readonly Reply[], batch: Batch, call?: StageCall) => Promise<Said[]>;

/**
 * A judge that rates replies in its own format (`scoreByJudge`), in general or by principles, each distinct question once. By the expected
 * rating where no format is named.
 *
 * A reply without a readable verdict on each of its principles has no rating. Errors: those of `scoreByJudge`.
 */
export function judgedRater(
  { rater, identity, memo, local }: RaterOptions,
  { asking, principles, constitution, seed }: JudgedRatingOptions,
): JudgedRater {
  const way: JudgeAsking & { readonly seed: number } = {
    ...(asking ?? judgeAskingSchema.parse({ format: "d-rlaif" })),
    seed,
  };
  const once = new AskedOnce<Criterion>({
    keyOf: ({ reply: { prompt, response }, rubric }) => ["judged rating", 1, identity, way, rubric, prompt, response],
    async *ask(questions, call) {
      const cases = questions.map(({ reply: { prompt, response }, rubric }) => {
        const shown = { prompt, responses: [response] as const, rubric };
        return { shown, key: keyOf(shown) };
      });
      for await (const answer of scoreByJudge(rater, cases, way, call)) {
        const { request } = answer;
        if ("score" in answer) yield { request, value: answer.score, beside: { said: answer.said } };
        else yield { request, unanswered: "unread" in answer ? answer.unread : answer.refused };
      }
    },
    rowOf: ({ reply: { prompt, response }, principle, rubric: { criterion } }, score, beside) => ({
      id: rowId("judged rating", [...prompt], response, criterion, score),
      origin: { models: { rater: rater.id }, ...(principle !== undefined && { principles: [principle] }), parents: [] },
      ...{ prompt, response, criterion, score, ...beside },
    }),
    numberOf: (row) => (row as typeof row & { score: number }).score,
    memo,
    together: local,
  });
  return async (replies, batch, call = {}) => {
    const asked = replies.map((reply) =>
      criteriaOf(reply, { principles, constitution, seed }, batch).map((criterion) => ({ reply, ...criterion })),
    );
    const answers = await once.answers(asked.flat(), batch, call);
    return asked.map(({ length }) => meanOf(answers.splice(0, length)));
  };
}

/** What a reply is rated by: named principles, some drawn for its prompt and round, or quality in general. */
function criteriaOf(
  { id }: Reply,
  { principles, constitution, seed }: Omit<JudgedRatingOptions, "asking">,
  { round }: Batch,
): Omit<Criterion, "reply">[] {
  if (principles === undefined) return [{ rubric: generalRubric }];
  const by = (some: readonly Principle[]) =>
    some.map((principle) => ({ rubric: rubricOf(principle), principle: principle.id }));
  if (typeof principles !== "number") return by(constitution.principles.filter((one) => principles.includes(one.id)));
  // Looks at the model compare it with what it was: by the same principles.
  const item = JSON.stringify([id, Math.max(-1, round)]);
  // None counts twice; where there is none to draw from, drawing says so.
  const count = Math.min(principles, Math.max(1, drawnFrom(constitution, "preference").length));
  return by(drawPrinciples(constitution, { seed, stage: "reward judge", item, count, use: "preference" }));
}

/** The mean of what was said; where something was not, why. */
function meanOf(said: readonly Said[]): Said {
  let sum = 0;
  for (const one of said) {
    if (typeof one === "object") return one;
    sum += one;
  }
  return sum / said.length;
}
