import {
  bootstrap,
  type Calibration,
  calibration,
  countWords,
  type Estimate,
  type Forecast,
  groupBy,
  mean,
  type PairRow,
  type PreferenceRow,
  pairContent,
  pearson,
  pointsRate,
  randomStream,
  rowId,
} from "@tenet/data";
import { z } from "zod";
import { accuracyGate, type Gate, gateFields } from "../evaluate/gate.ts";
import { promptKey } from "../evaluate/refusal.ts";
import { type Reading, readingsOf } from "./labelled-pair.ts";
import { pairKey } from "./pair-key.ts";

/** How a labeller is judged. The defaults are written here only. */
export const auditSettingsSchema = z.strictObject({
  ...gateFields,
  flips: z
    .number()
    .min(0)
    .max(0.5)
    .default(0.1)
    .describe("Share of the known answers that are exchanged, to see whether the labels' probabilities find them."),
});
export type AuditSettings = z.output<typeof auditSettingsSchema>;

export interface Audit {
  /** Known pairs of which the labeller said something; those that checks settled before it was asked; and those without a label. */
  readonly labelled: number;
  readonly settled: number;
  readonly unlabelled: number;
  /** Share of readings that are of sampled letters and not of log-probabilities, which is coarser. */
  readonly sampledLetters: Estimate;
  /** Share of labels on the known side; p = ½ counts half. Pairs of one prompt count together (`rate`), here and in all that follows. */
  readonly accuracy: Estimate;
  /** Of questions asked in both orders: those whose answer names the same response both times. */
  readonly swapConsistency: Estimate;
  /** Of the same questions: those whose answer follows the position, split by which position it prefers. */
  readonly positionBias: { readonly share: Estimate; readonly first: Estimate; readonly second: Estimate };
  /** Per principle: share of its answers on the known side. */
  readonly principles: ReadonlyMap<string, Estimate>;
  /** Of p as the probability of the known answer. The Brier score's interval is the bootstrap's; of no labels both figures are NaN. */
  readonly calibration: Pick<Calibration, "ece" | "bins"> & { readonly brier: Estimate };
  readonly lengthBias: {
    /** Of pairs of unequal length in words: those in which the label prefers the longer response. */
    readonly longerPreferred: Estimate;
    /** Those in which the longer one is the known answer. */
    readonly longerRight: Estimate;
    /** Pearson's correlation of p − answer with the difference in words: what length adds beyond the truth. NaN where a side does not vary. */
    readonly correlation: number;
  };
  /**
   * Known answers that were exchanged, and how well the labels' probabilities rank them: the probability that a label
   * contradicts an exchanged answer more than one that was not (area under the ROC curve, ties counting half; ½ by chance). How
   * many a label contradicts outright would be accuracy again. NaN of n = 0 where nothing was exchanged, or everything.
   */
  readonly flips: { readonly planted: number; readonly ranked: Estimate };
  readonly gate: Gate;
}

/**
 * The pairs to label for an audit: those of preferences with a known answer, in an order drawn by (seed, content), so that a
 * labeller that always says (A) is not right by the order in which somebody wrote them down.
 */
export function auditPairs(known: readonly PreferenceRow[], { seed }: { readonly seed: number }): PairRow[] {
  return known.flatMap(({ id, prompt, a, b, p, category, origin }): PairRow[] => {
    if (p === 0.5) return [];
    const { uniform } = randomStream({ seed, stage: "audit-order", item: pairKey({ prompt, a, b }) });
    const [first, second] = uniform(0) < 0.5 === a < b ? [a, b] : [b, a];
    return [
      {
        id: rowId("pair", prompt, first, second),
        ...pairContent({ prompt, a: first, b: second, category }),
        origin: { ...origin, seed, parents: [id] },
      },
    ];
  });
}

