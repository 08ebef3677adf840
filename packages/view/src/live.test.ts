import { once } from "node:events";
import { openStore } from "@tenet/runs";
import { expect, test } from "vitest";
import { folder } from "../test/asking.ts";
import { child } from "../test/children.ts";
import { writeStore } from "../test/store.ts";
import type { Queues, RunPage } from "./api.ts";
import { Live, type Told } from "./live.ts";

/** Events of a stream until one holds for it, as [id, data]. */
async function listen(
  url: string,
  until: (seen: readonly [string, string][]) => boolean,
  lastId?: string,
): Promise<[string, string][]> {
  const ended = new AbortController();
  const response = await fetch(url, {
    signal: ended.signal,
    ...(lastId !== undefined && { headers: { "last-event-id": lastId } }),
  });
  const seen: [string, string][] = [];
  let text = "";
  for await (const chunk of response.body!.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
      const fields = new Map(
        text
          .slice(0, end)
          .split("\n")
          .map((line) => [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1).trim()]),
      );
      text = text.slice(end + 2);
      if (fields.get("event") === "run") seen.push([fields.get("id")!, fields.get("data")!]);
    }
    if (until(seen)) break;
  }
  ended.abort();
  return seen;
}

test("a stream that was lost goes on behind what it told, without a gap and without telling twice, while another process writes", async () => {
  const place = folder();
  const writer = await child("write", place, "desk");
  const { line: port } = await child("serve", place);
  const url = `http://127.0.0.1:${port}/api/stream?runs=${writer.line}`;
  const numbers: number[] = [];
  let last: string | undefined;
  for (let times = 0; times < 4; times++) {
    const seen = await listen(url, (all) => all.length >= 8, last);
    last = seen.at(-1)![0];
    numbers.push(...seen.map(([, data]) => JSON.parse(data).event.sequence as number));
  }
  expect(numbers.length).toBeGreaterThanOrEqual(32);
  expect(numbers).toEqual(Array.from({ length: numbers.length }, (_, i) => i + 1));
});

test("a run whose process is killed is shown as interrupted within two seconds, though it wrote nothing of it", async () => {
  const place = folder();
  const writer = await child("write", place, "desk");
  const store = openStore(place, { readOnly: true });
  const live = new Live(store);
  const ended = new AbortController();
  expect(store.run(writer.line).status).toBe("running");
  let killed = 0;
  let shown = 0;
  for await (const _ of live.follow([], undefined, ended.signal)) {
    if (killed === 0) {
      killed = performance.now();
      writer.process.kill("SIGKILL");
      continue;
    }
    if (store.run(writer.line).status !== "interrupted") continue;
    shown = performance.now();
    break;
  }
  ended.abort();
  expect(shown - killed).toBeLessThan(2000);
  expect(live.size).toBe(0);
  live.close();
  store.close();
});

test("stopping a run is what Ctrl-C does to it", async () => {
  const place = folder();
  const writer = await child("write", place, "desk");
  const { line: port } = await child("serve", place);
  const stop = () =>
    fetch(`http://127.0.0.1:${port}/api/runs/${writer.line}/stop`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-tenet-token": "token" },
      body: "{}",
    });
  const ended = once(writer.process, "exit");
  expect((await stop()).status).toBe(200);
  expect(await ended).toEqual([null, "SIGINT"]);
  expect((await stop()).status).toBe(400);
});

test("a server that is killed has lost no label that it took", async () => {
  const place = folder();
  const written = writeStore(place, { prompts: 20, done: 1 });
  written.store.close();
  const { process: server, line: port } = await child("serve", place);
  const host = `127.0.0.1:${port}`;
  const post = async (path: string, body: unknown) => {
    const response = await fetch(`http://${host}${path}`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-tenet-token": "token" },
      body: JSON.stringify(body),
    });
    return (await response.json()) as Record<string, never>;
  };
  const { id } = await post("/api/queues", { name: "q", run: written.done[0], size: 12, who: "ann" });
  for (let i = 0; i < 12; i++) {
    const { item } = (await post(`/api/queues/${id}/next`, { who: "ann" })) as unknown as { item: { row: string } };
    await post(`/api/queues/${id}/answers`, { row: item.row, who: "ann", choice: i % 3 === 0 ? "skip" : "left" });
  }
  server.kill("SIGKILL");
  await once(server, "exit");
  const store = openStore(place);
  expect(store.answers(id!)).toHaveLength(12);
  expect(store.labels()).toHaveLength(8);
  expect(store.queueItems(id!)).toHaveLength(12);
  expect(await store.verify()).toEqual([]);
  store.close();
});

test("thousands of events are told once each, and what the listener holds does not grow with them", async () => {
  const place = folder();
  const store = openStore(place);
  const run = store.begin({ name: "desk", recipe: {} });
  for (let i = 0; i < 10; i++) run.event({ kind: "message", message: "warm-up" });
  const reader = openStore(place, { readOnly: true });
  const live = new Live(reader);
  const ended = new AbortController();
  let told = 0;
  const following = (async () => {
    for await (const one of live.follow([run.id], undefined, ended.signal) as AsyncIterable<Told>) {
      if (one.kind !== "event") continue;
      told++;
      expect(one.event.sequence).toBe(told);
      if (told === 2_500) ended.abort();
    }
  })();
  const bulk = "x".repeat(8000);
  for (let i = 10; i < 2_500; i++) {
    run.event({ kind: "message", message: bulk });
    if (i % 250 === 0) await new Promise((resolve) => setImmediate(resolve));
  }
  const before = process.memoryUsage().heapUsed;
  await following;
  // Twenty megabytes of messages have gone by.
  expect(process.memoryUsage().heapUsed - before).toBeLessThan(15e6);
  expect(told).toBe(2_500);
  live.close();
  run.end("done");
  reader.close();
  store.close();
}, 240_000);

test("pages and queues are read while a run writes, and neither waits for the other", async () => {
  const place = folder();
  const writer = await child("write", place, "desk");
  const { line: port } = await child("serve", place);
  const get = async <T>(path: string) => (await (await fetch(`http://127.0.0.1:${port}${path}`)).json()) as T;
  const counts: number[] = [];
  for (let i = 0; i < 10; i++) {
    const page = await get<RunPage>(`/api/runs/${writer.line}`);
    counts.push(page.events.at(-1)?.sequence ?? 0);
    expect(page.run.status).toBe("running");
    expect((await get<Queues>("/api/queues")).queues).toEqual([]);
  }
  expect(counts.at(-1)).toBeGreaterThanOrEqual(counts[0]!);
});
