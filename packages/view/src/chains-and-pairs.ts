import { setImmediate as breathe } from "node:timers/promises";
import { readingSchema } from "@tenet/align";
import type { ChainRow, PreferenceRow } from "@tenet/data";
import type { RunInfo, StageInfo, Store } from "@tenet/runs";
import type { Chain, Chains, Pair, PairSort, Pairs } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { type Planned, planOf } from "./plan.ts";
import { annotationsByRow } from "./samples.ts";
import { brokenBy, type Opened } from "./verdicts.ts";

const pageSize = 256;
const mostScanned = 2048;
/** Pairs that are read whole, to be sorted. */
const mostPairs = 20_000;

export interface ChainFilter {
  readonly principle?: string | undefined;
  /** "rejected": a round's revision was not taken; "changed": one was; or the beginning of a reason. */
  readonly show?: string | undefined;
  readonly q?: string | undefined;
}

export async function chainsOf(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
  filter: ChainFilter,
  { after = -1, limit }: { after?: number | undefined; limit: number },
): Promise<Chains> {
  const { store, judge } = context;
  const opened = judge.opened(run);
  const said = annotationsByRow(store);
  const chains: Chain[] = [];
  let scanned = 0;
  let from: number | undefined = after;
  while (from !== undefined && scanned < mostScanned) {
    const page: ReturnType<typeof store.page<ChainRow>> = store.page<ChainRow>(stage.identity, {
      after: from,
      limit: pageSize,
      ...(filter.q !== undefined && filter.q !== "" && { text: filter.q }),
    });
    for (const { ordinal, row } of page.rows) {
      scanned++;
      if (!fits(row, filter)) continue;
      chains.push({ ...chainOf(row, ordinal), said: said.get(row.id) ?? [] });
      if (chains.length < limit) continue;
      const isLast = ordinal === page.rows.at(-1)?.ordinal && page.next === undefined;
      return { chains, scanned, ...(!isLast && { next: ordinal }) };
    }
    from = page.next;
    await breathe();
  }
  return { chains, scanned, ...(from !== undefined && { next: from }) };

  function chainOf({ id, prompt, category, responses, rounds }: ChainRow, ordinal: number): Omit<Chain, "said"> {
    const broken = responses.map((response, i) =>
      brokenBy(judge.results(opened, { key: `${id} ${i}`, prompt, response })),
    );
    return {
      ordinal,
      row: id,
      prompt,
      responses,
      rounds: rounds.map(({ principle, critique, revision, edits, rejected }) => ({
        principle,
        critique,
        ...(revision !== undefined && { revision }),
        ...(edits !== undefined && { edits }),
        ...(rejected !== undefined && { rejected }),
      })),
      ...(category !== undefined && { category }),
      ...(broken.every((one) => one !== undefined) && { broken }),
    };
  }
}

function fits({ rounds, responses }: ChainRow, { principle, show = "all" }: ChainFilter): boolean {
  if (principle !== undefined && !rounds.some((round) => round.principle === principle)) return false;
  if (show === "all") return true;
  if (show === "changed") return responses.length > 1;
  if (show === "unchanged") return responses.length === 1;
  return rounds.some(({ rejected }) => rejected !== undefined);
}

/** The stages of a run whose rows are pairs with a label to learn from, the one that training took last. */
export function labelStages(store: Store, run: string): StageInfo[] {
  const plan = planOf({ store }, run);
  return store.stages(run).filter((stage) => isLearntFrom(stage, plan));
}

/** Whether a stage's labels are learnt from: those of an audit, and those to test on, are not. */
export function isLearntFrom({ name, kind }: { name: string; kind: string }, plan: readonly Planned[] = []): boolean {
  if (kind === "human-labels") return true;
  if (kind !== "label" && kind !== "label-by-checks") return false;
  const fed = plan.filter(({ stage }) => stage.startsWith("human labels")).flatMap(({ inputs }) => inputs);
  return fed.length > 0 ? fed.includes(name) : !/audit|validation/.test(name);
}

/** All labelled pairs of a stage, sorted. */
export function pairsOf(
  context: ViewContext,
  run: RunInfo,
  stage: StageInfo,
  {
    sort,
    q,
    label,
    principle,
  }: { sort: PairSort; q?: string | undefined; label?: string | undefined; principle?: string | undefined },
): Omit<Pairs, "labels"> & { all: readonly Pair[] } {
  const { store, judge } = context;
  const opened = judge.opened(run);
  const human = new Map<string, Pair["human"]>();
  for (const { pair, ...word } of store.labels()) human.set(pair, [...(human.get(pair) ?? []), word]);
  const { rows } = store.page<PreferenceRow>(stage.identity, {
    limit: mostPairs,
    ...(q !== undefined && q !== "" && { text: q }),
  });
  const all = rows.map(({ row }) => pairOf(row, human, (key, response) => verdicts(row, key, response, opened)));
  const kept = all.filter(
    (pair) =>
      (label === undefined || pair.label === label) &&
      (principle === undefined || pair.readings.some((reading) => reading.principle === principle)),
  );
  const pairs = sort === "order" ? kept : kept.toSorted((one, other) => sorts[sort](other) - sorts[sort](one));
  return { pairs, total: kept.length, all };

  function verdicts({ prompt }: PreferenceRow, key: string, response: string, of: Opened) {
    return brokenBy(judge.results(of, { key, prompt, response }));
  }
}

function pairOf(
  row: PreferenceRow,
  human: ReadonlyMap<string, Pair["human"]>,
  verdicts: (key: string, response: string) => string[] | undefined,
): Pair {
  const { id, prompt, a, b, p, label, explanation, origin } = row;
  const pair = origin.parents[0] ?? id;
  const steps = explanation.map((step) => ({ step, reading: readingSchema.safeParse(step).data }));
  const readings = steps.flatMap(({ reading }) => (reading ? [reading] : []));
  const broken = { a: verdicts(`${id} a`, a), b: verdicts(`${id} b`, b) };
  return {
    row: id,
    pair,
    prompt,
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
    ...(broken.a && broken.b && { broken: { a: broken.a, b: broken.b } }),
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

/** What comes first: how sure nobody is, and how far two disagree. */
const sorts: Record<Exclude<PairSort, "order">, (pair: Pair) => number> = {
  uncertain: ({ p }) => -Math.abs(p - 0.5),
  position: ({ readings }) => Math.max(0, ...spreads(readings)),
  people: ({ p, human }) => Math.max(-1, ...human.map((word) => Math.abs(word.p - p))),
  checks: ({ p, broken }) => {
    if (!broken || broken.a.length === broken.b.length) return -1;
    return broken.a.length < broken.b.length ? 1 - p : p;
  },
};

/** How far the readings of a principle lie apart in the two orders. */
function spreads(readings: readonly { principle: string; first: "a" | "b"; p: number }[]): number[] {
  return readings.flatMap((one) =>
    readings.flatMap((other) =>
      one.principle === other.principle && one.first === "a" && other.first === "b" ? [Math.abs(one.p - other.p)] : [],
    ),
  );
}
