// node --expose-gc --import tsx --conditions=source scripts/serve-flood.ts [--requests N] [--streams N]
//
// What `tenet serve` is left with after bodies that nobody should send, connections cut in the middle of a request or of a reply, and
// readers that take nothing: calls under way, statuses, memory. Ends with 1 where something is left or memory grew. The model is a
// script, so that all that is measured is the server.
import { once } from "node:events";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { parseArgs } from "node:util";
import { scriptedModel, serve } from "@tenet/lm";
import { numbersFrom, oddBody } from "../packages/lm/test/odd-bodies.ts";

const { values } = parseArgs({
  options: { requests: { type: "string", default: "100000" }, streams: { type: "string", default: "64" } },
});
const [requests, streams] = [Number(values.requests), Number(values.streams)];
const mostGrowth = 16 * 2 ** 20;

const failures: unknown[] = [];
const model = scriptedModel({ fallback: () => "Well, that is a long story about the sea and the wind. ".repeat(20) });
const server = await serve({ models: new Map([["m", model]]), onError: (error) => failures.push(error) });
const { hostname: host, port } = new URL(server.url);
const agent = new Agent({ keepAlive: true, maxSockets: 32 });

const random = numbersFrom(7);
const statuses: Record<string, number> = {};
const count = (what: string | number) => {
  statuses[what] = (statuses[what] ?? 0) + 1;
};

/** A body with three fields that are wrong; one of ten is cut off. */
async function badRequest(): Promise<void> {
  const base = { model: "m", messages: [{ role: "user", content: "hi" }], max_tokens: 2 };
  const text = JSON.stringify(oddBody(base, random));
  const cut = random(10) === 0;
  const path = random(2) ? "/v1/completions" : "/v1/chat/completions";
  const headers = { "content-length": Buffer.byteLength(text) };
  await new Promise<void>((resolve) => {
    const sent = request({ host, port, path, method: "POST", agent, headers }, (response) => {
      count(response.statusCode!);
      response.resume().on("close", resolve);
    });
    sent.on("error", () => {}).on("close", resolve);
    if (!cut) sent.end(text);
    else {
      count("cut");
      sent.write(text.slice(0, 5));
      setTimeout(() => sent.destroy(), 1);
    }
  });
}

/** A stream that is read, cut off after its first words, or not read at all and cut off later. */
async function stream(i: number): Promise<void> {
  const body = JSON.stringify({ model: "m", messages: [{ role: "user", content: "hi" }], stream: true });
  const socket = connect(Number(port), host);
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
  socket.write(head + body);
  const closed = once(socket, "close");
  if (i % 3 === 0) socket.resume();
  else if (i % 3 === 1) socket.once("data", () => socket.destroy());
  else setTimeout(() => socket.destroy(), 200);
  await closed;
}

async function atOnce(total: number, lanes: number, work: (i: number) => Promise<void>): Promise<void> {
  let begun = 0;
  const lane = async () => {
    while (begun < total) await work(begun++);
  };
  await Promise.all(Array.from({ length: lanes }, lane));
}

const heap = () => {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
};
const parts = 5;
const heaps: number[] = [];
for (let part = 0; part < parts; part++) {
  await atOnce(requests / parts, 32, badRequest);
  await atOnce(streams, streams, stream);
  heaps.push(heap());
  const [used, resident] = [heaps.at(-1)!, process.memoryUsage.rss()].map((bytes) => (bytes / 2 ** 20).toFixed(0));
  console.log(`${((part + 1) * requests) / parts} requests: heap ${used} MiB, resident ${resident} MiB`);
}
for (let tries = 0; server.calls() > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
const left = server.calls();
await server.close();
agent.destroy();
console.log(`answered ${JSON.stringify(statuses)}, ${left} calls under way, ${failures.length} failures of the server`);
// The first part is warming up.
const grew = heaps.at(-1)! - heaps[1]!;
if (left > 0 || failures.length > 0 || grew > mostGrowth) {
  console.error(`left under way: ${left}; failures: ${failures[0] ?? "none"}; heap grew by ${grew} bytes`);
  process.exitCode = 1;
}
