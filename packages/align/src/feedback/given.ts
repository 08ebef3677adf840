import { type GivenPrinciple, groupBy, mean, type PreferenceRow, randomStream, rowId, turned } from "@tenet/data";
import { z } from "zod";
import { type Constitution, givenOf } from "../constitution/index.ts";
import { breachesByChecks } from "../reward/index.ts";
import { readingsOf } from "./labelled-pair.ts";

/** Which principles a preference model is shown beside each pair. The defaults are written here only. */
export const givenSettingsSchema = z.strictObject({
  most: z.int().min(1).max(16).default(3).describe("Principles shown with a pair, at most; how many is drawn."),
  negate: z
    .number()
    .min(0)
    .max(1)
    .default(0.5)
    .describe("Probability that a principle is shown as its opposite, which turns what is preferred under it."),
  draws: z.int().min(1).default(1).describe("Times that each pair is learnt, each under principles of its own."),
});
export type GivenSettings = z.output<typeof givenSettingsSchema>;

export interface GivenOptions {
  readonly constitution: Constitution;
  readonly settings: GivenSettings;
  /** Bounds of what was read behind reasoning, as the label has them. */
  readonly clamp?: readonly [number, number] | undefined;
  readonly seed: number;
}

/** How many pairs became what. */
export interface GivenCounts {
  /** Pairs that are learnt under drawn principles. */
  given: number;
  /** Pairs of which nobody said what each principle prefers: they stay as they are, without principles. */
  unread: number;
  aside: number;
}

type Given = { readonly row: PreferenceRow } | { readonly aside: { readonly input: string; readonly reason: string } };

/** What of a pair's explanation says which reply each principle prefers. */
interface Leaning {
  readonly principle: string;
  /** That `a` is the better one under it. */
  readonly p: number;
  /** Whether both orders of the question were answered alike, or only one was asked. */
  readonly steady: boolean;
}

/** The share of those that go on to another principle, after each: SALMON's geometric draw. */
const oneMore = 0.8;

/**
 * Pairs as a principle-conditioned preference model learns them: under principles drawn from those that somebody read the pair by,
 * each perhaps as its opposite. The principle that is surest decides: the one with the largest |ln(p/(1 − p))| over that figure's
 * deviation in the dataset, where an answer that depends on the order of the replies counts for nothing; p is its p, or 1 − p where
 * it is negated. METHODS §4; SALMON (2310.05910), §3.3.
 *
 * What each principle prefers is read from a labeller's readings, from how contrast pairs were made, or, of a label by checks, from
 * the checks of both replies. Pairs without any of these, such as people's and those that were weighed otherwise, stay as they are.
 * Set aside: pairs in which no drawn principle prefers either reply.
 */
export function underPrinciples(
  rows: readonly PreferenceRow[],
  options: GivenOptions,
): { readonly outcomes: readonly Given[]; readonly counts: GivenCounts } {
  const { constitution, settings, seed } = options;
  const known = new Map(constitution.principles.map((principle) => [principle.id, givenOf(principle)]));
  const leanings = rows.map((row) => leaningsOf(row, options).filter(({ principle }) => known.has(principle)));
  const scaleOf = deviations(leanings.flat());
  const counts: GivenCounts = { given: 0, unread: 0, aside: 0 };
  const outcomes = rows.flatMap((row, i): Given[] => {
    const own = leanings[i]!;
    if (own.length === 0) {
      counts.unread++;
      return [{ row }];
    }
    const made = Array.from({ length: settings.draws }, (_, draw) => {
      const drawn = drawFor(row, own, { settings, seed, draw });
      return oneRow(row, drawn, { known, scaleOf, draw });
    }).filter((one) => one !== undefined);
    if (made.length > 0) {
      counts.given++;
      return made.map((one) => ({ row: one }));
    }
    counts.aside++;
    return [{ aside: { input: row.id, reason: "no drawn principle says which of the replies is better" } }];
  });
  return { outcomes, counts };
}

/** A principle of a draw: what is shown, and how surely it prefers which reply. */
interface Drawn extends Leaning {
  readonly negated: boolean;
}

