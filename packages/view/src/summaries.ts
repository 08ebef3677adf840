import type { RunInfo, StageInfo, Progress as StoredProgress } from "@tenet/runs";
import { z } from "zod";
import type { Progress, RunNote, RunSummary, StageLine } from "./api.ts";
import { cardOf, headline } from "./cards.ts";
import { labelStages } from "./chains-and-pairs.ts";
import type { ViewContext } from "./context.ts";

const planSchema = z.array(z.object({ stage: z.string(), title: z.string(), inputs: z.array(z.string()).default([]) }));
export type Planned = z.output<typeof planSchema>[number];

/** Every stage that a run set out to execute, in its order; undefined for runs of before, which did not say. */
export function planOf({ store }: Pick<ViewContext, "store">, run: string): Planned[] | undefined {
  const event = store.lastEvent(run, "plan");
  return event && planSchema.safeParse(event.data).data;
}

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

export function summaryOf(context: ViewContext, run: RunInfo, note: RunNote = {}): RunSummary {
  const { store, judge } = context;
  const stages = store.stages(run.id);
  const usage = store.usage(run.id);
  const dollars = usage.flatMap((one) => one.dollars ?? []);
  const { constitution, hash } = judge.opened(run);
  const plan = planOf(context, run.id);
  const progress = run.status === "running" ? underWay(context, run.id, stages) : undefined;
  const card = cardOf(store, run.id);
  return {
    id: run.id,
    name: run.name,
    status: run.status,
    ...(run.error !== undefined && { error: run.error }),
    created: run.created,
    updated: run.updated,
    stages: {
      done: stages.filter(({ status }) => status === "done").length,
      begun: stages.length,
      ...(plan && { planned: plan.length }),
    },
    seconds: sum(stages.map((stage) => stage.seconds)),
    tokens: sum(usage.map((one) => one.promptTokens + one.completionTokens)),
    ...(dollars.length > 0 && { dollars: sum(dollars) }),
    ...(constitution && hash && { constitution: { name: constitution.name, version: constitution.version, hash } }),
    note,
    labelled: labelStages(store, run.id).at(-1)?.rows ?? 0,
    ...(progress && { progress }),
    ...(card && headline(card)),
  };
}

function underWay({ store }: ViewContext, run: string, stages: readonly StageInfo[]): Progress | undefined {
  const at = stages.findLast(({ status }) => status === "running");
  const found = at && store.progress(run).find(({ stage }) => stage === at.name);
  return found && progressOf(found);
}

/** The stages of a run in the order of its plan; those that only an earlier opening planned come last. */
export function stageLines(context: ViewContext, run: RunInfo): StageLine[] {
  const { store } = context;
  const plan = planOf(context, run.id) ?? [];
  const begun = new Map(store.stages(run.id).map((stage) => [stage.name, stage]));
  const told = new Map(store.progress(run.id).map((one) => [one.stage, one]));
  const titles = titlesOf(context, run.id);
  const tokens = new Map<string, number>();
  for (const { stage, promptTokens, completionTokens } of store.usage(run.id))
    tokens.set(stage, (tokens.get(stage) ?? 0) + promptTokens + completionTokens);
  const planned = new Map(plan.map((one) => [one.stage, one]));
  const names = [...planned.keys(), ...[...begun.keys()].filter((name) => !planned.has(name))];
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

const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