/**
 * What labels are worth, on pairs whose answer is known. METHODS §3.
 *
 * `known` holds the answers as p (above or below ½), `labels` the rows for the same pairs in either order, as `labelPairs` makes them of
 * `auditPairs`. Judged is what the labeller said, and not what a check decided or added (`constitutionFirst`): labels are asked of it where no check
 * decides. The gate passes when the lower end of the accuracy's interval is above `chance`.
 */
export function auditLabels(
  known: readonly PreferenceRow[],
  labels: readonly PreferenceRow[],
  { seed, ...rest }: z.input<typeof auditSettingsSchema> & { readonly seed: number },
): Audit {
  const settings = auditSettingsSchema.parse(rest);
  const byContent = new Map(labels.map((label) => [pairKey(label), label]));
  const judged: Judged[] = [];
  let [unlabelled, settled] = [0, 0];
  for (const row of known) {
    if (row.p === 0.5) continue;
    const label = byContent.get(pairKey(row));
    const own = label && saidIn(label);
    if (label === undefined) unlabelled++;
    else if (own === undefined) settled++;
    else judged.push(judgedOf(row, label, own));
  }

  const readings = judged.flatMap(({ prompt, readings }) => readings.map(({ letters }) => ({ prompt, letters })));
  const accuracy = share(judged, ({ p, answer }) => agreement(p, answer));
  const questions = judged.flatMap(({ prompt, readings }) =>
    questionsIn(readings).map((follows) => ({ prompt, follows })),
  );
  const count = (...which: Follows[]) => share(questions, ({ follows }) => Number(which.includes(follows)));
  const answers = judged.flatMap(({ prompt, readings, answer }) =>
    [...groupBy(readings, ({ principle }) => principle)].map(([principle, its]) => ({
      ...{ prompt, principle },
      right: agreement(mean(its.map(({ p }) => p)), answer),
    })),
  );
  return {
    labelled: judged.length,
    settled,
    unlabelled,
    sampledLetters: share(readings, ({ letters }) => Number(letters !== undefined)),
    accuracy,
    swapConsistency: count("response"),
    positionBias: { share: count("first", "second"), first: count("first"), second: count("second") },
    principles: new Map(
      [...groupBy(answers, ({ principle }) => principle)].map(([principle, its]) => [
        principle,
        share(its, ({ right }) => right),
      ]),
    ),
    calibration: calibrated(
      judged.map(({ prompt, p, answer }) => ({ prompt, p, outcome: answer })),
      seed,
    ),
    lengthBias: lengthBias(judged),
    flips: plantedFlips(judged, settings.flips, seed),
    gate: accuracyGate(
      accuracy,
      settings,
      settled > 0
        ? `checks settled all ${settled} pairs with a known answer, and the labeller was asked about none`
        : "no pair with a known answer was labelled",
    ),
  };
}

/** A known pair with its label, both as probabilities that the pair's `a` is better. */
interface Judged {
  readonly key: string;
  /** What it shares with other pairs. */
  readonly prompt: string;
  readonly p: number;
  /** 1 when `a` is known to be better, else 0. */
  readonly answer: 0 | 1;
  /** Words of a less words of b. */
  readonly longer: number;
  readonly readings: readonly Reading[];
}

/** What the labeller said of a pair, as the probability that `a` is better; undefined where checks settled it before a labeller was asked. */
function saidIn({ label, p, explanation }: PreferenceRow): number | undefined {
  const step = explanation.find((one) => one.step === "label");
  // Labels without this step are of those who label alone, checks among them.
  if (step === undefined) return p;
  if (typeof step.asked === "number") return step.asked;
  return label === "check" ? undefined : p;
}

function judgedOf(row: PreferenceRow, label: PreferenceRow, p: number): Judged {
  return {
    key: pairKey(row),
    prompt: promptKey(row),
    p,
    answer: (label.a === row.a ? row.p : 1 - row.p) > 0.5 ? 1 : 0,
    longer: countWords(label.a) - countWords(label.b),
    readings: readingsOf(label.explanation),
  };
}

