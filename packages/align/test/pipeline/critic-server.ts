import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** A critic on this machine that says with some probability, told by log-probabilities, whether a reply breaks a principle. */
export interface CriticServer {
  readonly url: string;
  /** Questions, as they came: the text that was asked. */
  readonly asked: string[];
  close(): Promise<void>;
}

/**
 * What it says is a function of the question.
 *
 * @param refuses whether a question is refused with status 400
 */
export async function criticServer(refuses: (question: string) => boolean = () => false): Promise<CriticServer> {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const body = JSON.parse((await text(request)) || "{}") as {
      messages?: { content: string }[];
      logprobs?: boolean;
    };
    const send = (status: number, json: object) => {
      response.writeHead(status, { "content-type": "application/json" });
      response.end(JSON.stringify(json));
    };
    if (!body.messages) return send(404, { error: { message: "no such path" } });
    const question = body.messages.map(({ content }) => content).join("\n");
    const judging = question.includes("break this principle?");
    if (judging && refuses(question)) return send(400, { error: { message: "this is not for me" } });
    if (judging) asked.push(question);
    const p = (Number.parseInt(digestOf(question), 16) % 999) / 999 + 0.0005;
    const top = [
      { token: "A", logprob: Math.log(p) },
      { token: "B", logprob: Math.log(1 - p) },
    ];
    const logprobs = body.logprobs ? { content: [{ ...top[0], bytes: null, top_logprobs: top }] } : null;
    send(200, {
      choices: [{ index: 0, message: { role: "assistant", content: "A" }, logprobs, finish_reason: "stop" }],
      usage: { prompt_tokens: 7, completion_tokens: 1, total_tokens: 8 },
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`,
    asked,
    async close() {
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Whether a share of the texts has this one: a function of the text. */
export function isAmong(value: string, share: number): boolean {
  return Number.parseInt(digestOf([value]), 16) % 1000 < 1000 * share;
}

function digestOf(value: unknown): string {
  return createHash("sha256").update(JSON.stringify(value)).digest("hex").slice(0, 8);
}
