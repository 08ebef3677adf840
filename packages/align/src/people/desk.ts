import { inWords, type Message, type PairRow } from "@tenet/data";
import { NotInStoreError, type Queue, type Store } from "@tenet/runs";
import { type AnswerValue, answerOf, type Choice, drawnSide, reviewSpecSchema } from "./answers.ts";

/** An item that was given out, and is not to be given to another for so long. */
const leaseMilliseconds = 120_000;

/** A pair to judge, without anything that says whose replies they are. */
export interface DeskItem {
  readonly row: string;
  readonly prompt: readonly Message[];
  readonly left: string;
  readonly right: string;
}

/** What a person is given next, and how far they are. */
export interface DeskTurn {
  /** Absent where nothing is left for them. */
  readonly item?: DeskItem;
  readonly done: number;
  readonly total: number;
  readonly question: string;
  /** Ids of principles, as reasons to choose from. */
  readonly reasons: readonly string[];
}

/**
 * Gives the pairs of stored queues to people, and takes what they say: for every program that asks people. Two at once get different ones
 * until each pair has been asked of as many as its queue wants. What is answered is in the store before `answer` returns.
 */
export class Desk {
  readonly #store: Store;
  readonly #leases = new Map<string, { who: string; until: number }[]>();

  constructor(store: Store) {
    this.#store = store;
  }

  /** @throws NotInStoreError where there is no such queue, or no stage holds its pair any more. */
  next(id: string, who: string): DeskTurn {
    const { overlap, question, reasons } = reviewSpecSchema.parse(this.queue(id).spec);
    const items = this.#store.queueItems(id);
    const byRow = new Map<string, Set<string>>();
    for (const answer of this.#store.answers(id))
      byRow.set(answer.row, (byRow.get(answer.row) ?? new Set()).add(answer.who));
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
    const key = `${id} ${free.row}`;
    this.#leases.set(key, [
      ...this.#held(key).filter((lease) => lease.who !== who),
      { who, until: Date.now() + leaseMilliseconds },
    ]);
    return { ...shared, item: this.item(id, free.row, who) };
  }

  /** A pair as a person sees it. @throws NotInStoreError where no stage holds it any more. */
  item(id: string, row: string, who: string): DeskItem {
    const pair = this.#store.row<PairRow>(row);
    if (!pair) throw new NotInStoreError(`no stage holds the pair ${row} of queue ${id} any more`);
    const left = drawnSide(id, row, who);
    const prompt = inWords(pair.prompt);
    return { row, prompt, left: pair[left], right: pair[left === "a" ? "b" : "a"] };
  }

  /** Takes a person's answer, and with it the label that it stands for. Gives the answer's number. */
  answer(
    id: string,
    row: string,
    who: string,
    said: { readonly choice: Choice } & Pick<Partial<AnswerValue>, "milliseconds" | "reasons"> & {
        readonly note?: string | undefined;
      },
  ): number {
    const answer = answerOf({ ...said, left: drawnSide(id, row, who) });
    const number = this.#store.addAnswer({ queue: id, row, who, ...answer });
    const key = `${id} ${row}`;
    this.#leases.set(
      key,
      this.#held(key).filter((lease) => lease.who !== who),
    );
    return number;
  }

  /** Takes a person's last answer back, and gives the pair that it was about. */
  undo(id: string, who: string): string | undefined {
    return this.#store.undoAnswer(this.queue(id).id, who)?.row;
  }

  /** @throws NotInStoreError that names the queues there are. */
  queue(id: string): Queue {
    const queues = this.#store.queues();
    const found = queues.find((queue) => queue.id === id);
    if (found) return found;
    const known = queues.map((queue) => queue.id).join(", ") || "none";
    throw new NotInStoreError(`${this.#store.folder} holds no queue ${JSON.stringify(id)}; it holds ${known}`);
  }

  #held(key: string): { who: string; until: number }[] {
    return (this.#leases.get(key) ?? []).filter(({ until }) => until > Date.now());
  }
}
