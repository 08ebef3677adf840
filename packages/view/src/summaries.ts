import { setImmediate as breathe } from "node:timers/promises";
import { isLearntFrom } from "@tenet/align";
import type { RunInfo, RunTotals, StageInfo, Progress as StoredProgress } from "@tenet/runs";
import type { Progress, RunNote, RunSummary, StageLine } from "./api.ts";
import { cardOf, headline } from "./cards.ts";
import type { ViewContext } from "./context.ts";
import { planOf } from "./plan.ts";

export function progressOf({ begun, started, ...progress }: StoredProgress): Progress {
  const done = progress.done - begun;
  const seconds = (Date.parse(progress.updated) - Date.parse(started)) / 1000;
  const left = progress.total - progress.done;
  return {
    ...progress,
    // A rate of one word is none.
    ...(done > 0 && seconds > 0 && { secondsLeft: (left * seconds) / done }),
  };
}

/** Time that one list may spend on reading scorecards; those that are left are read meanwhile, for the next. */
const mostMilliseconds = 300;

/** The runs of a store as a list shows them. What a scorecard says is kept by the scorecard's identity, and read once. */
export class Summaries {
  readonly #context: ViewContext;
  readonly #headlines = new Map<string, Headline>();
  readonly #summaries = new Map<string, RunSummary>();
  #catchingUp = false;

  constructor(context: ViewContext) {
    this.#context = context;
  }

