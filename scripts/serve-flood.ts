// node --expose-gc --import tsx --conditions=source scripts/serve-flood.ts [--model NAME] [--requests N] [--seconds N] [--streams N]
//
// What `tenet serve` is left with after bodies that nobody should send, connections cut in the middle of a request or of a reply, and
// readers that take nothing, while streams are open all along: calls under way, streams that did not end well, memory. Sends as many as
// it is told, or as fit the time. Prints one line of JSON, and how it goes to the side; ends with 1 where something is left, a stream
// was broken or memory grew. The model is the local engine's: a small random one where none is named.
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openLocalModel, serve } from "@tenet/lm";
import { numbersFrom, oddBody } from "../packages/lm/test/odd-bodies.ts";
import { writeTinyModel } from "../packages/lm/test/tiny-model.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string" },
    requests: { type: "string", default: "100000" },
    seconds: { type: "string", default: "150" },
    streams: { type: "string", default: "8" },
  },
});
const [requests, streams, most] = [values.requests, values.streams, values.seconds].map(Number) as [
  number,
  number,
  number,
];
const parts = 5;
const mebibyte = 2 ** 20;
/** Above the least behind any part, the first of which warms up. Resident memory is also what allocators keep for later. */
const mostGrowth = { heap: 16 * mebibyte, resident: 64 * mebibyte };

const folder = mkdtempSync(join(tmpdir(), "tenet-flood-"));
const model = await openLocalModel(
  values.model ?? (await writeTinyModel(folder)),
  values.model === undefined ? { device: "cpu", cacheDir: folder } : { device: "cpu" },
);
const failures: unknown[] = [];
const server = await serve({
  models: new Map([["m", model.live({ context: 512 })]]),
  onError: (error) => failures.push(error),
});
const { hostname: host, port } = new URL(server.url);
const agent = new Agent({ keepAlive: true, maxSockets: 32 });

const random = numbersFrom(7);
const statuses: Record<string, number> = {};
const opened = { read: 0, broken: 0, cut: 0, unread: 0 };
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

/** A stream that is read to its end, cut off after its first words, or not read at all and cut off later. */
async function stream(i: number): Promise<void> {
  const asked = {
    model: "m",
    messages: [{ role: "user", content: "hi" }],
    max_tokens: 64,
    min_tokens: 64,
    stream: true,
  };
  const body = JSON.stringify(asked);
  const socket = connect(Number(port), host);
  socket.on("error", () => {});
  await once(socket, "connect");
  const head = `POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n`;
  socket.write(head + body);
  const closed = once(socket, "close");
  let text = "";
  if (i % 3 === 0)
    socket.setEncoding("utf8").on("data", (piece: string) => {
      text += piece;
    });
  else if (i % 3 === 1) socket.once("data", () => socket.destroy());
  else setTimeout(() => socket.destroy(), 200);
  await closed;
  if (i % 3 > 0) opened[i % 3 === 1 ? "cut" : "unread"]++;
  else opened[text.includes("data: [DONE]") ? "read" : "broken"]++;
}

let sent = 0;
/** Bad requests in so many lanes until so many were sent or it is time, and streams in lanes of their own as long as these go on. */
async function flood(total: number, { lanes, until }: { lanes: number; until: number }): Promise<void> {
  let under = lanes;
  const bad = async () => {
    while (sent < total && performance.now() < until) {
      sent++;
      await badRequest();
    }
    under--;
  };
  const open = async (first: number) => {
    for (let i = first; under > 0; i += streams) await stream(i);
  };
  await Promise.all([...Array.from({ length: lanes }, bad), ...Array.from({ length: streams }, (_, i) => open(i))]);
}

const began = performance.now();
const heap: number[] = [];
const resident: number[] = [];
const shown = (bytes: number) => Math.round(bytes / mebibyte);
for (let part = 1; part <= parts; part++) {
  await flood((part * requests) / parts, { lanes: 32, until: began + (1000 * part * most) / parts });
  globalThis.gc?.();
  heap.push(process.memoryUsage().heapUsed);
  resident.push(process.memoryUsage.rss());
  console.error(`${sent} requests: heap ${shown(heap.at(-1)!)} MiB, resident ${shown(resident.at(-1)!)} MiB`);
}
const seconds = Math.round((performance.now() - began) / 1000);
for (let tries = 0; server.calls() > 0 && tries < 50; tries++) await new Promise((resolve) => setTimeout(resolve, 100));
const left = server.calls();
await server.close();
await model.close();
agent.destroy();
rmSync(folder, { recursive: true });

const grown = (bytes: readonly number[]) => bytes.at(-1)! - Math.min(...bytes);
const held =
  left === 0 &&
  failures.length === 0 &&
  opened.broken === 0 &&
  grown(heap) <= mostGrowth.heap &&
  grown(resident) <= mostGrowth.resident;
console.log(
  JSON.stringify({
    ...{ held, model: values.model ?? "tiny", requests: sent, seconds, statuses, streams: opened, callsLeft: left },
    failures: failures.map(String).slice(0, 3),
    ...{ heapMiB: heap.map(shown), residentMiB: resident.map(shown) },
  }),
);
if (!held) process.exitCode = 1;
