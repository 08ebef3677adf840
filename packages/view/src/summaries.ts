import { setImmediate as breathe } from "node:timers/promises";
import { isLearntFrom } from "@tenet/align";
import type { RunInfo, RunTotals, StageInfo } from "@tenet/runs";
import type { Progress, RunNote, RunSummary, StageLine } from "./api.ts";
import { cardOf, headline } from "./cards.ts";
import type { ViewContext } from "./context.ts";
import { planOf } from "./plan.ts";
import { progressOf } from "./progress.ts";
import { TimesLeft } from "./time-left.ts";

/** Runs that one list sums up which were not looked at before, the latest first; the others are read meanwhile, for the next list. */
const mostAtOnce = 25;

/**
 * The runs of a store as a list shows them. A run that nobody writes stays as it is until it is begun again: it is summed up once, and
 * again only where the store says that it was written since.
 */
export class Summaries {
  readonly #context: ViewContext;
  readonly #kept = new Map<string, RunSummary>();
  readonly #timesLeft: TimesLeft;
  #totals: { readonly version: string; readonly of: Map<string, RunTotals> } | undefined;
  #catchingUp = false;

  constructor(context: ViewContext) {
    this.#context = context;
    this.#timesLeft = new TimesLeft(context);
  }

  all(): RunSummary[] {
    const { store } = this.#context;
    const notes = new Map(store.runNotes().map(({ run, value }) => [run, value as RunNote]));
    const runs = store.runs();
    const unknown = runs.filter((run) => !this.#isKept(run));
    // Those of all at once are quicker than one by one, where many are asked for.
    const totals = unknown.length > runs.length / 4 ? this.#allTotals() : undefined;
    const later = new Set(unknown.filter(({ status }) => status !== "running").slice(mostAtOnce));
    const found = runs.map((run): RunSummary => {
      const note = notes.get(run.id) ?? {};
      if (later.has(run))
        return { ...bare(run, totals?.get(run.id) ?? store.totals({ run: run.id }).get(run.id)), pending: true, note };
      return { ...this.#summary(run, totals), note };
    });
    if (later.size > 0) void this.#catchUp();
    return found;
  }

  of(run: RunInfo): RunSummary {
    const note = this.#context.store.runNotes({ run: run.id })[0]?.value as RunNote | undefined;
    return { ...this.#summary(run, undefined), note: note ?? {} };
  }

  /** Of all runs, read once as long as nothing is written. */
  #allTotals(): Map<string, RunTotals> {
    const { store, live } = this.#context;
    const version = live.version();
    if (this.#totals?.version !== version) this.#totals = { version, of: store.totals() };
    return this.#totals.of;
  }

  #isKept({ id, status, updated }: RunInfo): boolean {
    const kept = this.#kept.get(id);
    return status !== "running" && kept?.updated === updated && kept.status === status;
  }

  #summary(run: RunInfo, totals: Map<string, RunTotals> | undefined): RunSummary {
    if (this.#isKept(run)) return this.#kept.get(run.id)!;
    const { store } = this.#context;
    const made = this.#of(run, (totals ?? store.totals({ run: run.id })).get(run.id));
    if (run.status !== "running") this.#kept.set(run.id, made);
    return made;
  }

  #of(run: RunInfo, totals: RunTotals | undefined): RunSummary {
    const { store, judge } = this.#context;
    const { stages = {} } = totals ?? {};
    const { constitution, hash } = judge.opened(run);
    const plan = planOf(this.#context, run.id);
    const isRunning = run.status === "running";
    const progress = isRunning ? this.#underWay(run.id, stages) : undefined;
    const timeLeft = isRunning ? this.#timesLeft.of(run) : undefined;
    const labelled =
      Object.entries(stages)
        .filter(([name, { kind }]) => isLearntFrom({ name, kind }, plan))
        .at(-1)?.[1].rows ?? 0;
    const card = stages.scorecard && cardOf(store, run.id);
    const shared = bare(run, totals);
    return {
      ...shared,
      // What had nothing to do leaves no trace in a run that is done, and is missing from nothing.
      stages: {
        ...shared.stages,
        ...(plan && { planned: run.status === "done" ? shared.stages.begun : plan.length }),
      },
      ...(constitution && hash && { constitution: { name: constitution.name, version: constitution.version, hash } }),
      labelled,
      ...(progress && { progress }),
      ...(timeLeft && { timeLeft }),
      ...(card && headline(card)),
    };
  }

  /** Sums up the runs that a list had no time for, one at a time, and says when there is more to show. */
  async #catchUp(): Promise<void> {
    if (this.#catchingUp) return;
    this.#catchingUp = true;
    const { store, live } = this.#context;
    try {
      await breathe();
      for (const run of store.runs()) {
        if (live.closed) return;
        if (this.#isKept(run) || run.status === "running") continue;
        this.#summary(run, undefined);
        await breathe();
      }
      this.#totals = undefined;
    } finally {
      this.#catchingUp = false;
    }
    live.touch();
  }

  #underWay(run: string, stages: RunTotals["stages"]): Progress | undefined {
    const { store } = this.#context;
    const found = store.progress(run).findLast(({ stage }) => stages[stage]?.status === "running");
    return found && progressOf(found);
  }
}

/** What the store says of a run by itself, without looking into what it did. */
function bare(run: RunInfo, totals: RunTotals | undefined): RunSummary {
  const { done = 0, begun = 0, seconds = 0, tokens = 0, dollars } = totals ?? {};
  return {
    id: run.id,
    name: run.name,
    status: run.status,
    ...(run.error !== undefined && { error: run.error }),
    created: run.created,
    updated: run.updated,
    stages: { done, begun },
    seconds,
    tokens,
    ...(dollars !== undefined && { dollars }),
    note: {},
  };
}

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
    if (!stage) {
      const status = run.status === "done" ? "not needed" : "planned";
      return { ...shared, status, shared: false, seconds: 0, rows: 0, aside: 0, tokens: 0 };
    }
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
