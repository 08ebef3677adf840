import { createHash } from "node:crypto";
import { scorecardPage } from "@tenet/align";
import type { Store } from "@tenet/runs";
import { Hono } from "hono";
import type { ApiError } from "./api.ts";
import { cardOf, formerCard } from "./cards.ts";
import { Chat, type OpenToSpeak } from "./chat.ts";
import { formerResult, runNamed, type ViewContext } from "./context.ts";
import { NotFoundError, RequestError, told } from "./errors.ts";
import { guard } from "./guard.ts";
import { Kept } from "./kept.ts";
import { LastEvents } from "./last-events.ts";
import { Launcher, type LaunchOptions } from "./launcher.ts";
import { Live } from "./live.ts";
import type { PageFiles } from "./page.ts";
import { planFrom } from "./planned.ts";
import { chatRoutes, chatWrites } from "./routes/chat.ts";
import { compareRoutes } from "./routes/compare.ts";
import { constitutionQuestions, constitutionRoutes } from "./routes/constitutions.ts";
import { exportRoutes } from "./routes/exports.ts";
import { exportsRoutes, launchRoutes } from "./routes/launch.ts";
import { monitorRoutes, monitorWrites } from "./routes/monitors.ts";
import { reviewRoutes, reviewWrites } from "./routes/review.ts";
import { rowRoutes, rowWrites } from "./routes/rows.ts";
import { runRoutes, runWrites } from "./routes/runs.ts";
import { streamRoutes } from "./routes/stream.ts";
import { voteRoutes, voteWrites } from "./routes/votes.ts";
import { Judge } from "./verdicts.ts";

export interface ViewAppOptions {
  readonly store: Store;
  /** Of Tenet, for the page's foot. */
  readonly version: string;
  readonly hosts: () => readonly string[];
  readonly token: string;
  /** The built page; without it only the API answers. */
  readonly page?: PageFiles | undefined;
  /** Opens checkpoints to speak with; tests put their own in its place. */
  readonly openToSpeak?: OpenToSpeak | undefined;
  /** What to start runs and exports with; without it, and of a store that is read only, nothing is started. */
  readonly launch?: LaunchOptions | undefined;
}

/** Everything the server answers, to be tested without one. A store that is read only has no routes that write. */
export function viewApp({ store, version, hosts, token, page, openToSpeak, launch }: ViewAppOptions): {
  app: Hono;
  live: Live;
  chat: Chat;
} {
  const live = new Live(store);
  const launches = store.readOnly ? undefined : launch;
  const context: ViewContext = {
    store,
    version,
    launches: launches !== undefined,
    live,
    judge: new Judge(store),
    plans: new LastEvents(store, "plan", planFrom),
    pairs: new Kept(8),
    counts: new Kept(8),
  };
  const app = new Hono();
  app.use(guard({ hosts, token }));
  app.onError((error, c) => {
    const { status, body } = told(error);
    return c.json<ApiError>(body, status);
  });
  // What a route reads of a body is JSON; the text is kept, so that it is read once.
  app.use(async (c, next) => {
    if (c.req.method !== "GET" && c.req.header("content-type")?.includes("json"))
      await c.req.json().catch((error: unknown) => {
        throw new RequestError(`the request's body: expected JSON, got what is none: ${(error as Error).message}`);
      });
    await next();
  });

  for (const routes of [
    runRoutes,
    rowRoutes,
    exportRoutes,
    reviewRoutes,
    constitutionRoutes,
    constitutionQuestions,
    compareRoutes,
    monitorRoutes,
    voteRoutes,
    exportsRoutes,
    streamRoutes,
  ])
    app.route("/api", routes(context));
  const chat = new Chat(context, openToSpeak);
  app.route("/api", chatRoutes(context, chat));
  if (!store.readOnly)
    for (const routes of [runWrites, rowWrites, reviewWrites, monitorWrites, voteWrites, chatWrites])
      app.route("/api", routes(context));
  if (launches) app.route("/api", launchRoutes(context, new Launcher(context, launches)));
  app.all("/api/*", (c) => {
    throw new NotFoundError(
      `there is nothing at ${c.req.method} ${c.req.path}${store.readOnly ? "; the store is read only here" : ""}`,
    );
  });

  /** The static report, with the policy that it brings. */
  app.get("/reports/:run", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const result = c.req.query("result");
    const former = result === undefined ? undefined : formerResult(context, run.id, "scorecard", result);
    const card = former ? formerCard(store, former) : cardOf(store, run.id);
    if (!card) throw new NotFoundError(`run ${run.id} has no scorecard yet`);
    const text = scorecardPage(card);
    const style = /<style>([\s\S]*?)<\/style>/.exec(text)?.[1] ?? "";
    const hash = createHash("sha256").update(style).digest("base64");
    return c.html(text, 200, {
      "content-security-policy": `default-src 'none'; style-src 'sha256-${hash}'; img-src data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`,
    });
  });

  app.get("*", (c) => {
    const file = page?.get(c.req.path);
    if (file && c.req.path !== "/index.html") return c.body(file.bytes, 200, { "content-type": file.type });
    if (/\.\w+$/.test(c.req.path) || !page) throw new NotFoundError(`there is no page ${c.req.path}`);
    const index = Buffer.from(page.get("/index.html")!.bytes).toString("utf8");
    return c.html(index.replace("%TOKEN%", token).replace("%READ_ONLY%", String(store.readOnly)));
  });
  return { app, live, chat };
}
