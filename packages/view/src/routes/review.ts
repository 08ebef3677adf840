import { choices, Desk, labelOrders, makeQueue, ordered, usualQuestion } from "@tenet/align";
import type { PairRow } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import type { Agreement, NextItem, Queues } from "../api.ts";
import { runNamed, stageNamed, type ViewContext } from "../context.ts";
import { NotFoundError, RequestError } from "../errors.ts";
import type { PairKey } from "../pair-key.ts";
import { labelStages, pairsFound } from "../pairs.ts";
import { queueLine, queueNamed, resultsOf, reviewQueues, settledSchema } from "../review.ts";

const who = z.string().trim().min(1).max(200);

export function reviewRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();
  routes.get("/queues", (c) => {
    return c.json<Queues>({ queues: reviewQueues(context).map((queue) => queueLine(context, queue)) });
  });
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
  /** Share of items whose answer is known already, by the checks or by people, to see who judges as they do. */
  gold: z.number().min(0).max(0.5).default(0),
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
    const { name, how, size, overlap, gold, guidelines, question, ...asked } = newQueueSchema.parse(await c.req.json());
    const run = runNamed(context, asked.run);
    const stage =
      asked.stage === undefined ? labelStages(context, run.id).at(-1) : stageNamed(context, run.id, asked.stage);
    if (!stage) throw new RequestError(`run ${run.id} has no labelled pairs yet`);
    const sort = how === "random" || how === "made" ? "order" : how;
    const all = await pairsFound(context, run, stage, { sort });
    if (all.length === 0) throw new RequestError(`stage ${stage.name} of ${run.id} has no pairs to judge`);
    const salt = `${run.id} ${stage.name}`;
    const answers = new Map(all.filter(isKnown).map(({ pair, p }) => [pair, p > 0.5 ? "a" : "b"] as const));
    const known = ordered(
      [...answers.keys()].map((row) => ({ row })),
      "random",
      { name: `gold of ${salt}` },
    )
      .slice(0, Math.round(gold * size))
      .map(({ row }) => ({ row, gold: answers.get(row)! }));
    const asGold = new Set(known.map(({ row }) => row));
    const open = all.flatMap(({ pair: row }) => (asGold.has(row) ? [] : [{ row }]));
    const drawn = how === "random" ? ordered(open, how, { name: salt }) : open;
    const pairs: { row: string; gold?: string }[] = drawn.slice(0, size - known.length).map(({ row }) => ({ row }));
    // Spread evenly: nothing about its place tells a known one.
    for (const [i, item] of known.entries())
      pairs.splice(Math.floor(((i + 0.5) * (pairs.length - i)) / known.length) + i, 0, item);
    const made = makeQueue(store, {
      ...{ run, stage: stage.name, how, name, who: asked.who, overlap, guidelines, question },
      pairs,
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

  /** Where people differ, one decides: theirs is the pair's only label from then on, and what the others answered stays. */
  routes.post("/queues/:queue/settle", async (c) => {
    const queue = queueNamed(context, c.req.param("queue"));
    const { row, ...said } = settledSchema
      .extend({ row: z.string(), who, why: z.string().trim().min(1).max(5000) })
      .parse(await c.req.json());
    if (!store.queueItems(queue.id).some((item) => item.row === row))
      throw new NotFoundError(`queue ${queue.id} holds no pair ${JSON.stringify(row)}`);
    const { says, why } = said;
    store.addAnnotation({ row, kind: "settled", about: queue.id, value: { says, why }, who: said.who });
    store.settleLabel({ pair: row, p: says === "tie" ? 0.5 : says === "a" ? 1 : 0, who: said.who, note: why });
    live.touch();
    return c.json({ settled: row });
  });

  routes.post("/queues/:queue/undo", async (c) => {
    const asked = z.object({ who }).parse(await c.req.json());
    const row = desk.undo(c.req.param("queue"), asked.who);
    live.touch();
    return c.json({ ...(row !== undefined && { row }) });
  });
  return routes;
}

/** Whether what is better of a pair was said by rule or by people, and not by a model. */
const isKnown = ({ label, p }: PairKey) => (label === "check" || label === "human") && (p === 0 || p === 1);
