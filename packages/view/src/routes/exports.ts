import type { PairRow, ResponseRow } from "@tenet/data";
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

  /**
   * People's corrections of a run's replies, as what `tenet` reads: examples to imitate (`prompt`, `completion`), or preferences of
   * the correction over the reply (`prompt`, `chosen`, `rejected`). Of several people's, each is a line.
   */
  routes.get("/runs/:run/corrections.jsonl", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const { as } = z.object({ as: z.enum(["examples", "preferences"]).default("examples") }).parse(c.req.query());
    const own = new Set(store.stages(run.id).map(({ name }) => name));
    const lines = store
      .annotations()
      .filter(({ kind, value }) => kind === "correction" && typeof value === "string")
      .flatMap(({ row: id, about, value }) => {
        const row = store.row<ResponseRow | PairRow>(id);
        const here = store.lineage(id)[0]?.stages.some((one) => one.run === run.id && own.has(one.stage));
        if (!row || !here) return [];
        const { prompt } = row;
        // Of a pair one of its replies is corrected.
        const response = "response" in row ? row.response : about === "a" || about === "b" ? row[about] : undefined;
        if (response === undefined) return [];
        return [as === "examples" ? { prompt, completion: value } : { prompt, chosen: value, rejected: response }];
      });
    return c.body(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), 200, {
      "content-type": "application/x-ndjson",
      "content-disposition": `attachment; filename="${run.id}.${as}.jsonl"`,
    });
  });
  return routes;
}
