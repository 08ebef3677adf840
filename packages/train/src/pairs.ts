import { createHash } from "node:crypto";
import {
  type Calibration,
  calibration,
  type Estimate,
  givenBefore,
  groupBy,
  mean,
  type PreferenceRow,
  pearson,
  rate,
  turned,
} from "@tenet/data";
import { unlessRefused } from "./encode.ts";
import type { TrainableModel } from "./forward.ts";
import { promptOf } from "./hold-out.ts";
import type { Item } from "./packing.ts";
import { replySequence } from "./preference-model.ts";

/** A pair as the trainer takes it. */
export interface Pair {
  readonly item: Item;
  readonly tokens: number;
  /** Tokens of both replies. */
  readonly lengths: readonly [number, number];
  /** The label's probability that A is preferred. */
  readonly p: number;
  /** Its form that is learnt. */
  readonly target: number;
  readonly weight: number;
  readonly source: string;
  /** Equal for pairs of one prompt. */
  readonly prompt: string;
  /** Of a pair that is judged by principles: the one that decides, and the same pair under their opposites. */
  readonly given?: { readonly decidedBy: string; readonly turned: Item };
}

/** What of a preference model's settings says how pairs are used. */
export interface PairSettings {
  readonly maxLength: number;
  readonly targets: "soft" | "hard";
  readonly sourceWeights: Readonly<Record<string, number>>;
}

/** Encodes pairs; those that cannot be used go to `aside` with the reason. */
export function preparePairs(
  rows: readonly PreferenceRow[],
  model: Pick<TrainableModel, "text" | "config">,
  settings: PairSettings,
  aside: { id: string; reason: string }[],
): Pair[] {
  const longest = Math.min(settings.maxLength, model.config.max_position_embeddings);
  return rows.flatMap((row): Pair[] => {
    const reject = (reason: string) => {
      aside.push({ id: row.id, reason });
      return [];
    };
    const source = sourceOf(row);
    const factor = settings.sourceWeights[source] ?? settings.sourceWeights[row.label] ?? 1;
    const weight = row.weight * factor;
    if (weight === 0) return reject("its weight is 0");
    if (row.a === row.b) return reject("both replies are the same");
    const hard = settings.targets === "hard";
    if (hard && row.p === 0.5) return reject("its label prefers neither, and targets are hard");
    const { principles = [], decidedBy } = row.given ?? {};
    const under = (shown: typeof principles) => {
      const prompt = givenBefore(row.prompt, shown);
      const sequences = [row.a, row.b].map((reply) => replySequence(model, prompt, reply, row));
      return { prompt, sequences, longest: Math.max(...sequences.map(({ tokens }) => tokens.length)) };
    };
    const encoded = unlessRefused(() => [under(principles), ...(row.given ? [under(turned(principles))] : [])]);
    if ("refused" in encoded) return reject(encoded.refused);
    const [{ prompt, sequences }, other] = encoded.value as [ReturnType<typeof under>, ReturnType<typeof under>?];
    const [a, b] = sequences.map(({ tokens }) => tokens.length) as [number, number];
    if (Math.max(a, b) > longest)
      return reject(`its replies have ${a} and ${b} tokens with the prompt, more than ${longest}`);
    if (other && other.longest > longest)
      return reject(`under the opposites of its principles it has up to ${other.longest} tokens, more than ${longest}`);
    const before = model.text.encodePrompt(prompt).length;
    const target = hard ? Math.round(row.p) : row.p;
    const lengths: Pair["lengths"] = [a - before, b - before];
    const pair = { item: { sequences }, tokens: a + b, lengths, p: row.p, target, weight, source };
    const given = other && { decidedBy: decidedBy!, turned: { sequences: other.sequences } };
    return [{ ...pair, prompt: promptOf(row), ...(given && { given }) }];
  });
}

