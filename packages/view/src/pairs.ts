import { setImmediate as breathe } from "node:timers/promises";
import { isLearntFrom, orderKeys, readingSchema, readingsOf } from "@tenet/align";
import { groupBy, inWords, type PreferenceRow, wilson } from "@tenet/data";
import type { RowPage, RunInfo, StageInfo } from "@tenet/runs";
import type { Pair, PairSort, PrincipleLabels } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { finite } from "./finite.ts";
import type { PairKey } from "./pair-key.ts";
import { planOf } from "./plan.ts";
import { brokenBy, type Opened } from "./verdicts.ts";

/*
 * Pairs with their labels. What they are sorted and counted by is read once for a stage and kept; a page then reads its own pairs
 * and no others, however many there are.
 */

/** Inputs read at once. */
const pageSize = 256;

export interface PairFilter {
  readonly sort: PairSort;
  readonly q?: string | undefined;
  readonly label?: string | undefined;
  readonly principle?: string | undefined;
}

/** The stages of a run whose rows are pairs with a label to learn from, the one that training took last. */
export function labelStages(context: ViewContext, run: string): StageInfo[] {
  const plan = planOf(context, run);
  return context.store.stages(run).filter((stage) => isLearntFrom(stage, plan));
}

/** The keys of a stage's pairs, in their order. */
export function pairKeys({ store, pairs }: ViewContext, { identity, rows }: StageInfo): Promise<readonly PairKey[]> {
  return pairs.of(`${identity} ${rows}`, async () => {
    const keys: PairKey[] = [];
    for (let after: number | undefined = -1; after !== undefined; ) {
      const page: RowPage<PreferenceRow> = store.page(identity, { after, limit: pageSize });
      for (const { ordinal, row } of page.rows) {
        const nth = keys.at(-1)?.ordinal === ordinal ? keys.at(-1)!.nth + 1 : 0;
        keys.push(keyOf(row, ordinal, nth));
      }
      after = page.next;
      await breathe();
    }
    return keys;
  });
}

function keyOf({ id, p, label, explanation, origin }: PreferenceRow, ordinal: number, nth: number): PairKey {
  const readings = readingsOf(explanation);
  return {
    ordinal,
    nth,
    row: id,
    pair: origin.parents[0] ?? id,
    label,
    p,
    spread: orderKeys.position({ readings }),
    readings: [...groupBy(readings, ({ principle }) => principle)].map(([principle, own]) => ({
      principle,
      p: own.reduce((sum, reading) => sum + reading.p, 0) / own.length,
      ...(new Set(own.map(({ first }) => first)).size === 2 && { followsPosition: followsPosition(own) }),
    })),
  };
}

/** The keys of the pairs that a filter leaves, sorted. */
export async function pairsFound(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
  { sort, q, label, principle }: PairFilter,
): Promise<PairKey[]> {
  const all = await pairKeys(context, stage);
  const holding = q === undefined || q === "" ? undefined : await ordinalsWith(context, stage, q);
  const kept = all.filter(
    (key) =>
      (label === undefined || key.label === label) &&
      (principle === undefined || key.readings.some((reading) => reading.principle === principle)) &&
      (holding === undefined || holding.has(key.ordinal)),
  );
  if (sort === "order") return kept;
  const rank = await ranked(context, run, stage, kept, sort);
  return kept.toSorted((one, other) => rank.get(other)! - rank.get(one)!);
}

async function ordinalsWith({ store }: ViewContext, { identity }: StageInfo, text: string): Promise<Set<number>> {
  const found = new Set<number>();
  for (let after: number | undefined = -1; after !== undefined; ) {
    const page: RowPage = store.page(identity, { after, limit: pageSize, text });
    for (const { ordinal } of page.rows) found.add(ordinal);
    after = page.next;
    await breathe();
  }
  return found;
}

/** What comes first, the highest. */
async function ranked(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
  keys: readonly PairKey[],
  sort: Exclude<PairSort, "order">,
): Promise<Map<PairKey, number>> {
  if (sort === "uncertain") return new Map(keys.map(({ p }, i) => [keys[i]!, orderKeys.uncertain({ p })]));
  if (sort === "position") return new Map(keys.map((key) => [key, key.spread]));
  const ranks = new Map<PairKey, number>();
  if (sort === "people") {
    const human = humanWords(context);
    for (const key of keys)
      ranks.set(key, Math.max(-1, ...(human.get(key.pair) ?? []).map((word) => Math.abs(word.p - key.p))));
    return ranks;
  }
  const opened = context.judge.opened(run);
  for (const [i, key] of keys.entries()) {
    const broken = brokenOf(context, opened, rowAt(context, stage, key));
    ranks.set(key, orderKeys.checks({ p: key.p, broken }));
    if (i % pageSize === 0) await breathe();
  }
  return ranks;
}

