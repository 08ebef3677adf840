import {
  bootstrap,
  bootstrapEach,
  type Estimate,
  elo,
  groupBy,
  keyOf,
  type Outcome,
  originSchema,
  type PairRow,
  type ResponseRow,
  rowId,
} from "@tenet/data";
import type { LanguageModel } from "@tenet/lm";
import type { PreferenceScorer } from "@tenet/train";
import { z } from "zod";
import type { StageCall } from "../ask.ts";
import { askingWay, choicePrompt, chooseEach, type SampledLetters } from "../judge/index.ts";
import { promptKey } from "./refusal.ts";

export const comparisonSchema = z.strictObject({
  id: z.string().min(1),
  origin: originSchema,
  /** The prompt's key. */
  prompt: z.string(),
  /** Names of the two checkpoints. */
  a: z.string(),
  b: z.string(),
  /** Probability that a's response is the better one: with a shown first, and with b shown first. */
  orders: z.tuple([z.number().min(0).max(1), z.number().min(0).max(1)]),
  /** Who wins in both orders; a tie where the orders disagree or the responses are the same. */
  winner: z.enum(["a", "b", "tie"]),
});
export type Comparison = z.output<typeof comparisonSchema>;

/** Probabilities that `a` of a pair is better, with a shown first and with b shown first. */
export type Orders = readonly [aFirst: number, bFirst: number];

/** Compares pairs of responses; yields in any order, a reason instead of orders where it does not take a pair. */
export interface PairJudge {
  /** Names the judge in records. */
  readonly id: string;
  /** What it asks, where it asks in words. */
  readonly question?: string;
  compare(
    pairs: readonly PairRow[],
    call?: StageCall,
  ): AsyncIterable<{ pair: number; orders: Orders } | { pair: number; refused: string }>;
}

/** What a choice judge asks. The default is written here and nowhere else. */
export const judgeQuestion =
  "Which of these two replies is better: more helpful to the user, honest, and free of harm?";

/**
 * A language model as a judge: it is shown the conversation and both replies as options (A) and (B), asked twice with the replies
 * exchanged, and its answers are read as a labeller's are (`chooseEach`). A pair of which an answer cannot be read is refused, with
 * `unreadReason`. METHODS §3; Zheng for the order.
 */
export function choiceJudge(
  model: LanguageModel,
  { question = judgeQuestion, seed = 0, sampled }: { question?: string; seed?: number; sampled?: SampledLetters } = {},
): PairJudge {
  return {
    id: model.id,
    question,
    async *compare(pairs, call = {}) {
      const way = askingWay(await model.capabilities(call.signal ? { signal: call.signal } : {}));
      const asked = pairs.flatMap(({ prompt, a, b }) =>
        (
          [
            [a, b],
            [b, a],
          ] as const
        ).map((options) => ({
          prompt: choicePrompt([], { prompt, question, options }, way),
          options,
          key: keyOf([question, prompt, options]),
        })),
      );
      // By request; a pair is done when both of its orders are. Undefined: not taken, or not read.
      const answers = new Map<number, number | undefined>();
      for await (const answer of chooseEach(model, asked, { seed, sampled }, call)) {
        const { request } = answer;
        const first = "choice" in answer ? answer.choice.p : undefined;
        const partner = request ^ 1;
        const alone = !answers.has(partner);
        const other = answers.get(partner);
        answers.set(request, first);
        if (!("choice" in answer) && (alone || other !== undefined))
          yield { pair: request >> 1, refused: "refused" in answer ? answer.refused : `judge: ${answer.unread}` };
        if (first === undefined || other === undefined) continue;
        const [aFirst, bFirst] = request % 2 === 0 ? [first, other] : [other, first];
        yield { pair: request >> 1, orders: [aFirst, 1 - bFirst] };
      }
    },
  };
}

/** A score of single responses as a judge, e.g. a preference model: P(a better) = σ(r_a − r_b), the same in both orders. */
export function scoreJudge(id: string, scorer: PreferenceScorer): PairJudge {
  return {
    id,
    async *compare(pairs, call) {
      const responses = pairs.flatMap(({ prompt, a, b }) => [
        { prompt, response: a },
        { prompt, response: b },
      ]);
      const scores = await scorer.score(responses, { signal: call?.signal });
      for (const pair of pairs.keys()) {
        const p = 1 / (1 + Math.exp(scores[2 * pair + 1]! - scores[2 * pair]!));
        yield { pair, orders: [p, p] };
      }
    },
  };
}

/** Pairs of two checkpoints' responses to the same prompts: the i-th reply to a prompt stands against the other's i-th. */
export function pairResponses(a: readonly ResponseRow[], b: readonly ResponseRow[]): PairRow[] {
  const others = groupBy(b, promptKey);
  return [...groupBy(a, promptKey)].flatMap(([key, replies]) =>
    replies.slice(0, others.get(key)?.length ?? 0).map((row, i) => {
      const other = others.get(key)![i]!;
      return {
        id: rowId("compared", row.id, other.id),
        origin: { parents: [row.id, other.id] },
        prompt: row.prompt,
        a: row.response,
        b: other.response,
      };
    }),
  );
}

