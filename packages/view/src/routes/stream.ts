import { Hono } from "hono";
import { streamSSE } from "hono/streaming";
import type { ViewContext } from "../context.ts";

/** Runs that one stream may follow. */
const mostRuns = 20;

/**
 * What happens, as it happens: events of the runs that are asked for, and "change" where anything else was written. A browser
 * that lost the stream says by `Last-Event-ID` where it was, and misses nothing.
 */
export function streamRoutes({ live, store }: ViewContext): Hono {
  const routes = new Hono();
  routes.get("/stream", (c) => {
    const known = new Set(store.runIds());
    const runs = (c.req.query("runs") ?? "")
      .split(",")
      .filter((run) => known.has(run))
      .slice(0, mostRuns);
    const cursor = c.req.header("last-event-id") ?? c.req.query("after");
    return streamSSE(c, async (stream) => {
      const ended = new AbortController();
      stream.onAbort(() => ended.abort());
      for await (const told of live.follow(runs, cursor, ended.signal)) {
        if (told.kind === "event")
          await stream.writeSSE({
            id: told.cursor,
            event: "run",
            data: JSON.stringify({ run: told.run, event: withoutLongData(told.event) }),
          });
        else await stream.writeSSE({ event: told.kind, data: "{}" });
      }
    });
  });
  return routes;
}

/** The constitution that a run was opened with is asked for by itself. */
function withoutLongData<E extends { kind: string; data?: unknown }>({ data, ...event }: E) {
  return event.kind === "opened" || event.kind === "plan" ? event : { ...event, data };
}
