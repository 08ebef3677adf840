import type { RunWriter } from "@tenet/runs";
import type { RunEvent } from "./events.ts";
import { inOrder, type Stage } from "./stages/index.ts";

/*
 * What somebody who watches a run in its store wants to know beforehand and meanwhile: docs/view.md.
 */

/** The least time between two words about a stage's progress. */
const leastMilliseconds = 1000;

/** The stages that are to be executed, in their order, before any of them begins. What is given and not made is none. */
export function planOf(targets: readonly Stage[]): { stage: string; title: string; inputs: string[] }[] {
  const stages = inOrder(targets).filter(({ kind }) => kind !== undefined);
  const names = new Set(stages.map(({ name }) => name));
  return stages.map(({ name, title, inputs }) => ({
    stage: name,
    title,
    inputs: inputs.map((input) => input.name).filter((input) => names.has(input)),
  }));
}

/** Writes down how far the stage at work has come: seldom, but always its end. */
export class Watched {
  readonly #run: RunWriter;
  #last = { stage: "", time: Number.NEGATIVE_INFINITY };

  constructor(run: RunWriter) {
    this.#run = run;
  }

  take(event: RunEvent): void {
    if (event.type !== "progress" && event.type !== "metrics") return;
    const { stage } = event;
    const progress =
      event.type === "progress"
        ? { done: event.done, total: event.total, unit: event.unit }
        : { done: event.step, total: event.of ?? event.step, unit: "steps" };
    const now = performance.now();
    const due = stage !== this.#last.stage || now - this.#last.time >= leastMilliseconds;
    const ended = progress.done === progress.total && !(event.type === "metrics" && event.of === undefined);
    if (!due && !ended) return;
    this.#last = { stage, time: now };
    this.#run.progress({ stage, ...progress });
  }
}
