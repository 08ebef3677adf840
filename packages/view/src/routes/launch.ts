import { exportParts, storedCheckpoints } from "@tenet/align";
import { Hono } from "hono";
import { z } from "zod";
import type { Exports, LaunchState, RecipeFiles, RecipeText } from "../api.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { NotFoundError } from "../errors.ts";
import type { Launcher } from "../launcher.ts";

const file = z.string().min(1).max(4000);
const changes = {
  limit: z.int().min(1).max(10_000_000).optional(),
  seed: z.int().min(0).optional(),
};
const text = z.string().max(500_000);

/** What a run can be exported as, and the command for it: to look at, also where nothing may be started. */
export function exportsRoutes(context: ViewContext): Hono {
  const routes = new Hono();
  routes.get("/runs/:run/exports", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const checkpoints = await storedCheckpoints(context.store, run.id);
    return c.json<Exports>({
      parts: exportParts.map((part) => ({ part, command: `tenet export ${run.id} exported --what ${part}` })),
      checkpoints: checkpoints.map(({ id, label }) => ({ id, label })),
    });
  });
  return routes;
}

/** Starts processes: registered only where the server was given what to start, and may write. */
export function launchRoutes(context: ViewContext, launcher: Launcher): Hono {
  const routes = new Hono();
  routes.get("/recipes", (c) => c.json<RecipeFiles>({ recipes: launcher.recipes() }));

  // In bodies, since paths are nobody's business in addresses.
  routes.post("/recipes/text", async (c) => {
    const asked = z.object({ file }).parse(await c.req.json());
    return c.json<RecipeText>({ text: launcher.text(asked.file) });
  });
  routes.post("/recipes/check", async (c) => {
    const { file: named, ...rest } = z.object({ file, text: text.optional(), ...changes }).parse(await c.req.json());
    return c.json(await launcher.check(named, rest));
  });
  routes.post("/recipes/save", async (c) => {
    const asked = z.object({ file, name: z.string().max(100), text }).parse(await c.req.json());
    return c.json(launcher.saveAs(asked.file, asked.name, asked.text));
  });
  routes.post("/launch", async (c) => {
    const { file: named, ...rest } = z.object({ file, ...changes }).parse(await c.req.json());
    const started = await launcher.run(named, rest);
    context.live.touch();
    return c.json(started);
  });
  routes.post("/runs/:run/exports", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const asked = z
      .object({ parts: z.array(z.string()).max(10), checkpoint: z.string().max(100).optional() })
      .parse(await c.req.json());
    return c.json(launcher.export(run.id, asked.parts, asked.checkpoint));
  });
  routes.get("/launches/:name", (c) => {
    const name = c.req.param("name");
    const found = launcher.state(name);
    if (!found) throw new NotFoundError(`this server started no ${JSON.stringify(name)}`);
    return c.json<LaunchState>(found);
  });
  return routes;
}