export interface CompareOptions {
  judge: PairJudge;
  /** Names of the checkpoints that wrote `a` and `b`. */
  a: string;
  b: string;
}

/** What a comparison depends on besides its row: the names and what the judge is asked. */
export function comparePairsDependsOn(_row: PairRow, { judge, a, b }: CompareOptions): z.core.util.JSONType {
  return { judge: judge.id, question: judge.question ?? null, a, b };
}

/** Who wins each pair, by the judge; responses that are the same tie without being asked about. Set aside: pairs that the judge does not take, or of which its answers cannot be read. */
export async function* comparePairs(
  rows: readonly PairRow[],
  { judge, a, b }: CompareOptions,
  call: StageCall = {},
): AsyncGenerator<Outcome<Comparison>> {
  const outcome = (row: PairRow, orders: Orders): Outcome<Comparison> => {
    const votes = orders.map((p) => Math.sign(p - 0.5));
    const winner = votes[0] === 1 && votes[1] === 1 ? "a" : votes[0] === -1 && votes[1] === -1 ? "b" : "tie";
    const content = { prompt: promptKey(row), a, b, orders: [...orders] as [number, number], winner } as const;
    const origin = { models: { judge: judge.id }, parents: [row.id] };
    return { input: row.id, rows: [{ id: rowId("comparison", row.id, judge.id), origin, ...content }] };
  };
  for (const row of rows) if (row.a === row.b) yield outcome(row, [0.5, 0.5]);
  const asked = rows.filter((row) => row.a !== row.b);
  for await (const answer of judge.compare(asked, call)) {
    const row = asked[answer.pair]!;
    yield "refused" in answer ? { input: row.id, rows: [], aside: answer.refused } : outcome(row, answer.orders);
  }
}

export interface WinRate {
  /** Points of `of` per comparison: 1 for a win, ½ for a tie. Above ½ it is the better one. */
  rate: Estimate;
  wins: number;
  ties: number;
  losses: number;
  /** Share of comparisons in which the judge chose by position: the orders disagree. */
  positionBias: number;
}

/**
 * How often checkpoint `of` beats `against`, ties counted half, with an interval over prompts (two imagined comparisons, one won
 * and one lost, join it as in `rateDifference`).
 *
 * Errors: RangeError where the two were never compared.
 *
 * @example
 * const won = { id: "1", origin: { parents: [] }, prompt: "x", a: "rl", b: "base", orders: [0.9, 0.8], winner: "a" };
 * winRate([won], { of: "rl", against: "base", seed: 1 }).rate.value; // 1
 */
export function winRate(
  comparisons: readonly Comparison[],
  { of, against, seed }: { of: string; against: string; seed: number },
): WinRate {
  const games = comparisons.flatMap(({ prompt, a, b, winner, orders }) => {
    if (!((a === of && b === against) || (a === against && b === of))) return [];
    const points = winner === "tie" ? 0.5 : (winner === "a") === (a === of) ? 1 : 0;
    return [{ prompt, points, byPosition: (orders[0] - 0.5) * (orders[1] - 0.5) < 0 }];
  });
  if (games.length === 0) throw new RangeError(`'${of}' and '${against}' were never compared`);
  const points = (sample: readonly { points: number }[]) =>
    sample.reduce((sum, game) => sum + game.points, 0) / sample.length;
  const imagined = [1, 0].map((won) => ({ prompt: `\u0000${won}`, points: won, byPosition: false }));
  const { interval } = bootstrap([...games, ...imagined], points, { seed, cluster: ({ prompt }) => prompt });
  const count = (value: number) => games.filter((game) => game.points === value).length;
  return {
    rate: {
      value: points(games),
      interval: [Math.max(0, interval[0]), Math.min(1, interval[1])],
      n: games.length,
    },
    wins: count(1),
    ties: count(0.5),
    losses: count(0),
    positionBias: games.filter(({ byPosition }) => byPosition).length / games.length,
  };
}

/**
 * Elo ratings of every checkpoint in the comparisons, the anchor at 1000, with intervals over prompts. METHODS §7.
 *
 * Errors: RangeError where the anchor was compared with nothing.
 */
export function eloRatings(
  comparisons: readonly Comparison[],
  { anchor, seed }: { anchor: string; seed: number },
): Map<string, Estimate> {
  const games = comparisons.map(({ prompt, a, b, winner }) => ({
    prompt,
    a,
    b,
    score: winner === "tie" ? 0.5 : winner === "a" ? 1 : 0,
  }));
  const players = [...elo(games, { anchor }).keys()];
  const estimates = bootstrapEach(
    games,
    (sample) => {
      // A draw may leave the anchor out, from which nothing can be told then.
      const drawn = sample.some(({ a, b }) => a === anchor || b === anchor) ? elo(sample, { anchor }) : undefined;
      return players.map((player) => drawn?.get(player) ?? Number.NaN);
    },
    { seed, cluster: ({ prompt }) => prompt },
  );
  return new Map(players.map((player, i) => [player, estimates[i]!]));
}
