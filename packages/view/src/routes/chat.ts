import { storedCheckpoints } from "@tenet/align";
import { rowId, wilson } from "@tenet/data";
import { Hono } from "hono";
import { stream } from "hono/streaming";
import { z } from "zod";
import type { ChatLine, ChatVotes, Checkpoints } from "../api.ts";
import type { Chat, ChatRequest } from "../chat.ts";
import { runNamed, type ViewContext } from "../context.ts";
import { RequestError, told } from "../errors.ts";
import { finite } from "../finite.ts";
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

const choices = ["first", "second", "tie", "both bad"] as const;
const votedSchema = z.object({
  run: z.string(),
  checkpoints: z.tuple([z.string(), z.string()]),
  prompt: z.string(),
  choice: z.enum(choices),
  messages: z.array(message),
  a: z.string(),
  b: z.string(),
});
type Voted = z.output<typeof votedSchema>;
const voteSchema = z.object({
  run: z.string(),
  who: z.string().trim().min(1).max(200),
  choice: z.enum(choices),
  messages: z.array(message).min(1).max(200),
  /** In the order in which they were shown, without names. */
  replies: z.tuple([
    z.object({ checkpoint: z.string().max(200), text: z.string().max(200_000) }),
    z.object({ checkpoint: z.string().max(200), text: z.string().max(200_000) }),
  ]),
});

/** Blind comparisons of a run's checkpoints that people made, with who made them. */
function votesOf({ store }: ViewContext, run: string): (Voted & { who: string; time: string })[] {
  return store.annotations().flatMap(({ kind, value, who, time }) => {
    const vote = kind === "blind vote" ? votedSchema.safeParse(value).data : undefined;
    return vote?.run === run ? [{ ...vote, who, time }] : [];
  });
}

/** What two of them were asked and answered, and who people found better. A vote is a label of that pair. */
export function chatWrites(context: ViewContext): Hono {
  const { store, live } = context;
  const routes = new Hono();
  routes.post("/chat/votes", async (c) => {
    const { run: id, who, choice, messages, replies } = voteSchema.parse(await c.req.json());
    const run = runNamed(context, id);
    const [first, second] = replies;
    const row = rowId("pair", messages, first.text, second.text);
    const value: Voted = {
      ...{ run: run.id, choice, messages, prompt: row, a: first.text, b: second.text },
      checkpoints: [first.checkpoint, second.checkpoint],
    };
    store.addAnnotation({ row, kind: "blind vote", about: run.id, value, who });
    const p = { first: 1, second: 0, tie: 0.5, "both bad": undefined }[choice];
    if (p !== undefined) store.addLabel({ pair: row, p, who, note: "blind, in the chat" });
    live.touch();
    return c.json({ pair: row });
  });
  return routes;
}

/** Talking to what a run made. Nothing is written but a vote: what is said here is gone with the page. */
export function chatRoutes(context: ViewContext, chat: Chat): Hono {
  const { store, judge } = context;
  const routes = new Hono();

  routes.get("/runs/:run/checkpoints", async (c) => {
    const run = runNamed(context, c.req.param("run"));
    const found = await storedCheckpoints(store, run.id);
    return c.json<Checkpoints>({ checkpoints: found.map(({ id, label }) => ({ id, label })) });
  });

  routes.get("/runs/:run/votes", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const votes = votesOf(context, run.id);
    const names = [...new Set(votes.flatMap(({ checkpoints }) => checkpoints))];
    return c.json<ChatVotes>({
      votes: votes.length,
      wins: names.flatMap((checkpoint) => {
        const own = votes.filter(({ checkpoints }) => checkpoints.includes(checkpoint));
        const decided = own.filter(({ choice }) => choice === "first" || choice === "second");
        const won = decided.filter(({ checkpoints, choice }) => checkpoints[choice === "first" ? 0 : 1] === checkpoint);
        const ties = own.filter(({ choice }) => choice === "tie").length;
        return decided.length === 0 ? [] : [{ checkpoint, ties, won: finite(wilson(won.length, decided.length)) }];
      }),
    });
  });

  /** Preferences as recipes read them; of votes that found one better. */
  routes.get("/runs/:run/votes.jsonl", (c) => {
    const run = runNamed(context, c.req.param("run"));
    const lines = votesOf(context, run.id).flatMap(({ choice, messages, a, b, checkpoints, who, time }) => {
      if (choice !== "first" && choice !== "second") return [];
      const [chosen, rejected] = choice === "first" ? [a, b] : [b, a];
      return [{ prompt: messages, chosen, rejected, checkpoints, who, time }];
    });
    return c.body(lines.map((line) => `${JSON.stringify(line)}\n`).join(""), 200, {
      "content-type": "application/x-ndjson",
      "content-disposition": `attachment; filename="${run.id}.votes.jsonl"`,
    });
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
