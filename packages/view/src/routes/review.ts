import { choices, Desk, labelOrders, makeQueue, ordered, usualQuestion } from "@tenet/align";
import type { PairRow } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import type { Agreement, NextItem, Queues } from "../api.ts";
import { runNamed, stageNamed, type ViewContext } from "../context.ts";
import { NotFoundError, RequestError } from "../errors.ts";
import { labelStages, pairsFound } from "../pairs.ts";
import { queueLine, queueNamed, resultsOf } from "../review.ts";

const who = z.string().trim().min(1).max(200);

export function reviewRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();
  routes.get("/queues", (c) => c.json<Queues>({ queues: store.queues().map((queue) => queueLine(context, queue)) }));
  routes.get("/queues/:queue/results", (c) =>
    c.json<Agreement>(resultsOf(context, queueNamed(context, c.req.param("queue")))),
  );
  /** Every answer with who, when, how long, and which side stood where. */
  routes.get("/queues/:queue/answers.jsonl", (c) => {
    const queue = queueNamed(context, c.req.param("queue"));
    const lines = store.answers(queue.id).map(({ value, ...answer }) => JSON.stringify({ ...answer, ...value }));
    return c.body(lines.map((line) => `${line}\n`).join(""), 200, {
      "content-type": "application/x-ndjson",
      "content-disposition": `attachment; filename="${queue.id}.jsonl"`,
    });
  });
  return routes;
}

const newQueueSchema = z.object({
  name: z.string().trim().min(1).max(200),
  run: z.string(),
  /** A stage of labelled pairs; default the last. */
  stage: z.string().optional(),
  how: z.enum(labelOrders).default("random"),
  size: z.int().min(1).max(2000).default(30),
  overlap: z.int().min(1).max(5).default(1),
  guidelines: z.string().max(20_000).default(""),
  question: z.string().trim().min(1).max(1000).default(usualQuestion),
  who,
});

const answerSchema = z.object({
  row: z.string(),
  who,
  choice: z.enum(choices),
  milliseconds: z.number().min(0).max(86_400_000).optional(),
  reasons: z.array(z.string().max(200)).max(20).default([]),
  note: z.string().max(5000).optional(),
});

export function reviewWrites(context: ViewContext): Hono {
  const { store, live, judge } = context;
  const desk = new Desk(store);
  const routes = new Hono();

  routes.post("/queues", async (c) => {
    const { name, how, size, overlap, guidelines, question, ...asked } = newQueueSchema.parse(await c.req.json());
    const run = runNamed(context, asked.run);
    const stage =
      asked.stage === undefined ? labelStages(context, run.id).at(-1) : stageNamed(context, run.id, asked.stage);
    if (!stage) throw new RequestError(`run ${run.id} has no labelled pairs yet`);
    const sort = how === "random" || how === "made" ? "order" : how;
    const found = (await pairsFound(context, run, stage, { sort })).map(({ pair: row }) => ({ row }));
    if (found.length === 0) throw new RequestError(`stage ${stage.name} of ${run.id} has no pairs to judge`);
    const drawn = how === "random" ? ordered(found, how, { name: `${run.id} ${stage.name}` }) : found;
    const made = makeQueue(store, {
      ...{ run, stage: stage.name, how, name, who: asked.who, overlap, guidelines, question },
      pairs: drawn.slice(0, size),
      constitution: judge.opened(run).constitution,
    });
    live.touch();
    return c.json(made);
  });

  // An item is lent to a person while they look at it, so this is no reading.
  routes.post("/queues/:queue/next", async (c) => {
    const asked = z.object({ who }).parse(await c.req.json());
    const { item, reasons, ...turn } = desk.next(c.req.param("queue"), asked.who);
    return c.json<NextItem>({
      ...turn,
      reasons: [...reasons],
      ...(item && { item: { ...item, prompt: [...item.prompt] } }),
    });
  });

  routes.post("/queues/:queue/answers", async (c) => {
    const queue = queueNamed(context, c.req.param("queue"));
    const { row, who: person, ...said } = answerSchema.parse(await c.req.json());
    if (!store.row<PairRow>(row)) throw new NotFoundError(`no stage holds a pair ${JSON.stringify(row)}`);
    const id = desk.answer(queue.id, row, person, said);
    live.touch();
    return c.json({ answer: id });
  });

  routes.post("/queues/:queue/undo", async (c) => {
    const asked = z.object({ who }).parse(await c.req.json());
    const row = desk.undo(c.req.param("queue"), asked.who);
    live.touch();
    return c.json({ ...(row !== undefined && { row }) });
  });
  return routes;
}
