/*
 * What several servers of one model are worth, and what becomes of calls where one of them fails: simulated servers on the loopback
 * interface, each with a fixed delay and so many calls at once.
 *
 *   npx tsx --conditions=source bench/several-servers.ts [calls] [delay in ms] [calls at once of each server]
 */
import { once } from "node:events";
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as later } from "node:timers/promises";
import { endpoint } from "@tenet/lm";

type Behaviour = (call: number) => "answers" | "fails" | "hangs up";

// A shorter delay measures how fast one process can be client and servers at once: a call takes it 1 to 3 ms.
const [calls = 5000, delay = 1000, concurrency = 16] = process.argv.slice(2).map(Number);

/** @param seeds of the calls that it answered */
async function serve(milliseconds: number, behave: Behaviour, seeds: number[]): Promise<Server> {
  let count = 0;
  const json = (response: ServerResponse, status: number, value: unknown) =>
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(value));
  const server = createServer(async (request, response) => {
    if (request.url?.endsWith("/models"))
      return void json(response, 200, { object: "list", data: [{ id: "m", owned_by: "vllm" }] });
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { messages, seed } = JSON.parse(Buffer.concat(chunks).toString());
    const behaviour = behave(count++);
    await later(milliseconds);
    if (behaviour === "hangs up") return void request.socket.destroy();
    if (behaviour === "fails") return void json(response, 500, { error: { message: "out of order" } });
    seeds.push(seed);
    const message = { role: "assistant", content: `${messages[0].content} ${seed}` };
    json(response, 200, {
      choices: [{ index: 0, message, finish_reason: "stop" }],
      usage: { prompt_tokens: 3, completion_tokens: 2 },
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

const requests = Array.from({ length: calls }, (_, i) => ({
  prompt: [{ role: "user" as const, content: `question ${i % Math.ceil(calls / 4)}` }],
  key: `k${i}`,
  sampling: { maxTokens: 4 },
}));

async function run(name: string, behaviours: readonly { milliseconds?: number; behave?: Behaviour }[]) {
  const seeds: number[] = [];
  const servers = await Promise.all(
    behaviours.map(({ milliseconds = delay, behave = () => "answers" as const }) => serve(milliseconds, behave, seeds)),
  );
  const addresses = servers.map((server) => `http://127.0.0.1:${(server.address() as AddressInfo).port}/v1`);
  const model = endpoint({ baseUrl: addresses, model: "m", concurrency });
  const texts: string[][] = requests.map(() => []);
  const processor = process.cpuUsage();
  const began = performance.now();
  for await (const { request, completion } of model.generate(requests)) texts[request]!.push(completion.text);
  const seconds = (performance.now() - began) / 1000;
  const { user, system } = process.cpuUsage(processor);
  const answered = texts.filter((list) => list.length === 1).length;
  console.log(
    `${name.padEnd(34)} ${seconds.toFixed(1).padStart(6)} s ${(calls / seconds).toFixed(0).padStart(5)} calls/s  ` +
      `answered once ${answered} of ${calls}, given ${seeds.length} answers by servers, ` +
      `${model.usage().failedAttempts} attempts failed, ${((user + system) / 1e6).toFixed(1)} s of processor; ` +
      `calls ${model
        .servers()
        .map(({ calls, failures }) => `${calls} (${failures})`)
        .join(", ")}`,
  );
  await model.close();
  for (const server of servers) {
    server.closeAllConnections();
    server.close();
  }
  return { texts: JSON.stringify(texts), rate: calls / seconds };
}

const plain: { texts: string; rate: number }[] = [];
for (const count of [1, 2, 4, 8])
  plain.push(
    await run(
      `${count} servers`,
      Array.from({ length: count }, () => ({})),
    ),
  );
const broken = [
  await run("4, one dies after 100 calls", [{}, { behave: (n) => (n < 100 ? "answers" : "hangs up") }, {}, {}]),
  await run("4, one five times slower", [{}, { milliseconds: 5 * delay }, {}, {}]),
  await run("4, one always answers 500", [{}, { behave: () => "fails" }, {}, {}]),
  await run("4, all three", [
    {},
    { behave: (n) => (n < 100 ? "answers" : "hangs up") },
    { milliseconds: 5 * delay },
    { behave: () => "fails" },
  ]),
];
const same = [...plain, ...broken].every(({ texts }) => texts === plain[0]!.texts);
console.log(`the same texts everywhere: ${same}`);
console.log(`times one server's rate: ${plain.map(({ rate }) => (rate / plain[0]!.rate).toFixed(2)).join(", ")}`);
if (!same) process.exitCode = 1;
