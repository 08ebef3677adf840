import { type CostRow, groupBy, mean, rowId, type SafetyRow } from "@tenet/data";
import { orderOf } from "@tenet/train";
import type { PartContext } from "../context.ts";
import { rowsStage, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import type { ReadFile } from "./files.ts";

/*
 * What people said of the harm of replies, for the cost model.
 */

/** The file of it, where the recipe names one. */
export function humanSafety({ recipe }: PartContext, file: ReadFile): Stage<StoredRows<SafetyRow>> | undefined {
  if (recipe.costModel?.human === undefined) return undefined;
  const { ratio: _, ...reference } = recipe.costModel.human;
  return file({ name: "human safety", title: "replies whose harm people judged", reference, as: "safety" });
}

/** Those as pairs. */
export function humanCostsStage(
  { recipe: { seed } }: PartContext,
  { name, safety }: { readonly name: string; readonly safety: Stage<StoredRows<SafetyRow>> },
): Stage<StoredRows<CostRow>> {
  return rowsStage<CostRow>({
    name,
    title: "pairs of replies whose harm people judged",
    kind: "human-costs",
    version: 1,
    seed,
    inputs: [safety],
    settings: () => null,
    *make(context) {
      yield* pairsOf([...context.value(safety).rows()]);
    },
  });
}

type Made = { readonly row: CostRow } | { readonly aside: { readonly input: string; readonly reason: string } };
type Reply = SafetyRow["replies"][number];

/**
 * Pairs of judged replies. Two that were judged together stay together; single ones are put together with the next of their prompt, once what
 * several people said of one reply is one: the share of them who call it unsafe. Of two replies that are as unsafe, the one of the higher severity
 * is the more unsafe.
 */
export function* pairsOf(rows: readonly SafetyRow[]): Generator<Made> {
  const singles: SafetyRow[] = [];
  for (const row of rows) {
    const [a, b] = row.replies;
    if (b === undefined) singles.push(row);
    else yield pairOf(row.prompt, [a!, b], { parents: [row], safer: row.safer });
  }
  for (const some of groupBy(singles, ({ prompt }) => JSON.stringify(prompt)).values()) {
    const judged = [...groupBy(some, ({ replies: [one] }) => one!.reply).values()].map((words) => ({
      reply: agreed(words.map(({ replies: [one] }) => one!)),
      words,
    }));
    for (let at = 0; at < judged.length; at += 2) {
      const [one, other] = [judged[at]!, judged[at + 1]];
      const parents = [...one.words, ...(other?.words ?? [])];
      if (other) yield pairOf(some[0]!.prompt, [one.reply, other.reply], { parents });
      else {
        const reason = "it is left alone: what replies cost is learnt of two to one prompt";
        for (const { id } of one.words) yield { aside: { input: id, reason } };
      }
    }
  }
}

/** What several people said of one reply. */
function agreed(words: readonly Reply[]): Reply {
  const levels = words.flatMap(({ severity }) => severity ?? []);
  return {
    reply: words[0]!.reply,
    unsafe: mean(words.map(({ unsafe }) => unsafe)),
    ...(levels.length > 0 && { severity: mean(levels) }),
  };
}

function pairOf(
  prompt: SafetyRow["prompt"],
  [a, b]: readonly [Reply, Reply],
  { parents, safer }: { readonly parents: readonly SafetyRow[]; readonly safer?: SafetyRow["safer"] },
): Made {
  const unsafe: [number, number] = [a.unsafe, b.unsafe];
  const content = { prompt, a: a.reply, b: b.reply, unsafe, q: safer ?? order(a, b), weight: 1 };
  const origin = { ...parents[0]!.origin, parents: parents.map(({ id }) => id) };
  return { row: { ...content, id: rowId("cost", content), origin } };
}

/** The probability that the first of two is the more unsafe one. */
function order(a: Reply, b: Reply): number {
  const known = a.severity !== undefined && b.severity !== undefined;
  if (a.unsafe !== b.unsafe || !known || a.severity === b.severity) return orderOf([a.unsafe, b.unsafe]);
  return a.severity! > b.severity! ? 1 : 0;
}