  all(): RunSummary[] {
    const { store } = this.#context;
    const notes = new Map(store.runNotes().map(({ run, value }) => [run, value as RunNote]));
    const until = performance.now() + mostMilliseconds;
    const runs = store.runs();
    // Those of all at once are quicker than one by one, where many are asked for.
    const unknown = runs.filter((run) => !this.#isKept(run));
    const totals = unknown.length > runs.length / 4 ? store.totals() : undefined;
    return runs.map((run) => ({ ...this.#kept(run, totals, until), note: notes.get(run.id) ?? {} }));
  }

  of(run: RunInfo): RunSummary {
    const note = this.#context.store.runNotes({ run: run.id })[0]?.value as RunNote | undefined;
    return { ...this.#kept(run, undefined, Number.POSITIVE_INFINITY), note: note ?? {} };
  }

  /** A run that nobody writes stays as it is until it is begun again. */
  #isKept({ id, status, updated }: RunInfo): boolean {
    return status !== "running" && this.#summaries.get(id)?.updated === updated;
  }

  #kept(run: RunInfo, totals: Map<string, RunTotals> | undefined, until: number): RunSummary {
    if (this.#isKept(run)) return this.#summaries.get(run.id)!;
    const { store } = this.#context;
    const own = (totals ?? store.totals({ run: run.id })).get(run.id);
    const made = this.#of(run, own, until);
    const isWhole = made.tone !== undefined || own?.stages.scorecard === undefined;
    if (run.status !== "running" && isWhole) this.#summaries.set(run.id, made);
    return made;
  }

  #of(run: RunInfo, totals: RunTotals | undefined, until: number): RunSummary {
    const { done = 0, begun = 0, seconds = 0, tokens = 0, dollars, stages = {} } = totals ?? {};
    const { constitution, hash } = this.#context.judge.opened(run);
    const plan = planOf(this.#context, run.id);
    const progress = run.status === "running" ? this.#underWay(run.id, stages) : undefined;
    const labelled =
      Object.entries(stages)
        .filter(([name, { kind }]) => isLearntFrom({ name, kind }, plan))
        .at(-1)?.[1].rows ?? 0;
    return {
      id: run.id,
      name: run.name,
      status: run.status,
      ...(run.error !== undefined && { error: run.error }),
      created: run.created,
      updated: run.updated,
      stages: { done, begun, ...(plan && { planned: plan.length }) },
      seconds,
      tokens,
      ...(dollars !== undefined && { dollars }),
      ...(constitution && hash && { constitution: { name: constitution.name, version: constitution.version, hash } }),
      note: {},
      labelled,
      ...(progress && { progress }),
      ...this.#headline(run.id, stages.scorecard?.identity, until),
    };
  }

  #headline(run: string, identity: string | undefined, until: number): Headline {
    if (identity === undefined) return {};
    const known = this.#headlines.get(identity);
    if (known) return known;
    if (performance.now() > until) {
      void this.#catchUp();
      return {};
    }
    const card = cardOf(this.#context.store, run);
    if (!card) return {};
    const made = headline(card);
    this.#headlines.set(identity, made);
    return made;
  }

  /** Reads the scorecards that a list had no time for, one at a time, and says when there is more to show. */
  async #catchUp(): Promise<void> {
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    const { store, live } = this.#context;
    await breathe();
    for (const [run, { stages }] of store.totals()) {
      if (live.closed) return;
      this.#headline(run, stages.scorecard?.identity, Number.POSITIVE_INFINITY);
      await breathe();
    }
    this.#catchingUp = false;
    live.touch();
  }

  #underWay(run: string, stages: RunTotals["stages"]): Progress | undefined {
    const { store } = this.#context;
    const found = store.progress(run).findLast(({ stage }) => stages[stage]?.status === "running");
    return found && progressOf(found);
  }
}

type Headline = ReturnType<typeof headline> | Record<string, never>;

/** The stages of a run in the order of its plan; those that only an earlier opening planned come last. */
export function stageLines(context: ViewContext, run: RunInfo): StageLine[] {
  const { store } = context;
  const plan = planOf(context, run.id) ?? [];
  const begun = new Map(store.stages(run.id).map((stage) => [stage.name, stage]));
  const told = new Map(store.progress(run.id).map((one) => [one.stage, one]));
  const tokens = new Map<string, number>();
  for (const { stage, promptTokens, completionTokens } of store.usage(run.id))
    tokens.set(stage, (tokens.get(stage) ?? 0) + promptTokens + completionTokens);
  const planned = new Map(plan.map((one) => [one.stage, one]));
  const unplanned = [...begun.keys()].filter((name) => !planned.has(name));
  const titles = unplanned.length > 0 ? titlesOf(context, run.id) : new Map<string, string>();
  const names = [...planned.keys(), ...unplanned];
  return names.map((name): StageLine => {
    const stage = begun.get(name);
    const title = planned.get(name)?.title ?? titles.get(name);
    const shared = { name, inputs: planned.get(name)?.inputs ?? [], ...(title !== undefined && { title }) };
    if (!stage) return { ...shared, status: "planned", shared: false, seconds: 0, rows: 0, aside: 0, tokens: 0 };
    const progress = stage.status === "running" ? told.get(name) : undefined;
    return {
      ...shared,
      ...lineOf(stage),
      tokens: tokens.get(name) ?? 0,
      ...(progress && { progress: progressOf(progress) }),
    };
  });
}

export function lineOf(stage: StageInfo): StageLine {
  const { name, kind, status, attempts, seconds, rows, aside, error, started, finished, identity } = stage;
  return {
    name,
    kind,
    status,
    shared: attempts === 0 && status === "done",
    inputs: [],
    seconds,
    rows,
    aside,
    tokens: 0,
    started,
    identity,
    ...(error !== undefined && { error }),
    ...(finished !== undefined && { finished }),
  };
}

/** Titles as the stages told them, for runs that have no plan. */
function titlesOf({ store }: ViewContext, run: string): Map<string, string> {
  const titles = new Map<string, string>();
  for (let after = 0; ; ) {
    const events = store.eventsBehind(run, after, 500);
    for (const { kind, stage, data } of events) {
      const { title } = (data ?? {}) as { title?: unknown };
      if (kind === "stage" && stage !== undefined && typeof title === "string") titles.set(stage, title);
    }
    if (events.length < 500) return titles;
    after = events.at(-1)!.sequence;
  }
}