function agreement(p: number, answer: 0 | 1): number {
  if (p === 0.5) return 0.5;
  return p > 0.5 === (answer === 1) ? 1 : 0;
}

/** Mean of what each gives, from 0 to 1; those of one prompt are no independent ones. */
function share<Item extends { readonly prompt: string }>(
  items: readonly Item[],
  points: (item: Item) => number,
): Estimate {
  return pointsRate(items.map((item) => ({ cluster: item.prompt, points: points(item) })));
}

function calibrated(
  forecasts: readonly (Forecast & { readonly prompt: string })[],
  seed: number,
): Audit["calibration"] {
  const { ece, bins } = calibration(forecasts);
  const brier = bootstrap(forecasts, (sample) => calibration(sample).brier, { seed, cluster: ({ prompt }) => prompt });
  return { ece, bins, brier };
}

/** What the two answers to a question have in common: the response they name, or the position. */
type Follows = "response" | "first" | "second";

/** Questions that were asked in both orders, by principle. */
function questionsIn(readings: readonly Reading[]): Follows[] {
  return [...groupBy(readings, ({ principle }) => principle).values()].flatMap((its): Follows[] => {
    const pFirst = (first: "a" | "b") =>
      mean(its.filter((reading) => reading.first === first).map(({ p }) => (first === "a" ? p : 1 - p)));
    const [ab, ba] = [pFirst("a"), pFirst("b")];
    if (Number.isNaN(ab) || Number.isNaN(ba)) return [];
    if (ab > 0.5 && ba > 0.5) return ["first"];
    if (ab < 0.5 && ba < 0.5) return ["second"];
    return ["response"];
  });
}

function lengthBias(judged: readonly Judged[]): Audit["lengthBias"] {
  const unequal = judged.filter(({ longer }) => longer !== 0);
  const side = ({ longer }: Judged) => (longer > 0 ? 1 : 0);
  return {
    longerPreferred: share(unequal, (pair) => agreement(pair.p, side(pair))),
    longerRight: share(unequal, (pair) => Number(pair.answer === side(pair))),
    correlation: pearson(
      judged.map(({ p, answer }) => p - answer),
      judged.map(({ longer }) => longer),
    ),
  };
}

/** The pairs with the smallest draws have their known answer exchanged. */
function plantedFlips(judged: readonly Judged[], flips: number, seed: number): Audit["flips"] {
  const draw = new Map(
    judged.map(({ key }) => [key, randomStream({ seed, stage: "audit-flip", item: key }).uniform(0)]),
  );
  const planted = new Set(
    [...draw]
      .sort(([, one], [, other]) => one - other)
      .slice(0, Math.round(flips * judged.length))
      .map(([key]) => key),
  );
  const pairs = judged.map(({ key, prompt, p, answer }) => {
    const flipped = planted.has(key);
    // Of the answer that is stated, be it exchanged or not.
    return { prompt, flipped, doubt: flipped === (answer === 1) ? p : 1 - p };
  });
  const both = planted.size > 0 && planted.size < judged.length;
  return {
    planted: planted.size,
    ranked: both
      ? bootstrap(pairs, rankedAbove, { seed, cluster: ({ prompt }) => prompt })
      : { value: Number.NaN, interval: [0, 1], n: 0 },
  };
}

/** Area under the ROC curve by ranks (Mann and Whitney); NaN where a sample has only one kind. */
function rankedAbove(pairs: readonly { readonly flipped: boolean; readonly doubt: number }[]): number {
  const sorted = [...pairs].sort((one, other) => one.doubt - other.doubt);
  let [below, won, flips] = [0, 0, 0];
  for (let start = 0; start < sorted.length; ) {
    let end = start;
    while (end < sorted.length && sorted[end]!.doubt === sorted[start]!.doubt) end++;
    const equal = sorted.slice(start, end);
    const here = equal.filter(({ flipped }) => flipped).length;
    won += here * (below + (equal.length - here) / 2);
    flips += here;
    below += equal.length - here;
    start = end;
  }
  return won / (flips * below);
}
