import { cohenKappa, type Estimate, krippendorffAlpha, type PairRow, randomStream, wilson } from "@tenet/data";
import type { Queue } from "@tenet/runs";
import { z } from "zod";
import type { Agreement, Figure, NextItem, QueueLine } from "./api.ts";
import type { ViewContext } from "./context.ts";
import { NotFoundError } from "./errors.ts";

/*
 * People judge pairs before they see what the machine said: sides are drawn for each person, and nothing that is shown says whose
 * replies they are. A skip, and two bad replies, are no preference and never become one.
 */

export const choices = ["left much", "left", "tie", "right", "right much", "both bad", "skip"] as const;
export type Choice = (typeof choices)[number];

/** What a queue's spec holds. */
export const queueSpecSchema = z.object({
  run: z.string(),
  stage: z.string(),
  how: z.string(),
  /** People that each item is asked of. */
  overlap: z.int().min(1).max(5),
  guidelines: z.string(),
  question: z.string(),
  reasons: z.array(z.string()),
});
export type QueueSpec = z.output<typeof queueSpecSchema>;

/** What an answer's value holds. */
const answerValueSchema = z.object({
  choice: z.enum(choices),
  /** Which of the pair's replies stood left. */
  left: z.enum(["a", "b"]),
  milliseconds: z.number().optional(),
  reasons: z.array(z.string()).default([]),
});
type AnswerValue = z.output<typeof answerValueSchema>;

/** An item that was given out, and is not to be given to another for so long. */
const leaseMilliseconds = 120_000;

/** Gives items out, so that two people at once get different ones until each has been asked of as many as it should. */
export class Desk {
  readonly #context: ViewContext;
  readonly #leases = new Map<string, { who: string; until: number }[]>();

  constructor(context: ViewContext) {
    this.#context = context;
  }

  next(id: string, who: string): NextItem {
    const { store } = this.#context;
    const queue = queueNamed(this.#context, id);
    const { overlap, question, reasons } = queueSpecSchema.parse(queue.spec);
    const items = store.queueItems(id);
    const answers = store.answers(id);
    const byRow = new Map<string, Set<string>>();
    for (const answer of answers) byRow.set(answer.row, (byRow.get(answer.row) ?? new Set()).add(answer.who));
    const open = items.filter(({ row }) => {
      const asked = byRow.get(row) ?? new Set();
      return !asked.has(who) && asked.size < overlap;
    });
    const free = open.find(({ row }) => {
      const held = this.#held(`${id} ${row}`).filter((lease) => lease.who !== who).length;
      return (byRow.get(row)?.size ?? 0) + held < overlap;
    });
    const done = items.filter(({ row }) => byRow.get(row)?.has(who)).length;
    const shared = { done, total: done + open.length, question, reasons };
    if (!free) return shared;
    const pair = store.row<PairRow>(free.row);
    if (!pair) throw new NotFoundError(`no stage holds the pair ${free.row} of queue ${id} any more`);
    const key = `${id} ${free.row}`;
    this.#leases.set(key, [
      ...this.#held(key).filter((lease) => lease.who !== who),
      { who, until: Date.now() + leaseMilliseconds },
    ]);
    const left = sideOf(id, free.row, who);
    return {
      ...shared,
      item: {
        row: free.row,
        prompt: pair.prompt.map(({ role, content }) => ({ role, content })),
        left: pair[left],
        right: pair[left === "a" ? "b" : "a"],
      },
    };
  }

  release(id: string, row: string, who: string): void {
    const key = `${id} ${row}`;
    this.#leases.set(
      key,
      this.#held(key).filter((lease) => lease.who !== who),
    );
  }

  #held(key: string): { who: string; until: number }[] {
    return (this.#leases.get(key) ?? []).filter(({ until }) => until > Date.now());
  }
}

/** Which reply stands left for a person: drawn once for the queue, the item and them. */
export function sideOf(queue: string, row: string, who: string): "a" | "b" {
  return randomStream({ seed: 0, stage: `review ${queue} ${who}`, item: row }).uniform(0) < 0.5 ? "a" : "b";
}

/** The probability that `a` is better, for who learns from it; undefined where nothing was preferred. How much better is kept beside it. */
export function preferenceOf(choice: Choice, left: "a" | "b"): number | undefined {
  if (choice === "skip" || choice === "both bad") return undefined;
  if (choice === "tie") return 0.5;
  return choice.startsWith("left") === (left === "a") ? 1 : 0;
}

export function queueNamed({ store }: ViewContext, id: string): Queue {
  const found = store.queues().find((queue) => queue.id === id);
  if (!found) throw new NotFoundError(`there is no queue ${JSON.stringify(id)} here`);
  return found;
}

