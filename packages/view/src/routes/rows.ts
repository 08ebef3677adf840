import { inWords, type Message } from "@tenet/data";
import { Hono } from "hono";
import { z } from "zod";
import {
  type Annotation,
  type Chains,
  type PairCounts,
  type Pairs,
  type PrincipleLabels,
  pairSorts,
  type RowDetail,
  type RowPage,
  type SampleCounts,
  type Samples,
} from "../api.ts";
import { chainsOf } from "../chains.ts";
import { formerResult, runNamed, stageNamed, type ViewContext } from "../context.ts";
import { NotFoundError } from "../errors.ts";
import { firstPairs, labelStages, labelsByPrinciple, pairKeys, pairsAt, pairsFound } from "../pairs.ts";
import { bySchema, filterSchema, sampleCounts, samplesOf } from "../samples.ts";
import { lineOf } from "../summaries.ts";

const text = z.string().max(1000).optional();
const at = {
  after: z.coerce.number().int().min(-1).optional(),
  limit: z.coerce.number().int().min(1).max(200).default(40),
};
const samplesSchema = filterSchema.extend(at);
const rowsSchema = z.object({ ...at, q: text, result: text });
const chainsSchema = z.object({
  ...at,
  stage: text,
  principle: text,
  show: z.enum(["all", "changed", "unchanged", "rejected"]).default("all"),
  q: text,
});
const pairsSchema = z.object({
  stage: text,
  sort: z.enum(pairSorts).default("order"),
  label: text,
  principle: text,
  q: text,
  from: z.coerce.number().int().min(0).default(0),
  limit: at.limit,
});

export function rowRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();

  routes.get("/runs/:run/samples", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { after, limit, ...filter } = samplesSchema.parse(c.req.query());
    return c.json<Samples>(await samplesOf(context, run, filter, { after, limit }));
  });

  routes.get("/runs/:run/samples/counts", async (c) =>
    c.json<SampleCounts>(
      await sampleCounts(context, runNamed(context, c.req.param("run")), bySchema.parse(c.req.query())),
    ),
  );

  routes.get("/runs/:run/chains", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { after, limit, stage = "chains", ...filter } = chainsSchema.parse(c.req.query());
    const found = stageNamed(context, run.id, stage);
    return c.json<Chains>(await chainsOf(context, run, found, filter, { after, limit }));
  });

  const labelled = (run: string, stage: string | undefined) =>
    stage === undefined ? labelStages(context, run).at(-1) : stageNamed(context, run, stage);

  routes.get("/runs/:run/pairs", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { from, limit, stage, ...asked } = pairsSchema.parse(c.req.query());
    const found = labelled(run.id, stage);
    if (!found) return c.json<Pairs>({ pairs: [], total: 0 });
    // The beginning does not wait for what the rest is sorted by.
    const plain = from === 0 && asked.sort === "order" && [asked.label, asked.principle, asked.q].every((one) => !one);
    if (plain) return c.json<Pairs>({ pairs: firstPairs(context, run, found, limit), total: found.rows });
    const kept = await pairsFound(context, run, found, asked);
    return c.json<Pairs>({ pairs: pairsAt(context, run, found, kept.slice(from, from + limit)), total: kept.length });
  });

  routes.get("/runs/:run/pairs/counts", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const found = labelled(run.id, pairsSchema.parse(c.req.query()).stage);
    const labels: Record<string, number> = {};
    for (const { label } of found ? await pairKeys(context, found) : []) labels[label] = (labels[label] ?? 0) + 1;
    return c.json<PairCounts>({ labels });
  });

  routes.get("/runs/:run/labels/principles", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const found = labelStages(context, run.id).at(-1);
    return c.json<PrincipleLabels>({ rows: found ? await labelsByPrinciple(context, run, found) : [] });
  });

  routes.get("/runs/:run/stages/:stage/rows", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { after = -1, limit, q, result } = rowsSchema.parse(c.req.query());
    const name = c.req.param("stage");
    const former = result === undefined ? undefined : formerResult(context, run.id, name, result);
    const stage = former ?? stageNamed(context, run.id, name);
    const page = store.page(stage.identity, { after, limit, ...(q !== undefined && { text: q }) });
    return c.json<RowPage>({
      stage: lineOf(stage),
      ...(former && { replaced: former.replaced }),
      rows: page.rows.map(({ ordinal, row }) => ({ ordinal, row: told(row) as RowPage["rows"][number]["row"] })),
      ...(page.next !== undefined && { next: page.next }),
      reasons: store.setAsideReasons(stage.identity),
    });
  });

  routes.get("/rows/:id", (c) => {
    const id = c.req.param("id");
    const lineage = store.lineage(id);
    const own = lineage[0];
    const labels = store.labels({ pair: id });
    if (!own?.row && labels.length === 0)
      throw new NotFoundError(
        `no stage holds a row ${JSON.stringify(id)}; tenet show <run> <stage> prints rows with their ids`,
      );
    const down = store
      .made(id)
      .flatMap(({ run, stage, rows }) =>
        rows.filter((row) => row.id !== id).map((row) => ({ run, stage, id: row.id })),
      );
    return c.json<RowDetail>({
      id,
      ...(own?.row && { row: told(own.row) as NonNullable<RowDetail["row"]> }),
      stages: own?.stages ?? [],
      up: lineage.slice(1).map(({ id: parent, depth, row, stages }) => ({
        id: parent,
        depth,
        stages,
        ...(row && { row: told(row) as Record<string, unknown> }),
      })),
      down,
      principles: principlesOf(context, own?.row, own?.stages[0]?.run),
      said: store.annotations({ row: id }).map(({ row: _, ...one }): Annotation => one),
      labels: labels.map(({ pair: _, ...word }) => word),
    });
  });
  return routes;
}

