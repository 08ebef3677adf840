import { agreementOf, type PairRow, preferenceOf, reviewSpecSchema, saysOf, wordsOf } from "@tenet/align";
import { inWords, wilson } from "@tenet/data";
import type { Queue } from "@tenet/runs";
import { z } from "zod";
import type { Agreement, QueueLine } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { NotFoundError } from "./errors.ts";
import { finite } from "./finite.ts";

/** How somebody decided a pair on which people differ. */
export const settledSchema = z.object({ says: z.enum(["a", "b", "tie"]), why: z.string() });

/** The answer that is known of an item. */
const goldSchema = z.enum(["a", "b"]);

export function queueNamed(context: ViewContext, id: string): Queue {
  // Of pairs: candidates that people vote on lie in queues too.
  const found = reviewQueues(context).find((queue) => queue.id === id);
  if (!found) throw new NotFoundError(`there is no queue ${JSON.stringify(id)} here`);
  return found;
}

/** Queues of pairs, those of one run or all; one whose description cannot be read is passed over. */
export function reviewQueues({ store }: ViewContext, run?: string): Queue[] {
  return store.queues().filter(({ spec }) => {
    const read = reviewSpecSchema.safeParse(spec);
    return read.success && (run === undefined || read.data.run === run);
  });
}

export function queueLine({ store }: ViewContext, queue: Queue): QueueLine {
  const { overlap, guidelines } = reviewSpecSchema.parse(queue.spec);
  const answers = store.answers(queue.id);
  const { id, name, who, created, items } = queue;
  return {
    ...{ id, name, who, created, items, overlap, guidelines },
    answers: answers.length,
    people: [...new Set(answers.map((answer) => answer.who))],
    gold: store.queueItems(queue.id).filter(({ gold }) => gold !== undefined).length,
  };
}

/** What the answers of a queue say, and how far people agree, as the page shows it. */
export function resultsOf(context: ViewContext, queue: Queue): Agreement {
  const { store } = context;
  const { run, stage } = reviewSpecSchema.parse(queue.spec);
  const gold = new Map(
    store.queueItems(queue.id).flatMap(({ row, gold: known }) => {
      const answer = goldSchema.safeParse(known).data;
      return answer === undefined ? [] : [[row, answer] as const];
    }),
  );
  const settled = new Map(
    store
      .annotations()
      .filter(({ kind, about }) => kind === "settled" && about === queue.id)
      .map((one) => [one.row, { who: one.who, ...settledSchema.parse(one.value) }]),
  );
  const words = wordsOf(store.answers(queue.id));
  const rightOf = (who: string) => {
    const known = words.flatMap((word) => {
      const [answer, says] = [gold.get(word.row), saysOf(word.value)];
      return word.who !== who || answer === undefined || says === undefined ? [] : [says === answer];
    });
    return known.length === 0 ? undefined : finite(wilson(known.filter(Boolean).length, known.length));
  };
  // What was known already became no label.
  const taught = words.filter(
    ({ row, value }) => !gold.has(row) && preferenceOf(value.choice, value.left) !== undefined,
  );
  const machine = machineLabels(context, run, stage);
  const { people, raw, alpha, machine: against, disagreements, kappa, ...counts } = agreementOf(words, { machine });
  return {
    ...counts,
    labels: taught.length,
    kappa: [...kappa],
    people: people.map(({ leftShare, agreement, outcomes, ...person }) => {
      const right = rightOf(person.who);
      return {
        ...person,
        outcomes: { ...outcomes },
        ...(leftShare && { leftShare: finite(leftShare) }),
        ...(agreement && { agreement: finite(agreement) }),
        ...(right && { gold: right }),
      };
    }),
    ...(raw && { raw: finite(raw) }),
    ...(alpha && { alpha: finite(alpha) }),
    ...(against && { machine: finite(against) }),
    disagreements: disagreements.flatMap(({ row, answers }) => {
      const pair = store.row<PairRow>(row);
      if (!pair) return [];
      const prompt = inWords(pair.prompt);
      const decided = settled.get(row);
      return [
        {
          ...{ row, prompt, a: pair.a, b: pair.b, answers: answers.map((one) => ({ ...one })) },
          ...(decided && { settled: decided }),
        },
      ];
    }),
    command: `tenet run ${context.judge.opened({ id: run }).file ?? "<recipe>"}`,
  };
}

/** The machine's probabilities by pair; human labels that stand over them are read past. */
function machineLabels({ store }: ViewContext, run: string, stage: string): Map<string, number> {
  const labels = new Map<string, number>();
  const found = store.stage(run, stage);
  if (!found) return labels;
  for (const row of store.rows<{ id: string; origin: { parents: string[] }; p: number; label: string }>(found.identity))
    if (row.label !== "human" && row.origin.parents[0] !== undefined) labels.set(row.origin.parents[0], row.p);
  return labels;
}