/** How many, which and which way round: a function of the seed, the pair and the draw. */
function drawFor(
  row: PreferenceRow,
  leanings: readonly Leaning[],
  { settings, seed, draw }: { readonly settings: GivenSettings; readonly seed: number; readonly draw: number },
): Drawn[] {
  const item = JSON.stringify([row.prompt, row.a, row.b]);
  const stream = (what: string) => randomStream({ seed, stage: `given-${what}`, item, sample: draw });
  const most = Math.min(settings.most, leanings.length);
  const more = stream("count");
  let count = 1;
  while (count < most && more.uniform(count) < oneMore) count++;
  const arrivals = leanings
    .map((leaning) => {
      const own = randomStream({ seed, stage: "given", item: JSON.stringify([item, leaning.principle]), sample: draw });
      return { ...leaning, time: own.uniform(0), negated: own.uniform(1) < settings.negate };
    })
    .sort((x, y) => x.time - y.time);
  return arrivals.slice(0, count).map(({ time: _, ...drawn }) => drawn);
}

function oneRow(
  row: PreferenceRow,
  drawn: readonly Drawn[],
  {
    known,
    scaleOf,
    draw,
  }: {
    readonly known: ReadonlyMap<string, GivenPrinciple>;
    readonly scaleOf: (principle: string) => number;
    readonly draw: number;
  },
): PreferenceRow | undefined {
  let [decides, surest]: [Drawn | undefined, number] = [undefined, 0];
  for (const one of drawn) {
    const sure = one.steady ? Math.abs(logit(one.p)) / scaleOf(one.principle) : 0;
    if (sure > surest) [decides, surest] = [one, sure];
  }
  if (decides === undefined) return undefined;
  const p = decides.negated ? 1 - decides.p : decides.p;
  const principles = drawn.flatMap(({ principle, negated }) => {
    const given = known.get(principle)!;
    return negated ? turned([given]) : [given];
  });
  const decided = { step: "given", decidedBy: decides.principle, negated: decides.negated, p };
  return {
    ...row,
    id: rowId("given", row.id, draw, p, principles),
    p,
    given: { principles, decidedBy: decides.principle },
    explanation: [...row.explanation, decided],
    origin: { ...row.origin, principles: drawn.map(({ principle }) => principle), parents: [row.id] },
  };
}

/** What each principle prefers, as far as somebody said so. */
function leaningsOf(row: PreferenceRow, { constitution, clamp: [low, high] = [0, 1] }: GivenOptions): Leaning[] {
  // What people or the constitution decided against a labeller is nobody's reading of a principle.
  if (row.label === "human" || row.explanation.some(({ step }) => step === "weigh")) return [];
  if (row.label === "contrast")
    return (row.origin.principles ?? []).map((principle) => ({ principle, p: row.p, steady: true }));
  if (row.label === "check") return byChecks(row, constitution);
  return [...groupBy(readingsOf(row.explanation), ({ principle }) => principle)].map(([principle, some]): Leaning => {
    const orders = [...groupBy(some, ({ first }) => first).values()].map((own) =>
      mean(own.map(({ p }) => Math.min(Math.max(p, low), high))),
    );
    const sides = new Set(orders.map((p) => Math.sign(p - 0.5)));
    return { principle, p: mean(orders), steady: sides.size === 1 };
  });
}

/** Of principles whose checks apply to both replies: the one that breaks it less is preferred. */
function byChecks({ prompt, a, b, category }: PreferenceRow, constitution: Constitution): Leaning[] {
  const [ours, theirs] = [a, b].map(
    (response) =>
      new Map(breachesByChecks(constitution, { prompt, response, category }).map((one) => [one.principle, one.breaks])),
  );
  return [...ours!].flatMap(([principle, breaks]): Leaning[] => {
    const other = theirs!.get(principle);
    return other === undefined || other === breaks ? [] : [{ principle, p: breaks < other ? 1 : 0, steady: true }];
  });
}

/** Of each principle the deviation of ln(p/(1 − p)); that of all where one principle's cannot be told. */
function deviations(leanings: readonly Leaning[]): (principle: string) => number {
  const steady = leanings.filter((one) => one.steady);
  const of = (some: readonly Leaning[]) => {
    const values = some.map(({ p }) => logit(p));
    const middle = mean(values);
    return values.length < 2 ? 0 : Math.sqrt(mean(values.map((value) => (value - middle) ** 2)));
  };
  const own = new Map([...groupBy(steady, ({ principle }) => principle)].map(([id, some]) => [id, of(some)]));
  // Where all answers are the same any scale orders them alike.
  const all = of(steady) || 1;
  return (principle) => own.get(principle) || all;
}

/** Nobody is surer than 100 to 1: a letter that was never said is no certainty. */
const surest = 0.99;

function logit(p: number): number {
  const bounded = Math.min(Math.max(p, 1 - surest), surest);
  return Math.log(bounded / (1 - bounded));
}
