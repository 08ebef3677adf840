import { groupBy, type PairRow, type PreferenceRow, pairContent, rowId } from "@tenet/data";
import { hashOf, type Label, type Store } from "@tenet/runs";
import { applyHumanLabels } from "../../feedback/index.ts";
import { ordered, type ReviewSpec, reasonsOf, usualQuestion, type Word, wordsOf } from "../../people/index.ts";
import type { PartContext } from "../context.ts";
import { rowsStage, type Stage } from "../stages/index.ts";
import type { StoredRows } from "../values.ts";
import { WaitError } from "../wait.ts";

/*
 * People in the loop: what they say of a run's pairs is in the store, in tables of its own that are only added to. A stage that needs their
 * words takes those that are there, or lays a queue out for them and has the run wait.
 */

/**
 * What people prefer among the pairs, and nobody else: the mean of their words on each. METHODS §3. Waits until every pair that they are
 * asked about has been answered by as many as the recipe wants; one that nobody preferred a reply of is set aside, never ½.
 *
 * Errors: WaitError that says how many are judged, and the command.
 */
export function peoplesLabelsStage(
  { recipe, constitution }: PartContext,
  { name, pairs }: { readonly name: string; readonly pairs: Stage<StoredRows<PairRow>> },
): Stage<StoredRows<PreferenceRow>> {
  const { seed } = recipe;
  const { pairs: most, each = 1 } = recipe.feedback.people ?? {};
  const title = "what people prefer";
  const kind = "label-by-people";
  return {
    ...{ name, title, kind, inputs: [pairs] },
    expect: (sized) => ({ ...sized(pairs), rows: Math.min(most ?? Number.POSITIVE_INFINITY, sized(pairs).rows) }),
    async execute(context) {
      const { store, run, emit } = context;
      const { hash } = context.value(pairs);
      const rows = [...context.value(pairs).rows()];
      if (most !== undefined && rows.length < most)
        emit({
          ...{ type: "message", stage: name, level: "warning" },
          message: `feedback.people.pairs: ${most} are asked for, and there are ${rows.length}: people are asked about these`,
        });
      const drawn = ordered(
        rows.map(({ id }) => ({ row: id })),
        "random",
        { name: `${seed} ${hash}`, ...(most !== undefined && { size: most }) },
      );
      const queue = `people-${hashOf([run.id, hash, most ?? null, each]).slice(0, 16)}`;
      const spec: ReviewSpec = {
        ...{ run: run.id, stage: pairs.name, how: "random", overlap: each, guidelines: "", question: usualQuestion },
        reasons: reasonsOf(constitution),
      };
      if (drawn.length > 0 && !store.queues().some(({ id }) => id === queue))
        store.addQueue({ id: queue, name: `${name} of ${run.id}`, spec, items: drawn, who: run.id });
      const labels = wordsOn(rows, store.labels());
      const answers = wordsOf(store.answers(queue));
      const spoke = groupBy(
        [...labels.map(({ pair, who }) => [pair, who] as const), ...answers.map(({ row, who }) => [row, who] as const)],
        ([row]) => row,
      );
      const heard = (row: string) => new Set(spoke.get(row)?.map(([, who]) => who)).size;
      const judged = drawn.filter(({ row }) => heard(row) >= each).length;
      if (judged < drawn.length)
        throw new WaitError(
          `${judged} of ${drawn.length} pairs are judged${each > 1 ? ` by ${each} people each` : ""}: ${labelCommand(run.id, store)} asks people about the others, or tenet view; then the same command goes on from here`,
        );
      const said = groupBy(labels, ({ pair }) => pair);
      // A pair that was answered, and of which nobody preferred a reply.
      const undecided = groupBy(
        answers.filter(({ row }) => !said.has(row)),
        ({ row }) => row,
      );
      const stage = rowsStage<PreferenceRow>({
        ...{ name, title, kind, version: 1, seed, inputs: [pairs] },
        settings: () => [
          labels.map(({ pair, who, p }) => [pair, who, p]),
          [...undecided].map(([row, its]) => [row, outcomesOf(its)]).sort(),
        ],
        *make() {
          for (const pair of rows) {
            const words = said.get(pair.id);
            if (words) yield { row: labelledBy(pair, words) };
            else if (undecided.has(pair.id))
              yield { aside: { input: pair.id, reason: `no preference: ${outcomesOf(undecided.get(pair.id)!)}` } };
          }
        },
      });
      return stage.execute(context);
    },
  };
}

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
        const one = byId.get(pair)!;
        const { prompt, a, b } = one;
        const id = rowId("preference", prompt, a, b, p, "human", who);
        const origin = { source: `label of ${who}`, parents: [pair] };
        return {
          id,
          ...pairContent(one),
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

/** The command by which people are asked, as they type it where the run was begun. */
function labelCommand(run: string, { folder }: Pick<Store, "folder">): string {
  return `tenet label ${run}${folder === "runs" ? "" : ` --store ${folder}`}`;
}

function labelledBy(pair: PairRow, words: readonly Label[]): PreferenceRow {
  const { id, prompt, a, b, origin } = pair;
  const p = words.reduce((sum, word) => sum + word.p, 0) / words.length;
  return {
    id: rowId("preference", prompt, a, b, p, "human"),
    ...{ ...pairContent(pair), p, weight: 1, label: "human" },
    explanation: [...words.map(({ who, p: own }) => ({ step: "human", p: own, who })), { step: "label", p }],
    origin: { ...origin, parents: [id] },
  };
}

const outcomesOf = (words: readonly Word[]) =>
  words
    .map(({ value }) => value.choice)
    .sort()
    .join(", ");

/**
 * The latest word of each person on each of the pairs, whichever of its replies stood first when they said it: p is that of
 * the pair's own `a`. The words come in the order in which they were said; they go in one that does not depend on it.
 */
export function wordsOn(pairs: readonly PairRow[], words: readonly Label[]): Label[] {
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
