import { createHash } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";

/** A server of conversations on this machine: its replies are a function of what is asked, and it can be made to die. */
export class ChatServer {
  /** Conversations that were answered, as JSON, in order. */
  readonly answered: string[] = [];
  /** What it says; by default a word that is made of all that is asked. */
  reply: (messages: readonly { readonly role: string; readonly content: string }[]) => string = (messages) =>
    `Reply ${createHash("sha256").update(JSON.stringify(messages)).digest("hex").slice(0, 8)}.`;
  #dieAfter = Number.POSITIVE_INFINITY;
  #server: Server | undefined;
  #port = 0;

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  /** Listens, on the port it had before where it had one; dies before it answers more than `dieAfter` further calls. */
  async start({ dieAfter = Number.POSITIVE_INFINITY } = {}): Promise<void> {
    this.#dieAfter = this.answered.length + dieAfter;
    const server = createServer((request, response) => void this.#answer(request, response));
    server.listen(this.#port, "127.0.0.1");
    await once(server, "listening");
    this.#server = server;
    this.#port = (server.address() as AddressInfo).port;
  }

  stop(): void {
    this.#server?.close();
    this.#server?.closeAllConnections();
    this.#server = undefined;
  }

  async #answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = await text(request);
    if (request.url !== "/v1/chat/completions") return void response.writeHead(404).end();
    const { messages, max_tokens: most } = JSON.parse(body) as {
      messages: { role: string; content: string }[];
      max_tokens: number;
    };
    if (this.answered.length >= this.#dieAfter) return this.stop();
    const asked = JSON.stringify(messages);
    // Who asks for one token wants to know what the server can do.
    if (most > 1) this.answered.push(asked);
    const content = this.reply(messages);
    const choices = [{ index: 0, message: { role: "assistant", content }, finish_reason: "stop" }];
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify({ choices, usage: { prompt_tokens: 10, completion_tokens: 5 } }));
  }
}