/** SHA-256 of what pairs are to training. */
export function digestOf(pairs: readonly Pair[]): string {
  const digest = createHash("sha256");
  for (const { item, p, target, weight } of pairs)
    digest.update(JSON.stringify([item.sequences.map(({ tokens }) => tokens), p, target, weight]));
  return digest.digest("hex");
}

/** The file or dataset that a pair comes from, without its place there; else the kind of its label. */
function sourceOf({ origin, label }: PreferenceRow): string {
  return origin.source?.replace(/:\d+$|#[\d,]+$/, "") ?? label;
}

/** How a preference model does on held-out pairs. */
export interface PreferenceEvaluation {
  /**
   * Share of pairs whose preferred reply has the higher score; pairs at p = ½ are left out, equal scores are not right. The 95 %
   * interval takes pairs of one prompt together.
   */
  readonly accuracy: Estimate;
  readonly bySource: Readonly<Record<string, Estimate>>;
  /** Stated probabilities σ(Δ) against the labels' p, each pair in both orders. */
  readonly calibration: Calibration;
  /** Mean loss, nats. */
  readonly loss: number;
  /** Pearson's correlation of score with length of the reply in tokens: what the model may pay for length alone. */
  readonly lengthCorrelation: number;
  /** Of a model that is shown principles, over pairs that have some. */
  readonly given?: {
    /** Accuracy by the principle that decides. */
    readonly byPrinciple: Readonly<Record<string, Estimate>>;
    /**
     * The flip test: share of pairs that the model judges as it is told both times, under the principles and under their opposites. One
     * that does not read them is right in none: what it says of a pair is right under one of the two alone.
     */
    readonly flip: Estimate;
  };
}

/**
 * How raw scores [pairs][A, B] fit the labels.
 * @param turnedScores of the pairs that have principles, in their order, under the opposites of these
 */
export function evaluationOf(
  pairs: readonly Pair[],
  scores: readonly (readonly number[])[],
  turnedScores: readonly (readonly number[])[] = [],
): PreferenceEvaluation {
  const judged = pairs.map((pair, i) => {
    const difference = scores[i]![0]! - scores[i]![1]!;
    return { ...pair, difference, right: difference !== 0 && difference > 0 === pair.p > 0.5 };
  });
  const accuracyOf = (some: typeof judged) => {
    const decided = some.filter(({ p }) => p !== 0.5);
    return rate(decided.map(({ prompt, right }) => ({ cluster: prompt, yes: right })));
  };
  let place = 0;
  const given = judged.flatMap((pair) => {
    if (!pair.given) return [];
    const other = turnedScores[place++]!;
    return [{ ...pair, flips: pair.right && (other[0]! - other[1]!) * Math.sign(pair.p - 0.5) < 0 }];
  });
  const flipped = given.filter(({ p }) => p !== 0.5);
  const principles = groupBy(given, (pair) => pair.given!.decidedBy);
  const sources = [...groupBy(judged, ({ source }) => source)].map(([source, some]) => [source, accuracyOf(some)]);
  const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));
  // ln(1 + e^x), stable on both sides.
  const softplus = (x: number) => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
  return {
    accuracy: accuracyOf(judged),
    bySource: Object.fromEntries(sources),
    // Which reply of a pair is A says nothing; in many files it is always the preferred one.
    calibration: calibration(
      judged.flatMap(({ difference, p }) => [
        { p: sigmoid(difference), outcome: p },
        { p: sigmoid(-difference), outcome: 1 - p },
      ]),
    ),
    loss: mean(judged.map(({ difference, p }) => p * softplus(-difference) + (1 - p) * softplus(difference))),
    lengthCorrelation: pearson(
      scores.flat(),
      pairs.flatMap(({ lengths }) => [...lengths]),
    ),
    ...(given.length > 0 && {
      given: {
        byPrinciple: Object.fromEntries([...principles].map(([id, some]) => [id, accuracyOf(some)])),
        flip: rate(flipped.map(({ prompt, flips }) => ({ cluster: prompt, yes: flips }))),
      },
    }),
  };
}
