import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

interface Part {
  readonly text?: string;
  readonly image_url?: { readonly url: string };
}

/** A judge that answers as Prometheus 2 does: it likes replies without q and 7, and short ones; every fifth verdict is none. */
export async function openJudgeServer(): Promise<{
  readonly url: string;
  readonly asked: string[];
  /** The images that each of these was shown with. */
  readonly shown: readonly string[][];
  close(): void;
}> {
  const asked: string[] = [];
  const shown: string[][] = [];
  const server: Server = createServer(async (request, response) => {
    const body = await text(request);
    if (request.url !== "/v1/chat/completions") return void response.writeHead(404).end();
    const { messages } = JSON.parse(body) as { messages: { content: string | Part[] }[] };
    const { content: said } = messages.at(-1)!;
    const parts: Part[] = typeof said === "string" ? [{ text: said }] : said;
    const question = parts.flatMap(({ text: words = [] }) => words).join("");
    asked.push(question);
    shown.push(parts.flatMap(({ image_url: image }) => (image ? [image.url] : [])));
    response.setHeader("content-type", "application/json");
    const content =
      asked.length % 5 === 0 ? "I would rather not say." : `Feedback: as told. [RESULT] ${verdict(question)}`;
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    response.end(JSON.stringify({ choices, usage: { prompt_tokens: 10, completion_tokens: 5 } }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    shown,
    close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

function verdict(question: string): string {
  const part = (from: string, to: string) => question.split(`###${from}:\n`)[1]?.split(`\n###${to}:`)[0] ?? "";
  const faults = (reply: string) => (/[q7]/.test(reply) ? 2 : 0) + (reply.trim().length > 14 ? 1 : 0);
  if (question.includes("###Response A:"))
    return faults(part("Response A", "Response B")) <= faults(part("Response B", "Score Rubric")) ? "A" : "B";
  return String(5 - faults(part("Response to evaluate", "Score Rubrics")));
}
