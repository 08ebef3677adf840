import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { randomStream } from "@tenet/data";

/** What can go wrong with one call. The last three happen after the server has done its work. */
export type Fault = "429" | "429-date" | "500" | "503-html" | "refused" | "malformed" | "cut" | "slow";

export interface FaultProxy {
  /** Ends in the upstream's path. */
  url: string;
  /** Calls by what was done to them. */
  done: Record<string, number>;
  /** What the server counted for the replies that went through whole. */
  delivered: { promptTokens: number; completionTokens: number; replies: number };
  /** Bodies of the calls whose replies went through whole. */
  deliveredBodies: string[];
  close(): Promise<void>;
}

/**
 * A proxy on the loopback interface that spoils some calls on their way to `upstream`.
 *
 * `fault` says what to do with the n-th call. Bounded: at most 64 connections, bodies of 1 MiB, and what is slow gives up
 * after 5 s. Closed by the test.
 */
export async function faultProxy(upstream: string, fault: (call: number) => Fault | undefined): Promise<FaultProxy> {
  const target = new URL(upstream);
  const done: Record<string, number> = {};
  const delivered = { promptTokens: 0, completionTokens: 0, replies: 0 };
  const deliveredBodies: string[] = [];
  const sockets = new Set<Socket>();
  let calls = 0;
  // The client gave up on a call that would have gone through.
  const abandoned = ({ method }: IncomingMessage) => {
    if (method === "POST") done.abandoned = (done.abandoned ?? 0) + 1;
  };

  const handle = async (request: IncomingMessage, response: ServerResponse) => {
    const body = await readBody(request);
    const what = request.method === "POST" ? fault(calls++) : undefined;
    done[what ?? "passed"] = (done[what ?? "passed"] ?? 0) + 1;
    const json = { "content-type": "application/json" };
    if (what === "refused") return void response.destroy();
    if (what === "429") {
      response.writeHead(429, { ...json, "retry-after": "0.05" });
      return void response.end('{"error":{"message":"slow down"}}');
    }
    if (what === "429-date") {
      response.writeHead(429, { ...json, "retry-after": new Date(Date.now() + 100).toUTCString() });
      return void response.end('{"error":{"message":"slow down"}}');
    }
    if (what === "500") {
      response.writeHead(500, json);
      return void response.end('{"error":{"message":"something broke"}}');
    }
    if (what === "503-html") {
      response.writeHead(503, { "content-type": "text/html" });
      return void response.end("<html><body>Service unavailable</body></html>");
    }
    const answer = await fetch(new URL(request.url!, target), {
      method: request.method!,
      headers: { "content-type": "application/json" },
      ...(request.method === "POST" && { body }),
    });
    const text = await answer.text();
    const type = { "content-type": answer.headers.get("content-type") ?? "application/json" };
    if (what === "malformed") {
      response.writeHead(200, json);
      return void response.end(text.slice(0, Math.floor(text.length / 2)));
    }
    response.writeHead(answer.status, { ...type, "content-length": Buffer.byteLength(text) });
    if (what === "cut") {
      response.write(text.slice(0, Math.floor(text.length / 2)));
      return void setTimeout(() => response.destroy(), 5);
    }
    if (what === "slow") {
      const deadline = Date.now() + 5000;
      for (const byte of Buffer.from(text)) {
        if (response.destroyed || Date.now() > deadline) return void response.destroy();
        response.write(Buffer.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return void response.end();
    }
    if (response.destroyed) return abandoned(request);
    response.once("close", () => {
      if (!response.writableFinished) return void abandoned(request);
      const usage = /"usage":\s*\{[^}]*\}/.exec(text)?.[0];
      if (answer.status !== 200 || request.method !== "POST" || !usage) return;
      const count = (name: string) => Number(new RegExp(`"${name}":\\s*(\\d+)`).exec(usage)?.[1]);
      delivered.promptTokens += count("prompt_tokens");
      delivered.completionTokens += count("completion_tokens");
      delivered.replies++;
      deliveredBodies.push(body);
    });
    response.end(text);
  };

  const server = createServer((request, response) => {
    handle(request, response).catch(() => response.destroy());
  });
  server.maxConnections = 64;
  server.on("connection", (socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}${target.pathname}`,
    done,
    delivered,
    deliveredBodies,
    async close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      await once(server, "close");
    },
  };
}

/** Spoils a share of the calls, each kind alike; which ones depends on the seed only. */
export function someFaults(
  share: number,
  seed: number,
  kinds: Fault[] = allFaults,
): (call: number) => Fault | undefined {
  const stream = randomStream({ seed, stage: "faults", item: share });
  return (call) => (stream.uniform(2 * call) < share ? kinds[stream.integer(2 * call + 1, kinds.length)] : undefined);
}

export const allFaults: Fault[] = ["429", "429-date", "500", "503-html", "refused", "malformed", "cut", "slow"];

async function readBody(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > 2 ** 20) throw new Error("the body is too large");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
