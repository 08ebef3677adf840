import { agreementOf, Desk, type PairRow, reviewSpecSchema, wordsOf } from "@tenet/align";
import type { Estimate } from "@tenet/data";
import type { Queue } from "@tenet/runs";
import type { Agreement, Figure, QueueLine } from "./api.ts";
import type { ViewContext } from "./context.ts";

export function queueNamed({ store }: ViewContext, id: string): Queue {
  return new Desk(store).queue(id);
}

export function queueLine({ store }: ViewContext, queue: Queue): QueueLine {
  const { overlap, guidelines } = reviewSpecSchema.parse(queue.spec);
  const answers = store.answers(queue.id);
  const { id, name, who, created, items } = queue;
  return {
    ...{ id, name, who, created, items, overlap, guidelines },
    answers: answers.length,
    people: [...new Set(answers.map((answer) => answer.who))],
  };
}

/** What the answers of a queue say, and how far people agree, as the page shows it. */
export function resultsOf(context: ViewContext, queue: Queue): Agreement {
  const { store } = context;
  const { run, stage } = reviewSpecSchema.parse(queue.spec);
  const machine = machineLabels(context, run, stage);
  const {
    people,
    raw,
    alpha,
    machine: against,
    disagreements,
    kappa,
    ...counts
  } = agreementOf(wordsOf(store.answers(queue.id)), { machine });
  return {
    ...counts,
    kappa: [...kappa],
    people: people.map(({ leftShare, agreement, outcomes, ...person }) => ({
      ...person,
      outcomes: { ...outcomes },
      ...(leftShare && { leftShare: finite(leftShare) }),
      ...(agreement && { agreement: finite(agreement) }),
    })),
    ...(raw && { raw: finite(raw) }),
    ...(alpha && { alpha: finite(alpha) }),
    ...(against && { machine: finite(against) }),
    disagreements: disagreements.flatMap(({ row, answers }) => {
      const pair = store.row<PairRow>(row);
      if (!pair) return [];
      const prompt = pair.prompt.map(({ role, content }) => ({ role, content }));
      return [{ row, prompt, a: pair.a, b: pair.b, answers: answers.map((one) => ({ ...one })) }];
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

/** JSON has no infinity: where nothing bounds a figure, its bound is null. */
export function finite({ value, interval: [low, high], n }: Estimate): Figure {
  const bound = (x: number) => (Number.isFinite(x) ? x : null);
  return { value, interval: [bound(low), bound(high)], n };
}
