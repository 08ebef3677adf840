import { randomBytes } from "node:crypto";
import { type PairRow, randomStream } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import type { Agreement, NextItem, Queues } from "../api.ts";
import { runNamed, stageNamed, type ViewContext } from "../context.ts";
import { NotFoundError, RequestError } from "../errors.ts";
import type { PairKey } from "../pair-key.ts";
import { labelStages, pairsFound } from "../pairs.ts";
import { agreementOf, choices, Desk, preferenceOf, type QueueSpec, queueLine, queueNamed, sideOf } from "../review.ts";

const who = z.string().trim().min(1).max(200);

export function reviewRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();
  routes.get("/queues", (c) => c.json<Queues>({ queues: store.queues().map((queue) => queueLine(context, queue)) }));
  routes.get("/queues/:queue/results", (c) =>
    c.json<Agreement>(agreementOf(context, queueNamed(context, c.req.param("queue")))),
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
  how: z.enum(["random", "uncertain", "position", "checks"]).default("random"),
  size: z.int().min(1).max(2000).default(30),
  overlap: z.int().min(1).max(5).default(1),
  guidelines: z.string().max(20_000).default(""),
  question: z.string().trim().min(1).max(1000).default("Which reply is better?"),
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
  const desk = new Desk(context);
  const routes = new Hono();

  routes.post("/queues", async (c) => {
    const { name, how, size, overlap, guidelines, question, ...asked } = newQueueSchema.parse(await c.req.json());
    const run = runNamed(context, asked.run);
    const stage =
      asked.stage === undefined ? labelStages(context, run.id).at(-1) : stageNamed(context, run.id, asked.stage);
    if (!stage) throw new RequestError(`run ${run.id} has no labelled pairs yet`);
    const sort = how === "random" ? "order" : how;
    const pairs = await pairsFound(context, run, stage, { sort });
    const drawn = (how === "random" ? shuffled(pairs, `${run.id} ${stage.name}`) : [...pairs]).slice(0, size);
    if (drawn.length === 0) throw new RequestError(`stage ${stage.name} of ${run.id} has no pairs to judge`);
    const id = `${
      name
        .toLowerCase()
        .replaceAll(/[^a-z0-9]+/g, "-")
        .replaceAll(/^-|-$/g, "")
        .slice(0, 40) || "queue"
    }-${randomBytes(3).toString("hex")}`;
    const reasons = (judge.opened(run).constitution?.principles ?? []).slice(0, 9).map((principle) => principle.id);
    const spec: QueueSpec = { run: run.id, stage: stage.name, how, overlap, guidelines, question, reasons };
    store.addQueue({ id, name, spec, items: drawn.map(({ pair }) => ({ row: pair })), who: asked.who });
    live.touch();
    return c.json({ id, items: drawn.length });
  });

  // An item is lent to a person while they look at it, so this is no reading.
  routes.post("/queues/:queue/next", async (c) => {
    const asked = z.object({ who }).parse(await c.req.json());
    return c.json<NextItem>(desk.next(c.req.param("queue"), asked.who));
  });

  routes.post("/queues/:queue/answers", async (c) => {
    const queue = queueNamed(context, c.req.param("queue"));
    const { row, note, ...said } = answerSchema.parse(await c.req.json());
    if (!store.row<PairRow>(row)) throw new NotFoundError(`no stage holds a pair ${JSON.stringify(row)}`);
    const left = sideOf(queue.id, row, said.who);
    const p = preferenceOf(said.choice, left);
    const { choice, milliseconds, reasons } = said;
    const id = store.addAnswer({
      queue: queue.id,
      row,
      who: said.who,
      value: {
        choice,
        left,
        reasons,
        blind: true,
        ...(milliseconds !== undefined && { milliseconds }),
        ...(note !== undefined && { note }),
      },
      ...(p !== undefined && { p }),
      ...(note !== undefined && { note }),
    });
    desk.release(queue.id, row, said.who);
    live.touch();
    return c.json({ answer: id });
  });

  routes.post("/queues/:queue/undo", async (c) => {
    const asked = z.object({ who }).parse(await c.req.json());
    const undone = store.undoAnswer(queueNamed(context, c.req.param("queue")).id, asked.who);
    live.touch();
    return c.json({ ...(undone && { row: undone.row }) });
  });
  return routes;
}

/** In an order drawn by a name: the same whenever it is drawn. */
function shuffled(pairs: readonly PairKey[], name: string): PairKey[] {
  const key = new Map(
    pairs.map(({ row }) => [row, randomStream({ seed: 0, stage: `queue of ${name}`, item: row }).uniform(0)]),
  );
  return pairs.toSorted((one, other) => key.get(one.row)! - key.get(other.row)!);
}