/** A row as it is told to people: what its prompt shows in words. */
function told(row: object): unknown {
  const { prompt } = row as { prompt?: unknown };
  const turns = Array.isArray(prompt) && prompt.every((turn) => typeof turn?.content === "string");
  return turns ? { ...row, prompt: inWords(prompt as Message[]) } : row;
}

/** Texts of the principles that a row names as drawn for it, of the constitution that its run was opened with. */
function principlesOf(context: ViewContext, row: unknown, run: string | undefined): RowDetail["principles"] {
  const { origin } = (row ?? {}) as { origin?: { principles?: unknown } };
  if (run === undefined || !Array.isArray(origin?.principles)) return [];
  const { constitution } = context.judge.opened({ id: run });
  return (constitution?.principles ?? [])
    .filter(({ id }) => (origin.principles as unknown[]).includes(id))
    .map(({ id, text: words }) => ({ id, text: words }));
}

const annotationSchema = z.object({
  row: z.string().min(1).max(200),
  kind: z.enum(["flag", "verdict", "judgement", "correction", "note"]),
  about: z.string().max(500).default(""),
  value: z.json(),
  who: z.string().trim().min(1).max(200),
});

export function rowWrites(context: ViewContext): Hono {
  const { store, live } = context;
  const routes = new Hono();
  routes.post("/annotations", async (c) => {
    const annotation = annotationSchema.parse(await c.req.json());
    if (!store.row(annotation.row)) throw new NotFoundError(`no stage holds a row ${JSON.stringify(annotation.row)}`);
    store.addAnnotation(annotation);
    live.touch();
    return c.json({ said: true });
  });

  /** What a person prefers, outside a queue. */
  routes.post("/labels", async (c) => {
    const label = z
      .object({
        pair: z.string().min(1),
        p: z.number().min(0).max(1),
        who: z.string().trim().min(1),
        note: z.string().optional(),
      })
      .parse(await c.req.json());
    if (!store.row(label.pair)) throw new NotFoundError(`no stage holds a pair ${JSON.stringify(label.pair)}`);
    const { note, ...rest } = label;
    store.addLabel({ ...rest, ...(note !== undefined && { note }) });
    live.touch();
    return c.json({ said: true });
  });
  return routes;
}