/** What the labels of each principle are worth: by both orders, against the checks, and against people. */
export async function labelsByPrinciple(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
): Promise<PrincipleLabels["rows"]> {
  const opened = context.judge.opened(run);
  const human = humanWords(context);
  const found = new Map<string, { sure: number[]; follows: boolean[]; checks: boolean[]; people: boolean[] }>();
  for (const [i, key] of (await pairKeys(context, stage)).entries()) {
    if (i % pageSize === 0) await breathe();
    if (key.readings.length === 0) continue;
    const broken = brokenOf(context, opened, rowAt(context, stage, key));
    const said = (human.get(key.pair) ?? []).filter((word) => word.p !== 0.5);
    for (const { principle, p, followsPosition: follows } of key.readings) {
      const own = found.get(principle) ?? { sure: [], follows: [], checks: [], people: [] };
      found.set(principle, own);
      own.sure.push(2 * Math.abs(p - 0.5));
      if (follows !== undefined) own.follows.push(follows);
      const [a, b] = [broken?.a.includes(principle), broken?.b.includes(principle)];
      // Who is undecided agrees with nobody.
      if (a !== b && p !== 0.5) own.checks.push(p > 0.5 === (b === true));
      if (p !== 0.5) for (const word of said) own.people.push(p > 0.5 === word.p > 0.5);
    }
  }
  const share = (yes: readonly boolean[]) => finite(wilson(yes.filter(Boolean).length, yes.length));
  return [...found].map(([principle, { sure, follows, checks, people }]) => ({
    principle,
    pairs: sure.length,
    sureness: sure.reduce((sum, one) => sum + one, 0) / sure.length,
    ...(follows.length > 0 && { followsPosition: share(follows) }),
    ...(checks.length > 0 && { checks: share(checks) }),
    ...(people.length > 0 && { people: share(people) }),
  }));
}

/** The pairs of some keys, as they are shown. */
export function pairsAt(context: ViewContext, run: RunInfo, stage: StageInfo, keys: readonly PairKey[]): Pair[] {
  const opened = context.judge.opened(run);
  const human = humanWords(context);
  return keys.map((key) => pairOf(rowAt(context, stage, key), human, (row) => brokenOf(context, opened, row)));
}

/** The first pairs as they were made, without the keys of all. */
export function firstPairs(context: ViewContext, run: RunInfo, stage: StageInfo, limit: number): Pair[] {
  const opened = context.judge.opened(run);
  const human = humanWords(context);
  const found: PreferenceRow[] = [];
  for (let after: number | undefined = -1; after !== undefined && found.length < limit; ) {
    const page: RowPage<PreferenceRow> = context.store.page(stage.identity, { after, limit });
    found.push(...page.rows.map(({ row }) => row));
    after = page.next;
  }
  return found.slice(0, limit).map((row) => pairOf(row, human, (one) => brokenOf(context, opened, one)));
}

function rowAt({ store }: ViewContext, { identity }: StageInfo, { ordinal, nth }: PairKey): PreferenceRow {
  return store.page<PreferenceRow>(identity, { after: ordinal - 1, limit: 1 }).rows[nth]!.row;
}

function humanWords({ store }: ViewContext): Map<string, Pair["human"]> {
  const human = new Map<string, Pair["human"]>();
  for (const { pair, ...word } of store.labels()) human.set(pair, [...(human.get(pair) ?? []), word]);
  return human;
}

function brokenOf(
  { judge }: ViewContext,
  of: Opened,
  { id, prompt, a, b, category }: PreferenceRow,
): { a: string[]; b: string[] } | undefined {
  const own = (key: string, response: string) => brokenBy(judge.results(of, { key, prompt, response, category }));
  const [first, second] = [own(`${id} a`, a), own(`${id} b`, b)];
  return first && second && { a: first, b: second };
}

function pairOf(
  row: PreferenceRow,
  human: ReadonlyMap<string, Pair["human"]>,
  brokenIn: (row: PreferenceRow) => Pair["broken"] | undefined,
): Pair {
  const { id, prompt, a, b, p, label, explanation, origin } = row;
  const pair = origin.parents[0] ?? id;
  const steps = explanation.map((step) => ({ step, reading: readingSchema.safeParse(step).data }));
  const readings = steps.flatMap(({ reading }) => (reading ? [reading] : []));
  const broken = brokenIn(row);
  return {
    row: id,
    pair,
    prompt: inWords(prompt),
    a,
    b,
    p,
    label,
    readings: readings.map(({ principle, first, logprobs, p: read, reasoning }) => ({
      principle,
      first,
      p: read,
      ...(logprobs && { logprobs }),
      ...(reasoning !== undefined && { reasoning }),
    })),
    followsPosition: followsPosition(readings),
    steps: steps.flatMap(({ step, reading }) => (reading ? [] : [step])),
    human: human.get(pair) ?? [],
    ...(broken && { broken }),
  };
}

/** Whether of a principle that was read in both orders the reply that stood first won both times, or lost both times. */
function followsPosition(readings: readonly { principle: string; first: "a" | "b"; p: number }[]): boolean {
  return readings.some(({ principle, first, p }) =>
    readings.some(
      (other) =>
        other.principle === principle && first === "a" && other.first === "b" && (p - 0.5) * (other.p - 0.5) < 0,
    ),
  );
}
