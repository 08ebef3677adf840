import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { openStore } from "@tenet/runs";
import { expect, test } from "vitest";
import { folder } from "../test/asking.ts";
import { child } from "../test/children.ts";
import { writeStore } from "../test/store.ts";
import type { NextItem } from "./api.ts";

async function killed({ process: one }: { process: ChildProcess }): Promise<void> {
  one.kill("SIGKILL");
  await once(one, "exit");
}

/** Whoever dies, and whenever: what the server said it had is there. What it had no time to say may be there too, and nothing else. */
test("what was said stays when the server and a run are killed without a word", async () => {
  const place = folder();
  const { store: first, done } = writeStore(place, { prompts: 12, done: 1 });
  first.close();
  const [run] = done as [string];
  const writer = await child("write", place, "desk");
  const server = await child("serve", place);
  const ask = async <T>(path: string, body: object): Promise<T> => {
    const text = JSON.stringify(body);
    const headers = { "content-type": "application/json", "x-tenet-token": "token" };
    const response = await fetch(`http://127.0.0.1:${server.line}${path}`, { method: "POST", headers, body: text });
    if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as T;
  };
  const heard = { notes: 0, answers: 0 };
  const { id: queue } = await ask<{ id: string }>("/api/queues", { name: "q", run, size: 10, who: "ann" });
  const { id: set } = await ask<{ id: string }>("/api/votes", { name: "s", candidates: ["Be kind."], who: "ann" });
  const vote = { who: "ann", group: "clinic", candidate: "candidate-1", vote: "agree" };
  await ask(`/api/votes/${set}/say`, vote);
  const work = (async () => {
    for (let i = 0; ; i++) {
      await ask(`/api/runs/${run}/note`, { who: "ann", note: { text: `${i}` } });
      heard.notes = i + 1;
      const { item } = await ask<NextItem>(`/api/queues/${queue}/next`, { who: "ann" });
      if (!item) continue;
      await ask(`/api/queues/${queue}/answers`, { row: item.row, who: "ann", choice: "left" });
      heard.answers++;
      if (heard.answers === 6) {
        await killed(writer);
        setTimeout(() => void killed(server), 5);
      }
    }
  })();
  await expect(work).rejects.toThrow();

  const store = openStore(place);
  const text = store.runNotes({ run })[0]!.value.text;
  expect([`${heard.notes - 1}`, `${heard.notes}`]).toContain(text);
  const answers = store.answers(queue);
  const labels = store.labels().filter(({ who }) => who === "ann");
  expect([heard.answers, heard.answers + 1]).toContain(answers.length);
  // An answer and its label are one: both or neither.
  expect(labels.map(({ pair }) => pair).sort()).toEqual(answers.map(({ row }) => row).sort());
  expect(store.queueItems(queue)).toHaveLength(10);
  expect(store.answers(set).map(({ value }) => value)).toEqual([{ vote: "agree", group: "clinic" }]);
  expect(store.run(writer.line).status).toBe("interrupted");
  expect(await store.verify()).toEqual([]);
  store.close();
}, 120_000);
