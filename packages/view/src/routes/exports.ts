import { correctionForms, correctionsOf } from "@tenet/align";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import { runNamed, type ViewContext } from "../context.ts";
import { checkpointStages, filterSchema, fits, pagesOf } from "../samples.ts";

/*
 * What is looked at, as lines of JSON for other programs: the replies that a filter leaves, and what people would rather have read.
 */

export function exportRoutes(context: ViewContext): Hono {
  const { store } = context;
  const routes = new Hono();

  /** A line for each prompt that the filter leaves, with every checkpoint's reply and what the checks say of it. */
  routes.get("/runs/:run/samples.jsonl", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const filter = filterSchema.parse(c.req.query());
    c.header("content-type", "application/x-ndjson");
    c.header("content-disposition", `attachment; filename="${run.id}.replies.jsonl"`);
    return stream(c, async (out) => {
      for await (const { samples } of pagesOf(context, run, checkpointStages(store, run.id), -1))
        for (const sample of samples) if (fits(sample, filter)) await out.write(`${JSON.stringify(sample)}\n`);
    });
  });

  /** People's corrections of a run's replies, as what recipes read; each is a line. */
  routes.get("/runs/:run/corrections.jsonl", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { as } = z.object({ as: z.enum(correctionForms).default("examples") }).parse(c.req.query());
    const lines = correctionsOf(store, run.id, { as });
    return c.body(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), 200, {
      "content-type": "application/x-ndjson",
      "content-disposition": `attachment; filename="${run.id}.${as}.jsonl"`,
    });
  });
  return routes;
}
