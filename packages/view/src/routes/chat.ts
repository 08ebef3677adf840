import { storedCheckpoints } from "@tenet/align";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import type { ChatLine, Checkpoints } from "../api.ts";
import type { Chat, ChatRequest } from "../chat.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { RequestError, told } from "../errors.ts";
import { checked } from "../verdicts.ts";

const message = z.object({ role: z.enum(["system", "user", "assistant"]), content: z.string().max(50_000) });
const chatSchema = z.object({
  run: z.string(),
  turns: z
    .array(z.object({ checkpoint: z.string(), messages: z.array(message).min(1).max(200) }))
    .min(1)
    .max(4),
  seed: z.int().min(0).optional(),
  temperature: z.number().min(0).max(5).optional(),
  maxTokens: z.int().min(1).max(4096).default(200),
});

/** Talking to what a run made. Nothing is written: what is said here is gone with the page. */
export function chatRoutes(context: ViewContext, chat: Chat): Hono {
  const { store, judge } = context;
  const routes = new Hono();

  routes.get("/runs/:run/checkpoints", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const found = await storedCheckpoints(store, run.id);
    return c.json<Checkpoints>({ checkpoints: found.map(({ id, label }) => ({ id, label })) });
  });

  routes.post("/chat", async (c) => {
    const { run: id, turns, ...sampling } = chatSchema.parse(await c.req.json());
    const run = runNamed(context, id);
    if (turns.some(({ messages }) => messages.at(-1)!.role !== "user"))
      throw new RequestError("the last message of each turn must be the user's");
    if (chat.busy) throw new RequestError("a reply is being written already; one conversation at a time");
    const { constitution } = judge.opened(run);
    c.header("content-type", "application/x-ndjson");
    return stream(c, async (out) => {
      const ended = new AbortController();
      out.onAbort(() => ended.abort());
      const say = (line: ChatLine) => out.write(`${JSON.stringify(line)}\n`);
      const request = { run: run.id, turns, sampling: plain(sampling) } as ChatRequest;
      try {
        for await (const line of chat.reply(request, ended.signal)) {
          const prompt =
            line.type === "done" ? turns.find(({ checkpoint }) => checkpoint === line.checkpoint)?.messages : undefined;
          const verdicts =
            line.type === "done" && prompt && constitution
              ? checked(constitution, { prompt, response: line.text })?.filter(({ applies }) => applies)
              : undefined;
          await say(
            line.type === "done" && verdicts
              ? { ...line, verdicts: verdicts.map(({ applies: _, ...one }) => one) }
              : line,
          );
        }
      } catch (error) {
        await say({ type: "error", message: told(error).body.error.message });
      }
    });
  });
  return routes;
}

/** Without what is absent. */
function plain<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as Partial<T>;
}
