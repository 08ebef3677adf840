import { hostname } from "node:os";
import { Hono } from "hono";
import { z } from "zod";
import type { Curves, Events, RunNote, RunPage, Runs, StoreInfo, Superseded } from "../api.ts";
import { cardOf, formerCard, headline, verdictOf } from "../cards.ts";
import { runNamed, stageNamed, type ViewContext } from "../context.ts";
import { RequestError } from "../errors.ts";
import { planOf } from "../plan.ts";
import { queueLine, reviewQueues } from "../review.ts";
import { Summaries, stageLines } from "../summaries.ts";

/** Events of a page at the end of the log. */
const lastEvents = 30;

export function runRoutes(context: ViewContext): Hono {
  const { store, version, launches } = context;
  const summaries = new Summaries(context);
  const routes = new Hono();

  routes.get("/store", (c) =>
    c.json<StoreInfo>({
      folder: store.folder,
      readOnly: store.readOnly,
      version,
      launches,
      runs: store.runIds().length,
    }),
  );

  routes.get("/runs", (c) => c.json<Runs>({ runs: summaries.all() }));

  routes.get("/runs/:run", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { file } = context.judge.opened(run);
    const card = cardOf(store, run.id);
    return c.json<RunPage>({
      run: summaries.of(run),
      ...(file !== undefined && { file }),
      recipe: run.recipe,
      versions: run.versions,
      stages: stageLines(context, run),
      usage: store.usage(run.id).map((one) => ({ ...one })),
      ...(card && { verdict: verdictOf(card) }),
      superseded: supersededOf(context, run.id),
      queues: reviewQueues(context, run.id).map((queue) => queueLine(context, queue)),
      ...(run.writer && run.status === "running" && { writer: run.writer }),
      events: latest(context, run.id),
    });
  });

  routes.get("/runs/:run/events", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const after = z.coerce.number().int().min(0).default(0).parse(c.req.query("after"));
    return c.json<Events>({ events: store.eventsBehind(run.id, after, 500) });
  });

  routes.get("/runs/:run/stages/:stage/curves", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const stage = stageNamed(context, run.id, c.req.param("stage"));
    const series = new Map<string, [number, number | null][]>();
    for (const { name, step, value } of store.metrics(run.id, { stage: stage.name })) {
      const points = series.get(name) ?? [];
      points.push([step, Number.isFinite(value) ? value : null]);
      series.set(name, points);
    }
    const times = store.stepTimes(run.id, stage.name);
    const begun = times[0] ? Date.parse(times[0].time) : 0;
    return c.json<Curves>({
      stage: stage.name,
      series: [...series].map(([name, points]) => ({ name, points })),
      ...(times.length > 0 && {
        seconds: times.map(({ step, time }): [number, number] => [step, (Date.parse(time) - begun) / 1000]),
      }),
    });
  });
  return routes;
}

function supersededOf(context: ViewContext, run: string): Superseded[] {
  const titles = new Map(planOf(context, run)?.map(({ stage, title }) => [stage, title]));
  return context.store.superseded(run).map((stage) => {
    const { name, replaced, rows, identity } = stage;
    const title = titles.get(name);
    const card = name === "scorecard" ? formerCard(context.store, stage) : undefined;
    const { violations } = card ? headline(card) : {};
    return {
      ...{ stage: name, replaced, rows, identity },
      ...(title !== undefined && { title }),
      ...(violations && { violations }),
    };
  });
}

const noteSchema = z.object({
  who: z.string().trim().min(1).max(200),
  note: z.strictObject({
    name: z.string().max(200).optional(),
    text: z.string().max(10_000).optional(),
    tags: z.array(z.string().min(1).max(60)).max(30).optional(),
    pinned: z.boolean().optional(),
    baseline: z.boolean().optional(),
    archived: z.boolean().optional(),
  }),
});

export function runWrites(context: ViewContext): Hono {
  const { store, live } = context;
  const routes = new Hono();

  /** What is said replaces what was said of the same kind; a baseline takes the place of the one before. */
  routes.post("/runs/:run/note", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { who, note } = noteSchema.parse(await c.req.json());
    const before = new Map(store.runNotes().map(({ run: id, value }) => [id, value as RunNote]));
    if (note.baseline)
      for (const [id, value] of before)
        if (value.baseline && id !== run.id)
          store.addRunNote({ run: id, who, value: plain({ ...value, baseline: false }) });
    const value = plain({ ...before.get(run.id), ...note });
    store.addRunNote({ run: run.id, who, value });
    live.touch();
    return c.json<RunNote>(value);
  });

  /** As Ctrl-C does: the process ends behind what it is at, and the same command continues. */
  routes.post("/runs/:run/stop", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { writer } = run;
    if (run.status !== "running" || !writer) throw new RequestError(`run ${run.id} is not running (${run.status})`);
    if (writer.host !== hostname())
      throw new RequestError(`run ${run.id} is running on ${writer.host}; it can be stopped there`);
    process.kill(writer.pid, "SIGINT");
    return c.json({ stopped: run.id });
  });
  return routes;
}

/** Without what is absent, which JSON does not know. */
function plain(note: { [K in keyof RunNote]?: RunNote[K] | undefined }): Record<string, string | boolean | string[]> {
  return Object.fromEntries(
    Object.entries(note).filter((entry): entry is [string, string | boolean | string[]] => entry[1] !== undefined),
  );
}

function latest({ store }: ViewContext, run: string) {
  const last = store.lastSequence(run);
  return store
    .eventsBehind(run, Math.max(0, last - lastEvents), lastEvents)
    .filter(({ kind }) => kind !== "opened" && kind !== "plan");
}
