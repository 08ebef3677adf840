import { type PairRow, type PreferenceRow, rowId } from "@tenet/data";
import type { Label } from "@tenet/runs";
import { applyHumanLabels } from "../../feedback/index.ts";
import type { PartContext } from "../context.ts";
import { rowsStage, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";

/**
 * What people said of the pairs, over the machine's labels. METHODS §3. Where nobody said anything it is the machine's dataset
 * itself. What it comes to depends on the words about its own pairs, and on nothing else that the store holds.
 */
export function humanLabelsStage(
  { recipe: { seed } }: PartContext,
  part: {
    readonly name: string;
    readonly pairs: Stage<StoredRows<PairRow>>;
    readonly machine: Stage<StoredRows<PreferenceRow>>;
  },
): Stage<StoredRows<PreferenceRow>> {
  const { name, pairs, machine } = part;
  const title = "what people prefer, over the machine's labels";
  const kind = "human-labels";
  const inputs = [pairs, machine];
  return {
    name,
    title,
    kind,
    inputs,
    expect: (sized) => sized(machine),
    async execute(context) {
      const byId = new Map([...context.value(pairs).rows()].map((pair) => [pair.id, pair]));
      const words = wordsOn([...byId.values()], context.store.labels());
      if (words.length === 0) return context.value(machine);
      const said = words.map(({ pair, who, p }): PreferenceRow => {
        const { prompt, a, b, cut } = byId.get(pair)!;
        const id = rowId("preference", prompt, a, b, p, "human", who);
        const origin = { source: `label of ${who}`, parents: [pair] };
        return {
          id,
          prompt,
          a,
          b,
          ...(cut && { cut }),
          p,
          weight: 1,
          label: "human",
          explanation: [{ step: "human", p, who }],
          origin,
        };
      });
      const stage = rowsStage<PreferenceRow>({
        name,
        title,
        kind,
        version: 1,
        seed,
        inputs,
        settings: () => words.map(({ pair, who, p }) => [pair, who, p]),
        *make() {
          const { rows, unmatched } = applyHumanLabels([...context.value(machine).rows()], said);
          for (const row of [...rows, ...unmatched]) yield { row };
        },
      });
      return stage.execute(context);
    },
  };
}

/**
 * The latest word of each person on each of the pairs, whichever of its replies stood first when they said it: p is that of
 * the pair's own `a`. The words come in the order in which they were said; they go in one that does not depend on it.
 */
function wordsOn(pairs: readonly PairRow[], words: readonly Label[]): Label[] {
  const turned = new Map(pairs.map(({ id, prompt, a, b }) => [rowId("pair", prompt, b, a), id]));
  const own = new Set(pairs.map(({ id }) => id));
  const latest = new Map<string, Label>();
  for (const { pair, who, p } of words) {
    const meant = own.has(pair) ? pair : turned.get(pair);
    if (meant !== undefined)
      latest.set(JSON.stringify([meant, who]), { pair: meant, who, p: meant === pair ? p : 1 - p });
  }
  return [...latest].sort(([one], [other]) => (one < other ? -1 : 1)).map(([, word]) => word);
}
