import { bootstrap, cohenKappa, type Estimate, groupBy, krippendorffAlpha, wilson } from "@tenet/data";
import { preferenceOf, saysOf, type Word } from "./answers.ts";

/** What one person's answers say of them. */
export interface PersonRecord {
  readonly who: string;
  readonly answers: number;
  /** How often they said what. */
  readonly outcomes: Readonly<Record<string, number>>;
  /** A judgement's, on average; absent where nobody measured. */
  readonly seconds?: number;
  /** How often the left one was preferred where one was: people follow positions, too. */
  readonly leftShare?: Estimate;
  /** Of what others said of the same pairs, how much they said too; the bootstrap's interval over pairs. */
  readonly agreement?: Estimate;
}

/** How far people agree with each other, and with a machine. */
export interface PeopleAgreement {
  readonly people: readonly PersonRecord[];
  /** Share of pairs judged at least twice on which all said the same. */
  readonly raw?: Estimate;
  /** Krippendorff's, nominal; absent where it is not defined. */
  readonly alpha?: Estimate;
  /** Cohen's, of each two people. */
  readonly kappa: readonly { readonly a: string; readonly b: string; readonly n: number; readonly kappa?: number }[];
  /** With the machine's labels, where both preferred one. */
  readonly machine?: Estimate;
  /** Pairs that one person judged: they say nothing of agreement. */
  readonly single: number;
  /** Pairs on which they differ, with what each said. */
  readonly disagreements: readonly {
    readonly row: string;
    readonly answers: readonly { readonly who: string; readonly says: string }[];
  }[];
  /** Words that are a preference, ties among them. */
  readonly labels: number;
}

/**
 * How far people's words on pairs agree. Who skipped said nothing, and counts in no measure of agreement; "both bad" is a word like others.
 *
 * `machine`: probabilities that `a` is better, by pair.
 */
export function agreementOf(
  words: readonly Word[],
  { machine = new Map(), seed = 0 }: { readonly machine?: ReadonlyMap<string, number>; readonly seed?: number } = {},
): PeopleAgreement {
  const people = [...new Set(words.map(({ who }) => who))];
  const said = words.flatMap(({ row, who, value }) => {
    const says = saysOf(value);
    return says === undefined ? [] : [{ row, who, says, value }];
  });
  const judged = [...groupBy(said, ({ row }) => row).values()];
  const twice = judged.filter((its) => its.length > 1);
  const unlike = twice.filter((its) => new Set(its.map(({ says }) => says)).size > 1);
  const alpha = twice.length > 0 ? krippendorffAlpha(twice.map((its) => its.map(({ says }) => says))) : undefined;
  const against = said.flatMap(({ row, value: { choice, left } }) => {
    const [p, own] = [machine.get(row), preferenceOf(choice, left)];
    // A machine that is undecided, and a person who ties, agree with nobody.
    return p === undefined || p === 0.5 || own === undefined || own === 0.5 ? [] : [own > 0.5 === p > 0.5];
  });
  return {
    people: people.map((who) => recordOf(who, words, twice, seed)),
    ...(twice.length > 0 && { raw: wilson(twice.length - unlike.length, twice.length) }),
    ...(alpha && Number.isFinite(alpha.value) && { alpha }),
    kappa: people.flatMap((a, i) =>
      people.slice(i + 1).map((b) => {
        const both = twice.flatMap((its) => {
          const [one, other] = [its.find(({ who }) => who === a), its.find(({ who }) => who === b)];
          return one && other ? [[one.says, other.says] as const] : [];
        });
        const kappa = cohenKappa(both);
        return { a, b, n: both.length, ...(Number.isFinite(kappa) && { kappa }) };
      }),
    ),
    ...(against.length > 0 && { machine: wilson(against.filter(Boolean).length, against.length) }),
    single: judged.length - twice.length,
    disagreements: unlike.map((its) => {
      return { row: its[0]!.row, answers: its.map(({ who, says }) => ({ who, says })) };
    }),
    labels: words.filter(({ value }) => preferenceOf(value.choice, value.left) !== undefined).length,
  };
}

function recordOf(
  who: string,
  words: readonly Word[],
  twice: readonly (readonly { readonly who: string; readonly says: string }[])[],
  seed: number,
): PersonRecord {
  const own = words.filter((word) => word.who === who);
  const times = own.flatMap(({ value }) => value.milliseconds ?? []);
  const sided = own.filter(({ value }) => /^(left|right)/.test(value.choice));
  const left = sided.filter(({ value }) => value.choice.startsWith("left")).length;
  const outcomes: Record<string, number> = {};
  for (const { value } of own) outcomes[value.choice] = (outcomes[value.choice] ?? 0) + 1;
  const shares = twice.flatMap((its) => {
    const mine = its.find((one) => one.who === who);
    const others = its.filter((one) => one.who !== who);
    return mine && others.length > 0 ? [others.filter(({ says }) => says === mine.says).length / others.length] : [];
  });
  const mean = (some: readonly number[]) => some.reduce((sum, one) => sum + one, 0) / some.length;
  return {
    who,
    answers: own.length,
    outcomes,
    ...(times.length > 0 && { seconds: mean(times) / 1000 }),
    ...(sided.length > 0 && { leftShare: wilson(left, sided.length) }),
    ...(shares.length > 0 && { agreement: bootstrap(shares, mean, { seed }) }),
  };
}