export function queueLine({ store }: ViewContext, queue: Queue): QueueLine {
  const { overlap, guidelines } = queueSpecSchema.parse(queue.spec);
  const answers = store.answers(queue.id);
  const { id, name, who, created, items } = queue;
  return {
    ...{ id, name, who, created, items, overlap, guidelines },
    answers: answers.length,
    people: [...new Set(answers.map((answer) => answer.who))],
  };
}

/** What the answers of a queue say, and how far people agree. */
export function agreementOf(context: ViewContext, queue: Queue): Agreement {
  const { store } = context;
  const { run, stage } = queueSpecSchema.parse(queue.spec);
  const answers = store
    .answers(queue.id)
    .map((answer) => ({ ...answer, value: answerValueSchema.parse(answer.value) }));
  const latest = new Map(answers.map((answer) => [JSON.stringify([answer.row, answer.who]), answer]));
  const words = [...latest.values()];
  const people = [...new Set(words.map(({ who }) => who))];
  const byRow = new Map<string, typeof words>();
  for (const word of words)
    if (saysOf(word.value) !== undefined) byRow.set(word.row, [...(byRow.get(word.row) ?? []), word]);
  const judged = [...byRow.values()];
  const twice = judged.filter((said) => said.length > 1);
  const alpha =
    twice.length > 0 ? krippendorffAlpha(twice.map((said) => said.map(({ value }) => saysOf(value)!))) : undefined;
  const same = twice.filter((said) => new Set(said.map(({ value }) => saysOf(value))).size === 1).length;
  const machine = machineLabels(context, run, stage);
  const against = judged.flatMap((said) => {
    const p = machine.get(said[0]!.row);
    // A machine that is undecided, and a person who ties, agree with nobody.
    return p === undefined || p === 0.5
      ? []
      : said.flatMap(({ value }) => {
          const own = preferenceOf(value.choice, value.left);
          return own === undefined || own === 0.5 ? [] : [own > 0.5 === p > 0.5];
        });
  });
  return {
    people: people.map((who) => {
      const own = words.filter((word) => word.who === who);
      const times = own.flatMap(({ value }) => value.milliseconds ?? []);
      const sided = own.filter(({ value }) => /^(left|right)/.test(value.choice));
      const outcomes: Record<string, number> = {};
      for (const { value } of own) outcomes[value.choice] = (outcomes[value.choice] ?? 0) + 1;
      return {
        who,
        answers: own.length,
        outcomes,
        ...(times.length > 0 && { seconds: times.reduce((sum, time) => sum + time, 0) / times.length / 1000 }),
        ...(sided.length > 0 && {
          leftShare: finite(wilson(sided.filter(({ value }) => value.choice.startsWith("left")).length, sided.length)),
        }),
      };
    }),
    ...(twice.length > 0 && { raw: finite(wilson(same, twice.length)) }),
    ...(alpha && Number.isFinite(alpha.value) && { alpha: finite(alpha) }),
    kappa: people.flatMap((a, i) =>
      people.slice(i + 1).map((b) => {
        const both = twice.flatMap((said) => {
          const [one, other] = [said.find(({ who }) => who === a), said.find(({ who }) => who === b)];
          return one && other ? [[saysOf(one.value)!, saysOf(other.value)!] as [string, string]] : [];
        });
        const kappa = cohenKappa(both);
        return { a, b, n: both.length, ...(Number.isFinite(kappa) && { kappa }) };
      }),
    ),
    ...(against.length > 0 && { machine: finite(wilson(against.filter(Boolean).length, against.length)) }),
    single: judged.length - twice.length,
    disagreements: twice
      .filter((said) => new Set(said.map(({ value }) => saysOf(value))).size > 1)
      .flatMap((said) => {
        const pair = store.row<PairRow>(said[0]!.row);
        if (!pair) return [];
        return [
          {
            row: pair.id,
            prompt: pair.prompt.map(({ role, content }) => ({ role, content })),
            a: pair.a,
            b: pair.b,
            answers: said.map(({ who, value }) => ({ who, says: saysOf(value)! })),
          },
        ];
      }),
    labels: words.filter(({ value }) => preferenceOf(value.choice, value.left) !== undefined).length,
    command: `tenet run ${context.judge.opened({ id: run }).file ?? "<recipe>"}`,
  };
}

/** Which of the pair's replies a person preferred, whichever side it stood on; undefined where they skipped. */
function saysOf({ choice, left }: AnswerValue): "a" | "b" | "tie" | "both bad" | undefined {
  if (choice === "skip") return undefined;
  if (choice === "both bad") return "both bad";
  const p = preferenceOf(choice, left);
  return p === 0.5 ? "tie" : p === 1 ? "a" : "b";
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
