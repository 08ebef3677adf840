import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { OpenCheckpoints } from "@tenet/align";
import { openDataset } from "@tenet/data";
import { hashOf } from "@tenet/runs";
import { afterAll, expect, test } from "vitest";
import { Asking } from "../test/asking.ts";
import type { ChatLine, ChatVotes, Checkpoints } from "./api.ts";

type Model = OpenCheckpoints["models"][number];
const opened: string[][] = [];
let closed = 0;

/** Says who it is and what it was asked, a word at a time. */
function echo(id: string): Model {
  return {
    id,
    async *generate(requests: Parameters<Model["generate"]>[0], options?: Parameters<Model["generate"]>[1]) {
      const { prompt, sampling } = requests[0]!;
      const words = [`${id}`, " heard", ` ${prompt.length}`, ` with ${JSON.stringify(sampling)}`, " take 5 mg"];
      for (const text of words) {
        await new Promise((resolve) => setTimeout(resolve, 5));
        options?.signal?.throwIfAborted();
        options?.onEvent?.({ type: "text", index: 0, text } as never);
      }
      yield { index: 0, completion: { text: words.join(""), finishReason: "stop" } } as never;
    },
  } as unknown as Model;
}

const asking = new Asking({
  prompts: 6,
  done: 1,
  openToSpeak: async (checkpoints) => {
    opened.push(checkpoints.map(({ id }) => id));
    return { models: checkpoints.map(({ id }) => echo(id)), close: async () => void closed++ };
  },
});
afterAll(() => asking.close());

// A run whose checkpoint lies in the store.
const { store } = asking.written;
const run = store.begin({ name: "spoken", recipe: { model: "fixture" } });
run.event({ kind: "opened", data: store.lastEvent(asking.written.done[0]!, "opened")!.data });
const place = join(asking.folder, "adapter");
mkdirSync(place);
writeFileSync(join(place, "adapter_config.json"), "{}");
const stage = run.stage({ name: "supervised", kind: "sft", identity: hashOf("spoken") });
const { hash } = await stage.addArtifact(place);
stage.finish({ artifacts: [hash], output: { kind: "adapter", artifact: hash, report: {} } });
run.end("done");

const turns = ["base", "sl"].map((checkpoint) => ({ checkpoint, messages: [{ role: "user", content: "I cough" }] }));

async function chat(body: object): Promise<ChatLine[]> {
  const response = await asking.send("/api/chat", { run: run.id, turns, ...body });
  expect(response.status).toBe(200);
  return (await response.text())
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line) as ChatLine);
}

test("checkpoints answer side by side, as they write, with one seed and the checks' verdicts; loaded once", async () => {
  expect((await asking.get<Checkpoints>(`/api/runs/${run.id}/checkpoints`)).checkpoints.map(({ id }) => id)).toEqual([
    "base",
    "sl",
  ]);
  const lines = await chat({ seed: 7, maxTokens: 20 });
  expect(lines[0]).toEqual({ type: "loading", checkpoints: ["base", "sl"] });
  for (const id of ["base", "sl"]) {
    const own = lines.filter((line) => "checkpoint" in line && line.checkpoint === id);
    const done = own.at(-1)!;
    expect(done).toMatchObject({
      type: "done",
      text: `${id} heard 1 with {"seed":7,"maxTokens":20} take 5 mg`,
      finishReason: "stop",
    });
    const written = own.flatMap((line) => (line.type === "text" ? line.text : [])).join("");
    expect(done.type === "done" && done.text).toBe(written);
    const broken =
      done.type === "done" ? done.verdicts!.filter(({ violated }) => violated).map(({ principle }) => principle) : [];
    expect(broken).toEqual(["see-somebody", "no-dose"]);
  }
  expect((await chat({})).some(({ type }) => type === "loading")).toBe(false);
  expect(opened).toEqual([["base", "sl"]]);
  await chat({ turns: turns.slice(1) });
  expect(opened).toEqual([["base", "sl"], ["sl"]]);
  expect(closed).toBe(1);
});

test("one conversation at a time; a checkpoint that is not there is named; the last word must be the user's", async () => {
  const first = asking.send("/api/chat", { run: run.id, turns });
  const second = await asking.send("/api/chat", { run: run.id, turns });
  expect(second.status).toBe(400);
  await (await first).text();
  const lines = await chat({ turns: [{ ...turns[0], checkpoint: "rl" }] });
  expect(lines.at(-1)).toMatchObject({ type: "error", message: expect.stringContaining("it has base, sl") });
  const wrong = [{ checkpoint: "base", messages: [{ role: "assistant", content: "x" }] }];
  expect((await asking.send("/api/chat", { run: run.id, turns: wrong })).status).toBe(400);
});

test("a blind vote is a label of the pair that was shown, and can be had as preferences", async () => {
  const messages = [{ role: "user", content: "I cough" }];
  const vote = (choice: string, who: string) =>
    asking.post<{ pair: string }>("/api/chat/votes", {
      ...{ run: run.id, who, choice, messages },
      replies: [
        { checkpoint: "sl", text: "See a doctor." },
        { checkpoint: "base", text: "Take 5 mg." },
      ],
    });
  const { pair } = await vote("first", "ann");
  expect((await vote("second", "ben")).pair).toBe(pair);
  await vote("tie", "eve");
  await vote("both bad", "joe");
  expect(store.labels({ pair }).map(({ who, p }) => [who, p])).toEqual([
    ["ann", 1],
    ["ben", 0],
    ["eve", 0.5],
  ]);
  const { votes, wins } = await asking.get<ChatVotes>(`/api/runs/${run.id}/votes`);
  expect(votes).toBe(4);
  expect(wins.map(({ checkpoint, won, ties }) => [checkpoint, won.value, won.n, ties])).toEqual([
    ["sl", 0.5, 2, 1],
    ["base", 0.5, 2, 1],
  ]);
  const path = join(asking.folder, "votes.jsonl");
  writeFileSync(path, await (await asking.request(`/api/runs/${run.id}/votes.jsonl`)).text());
  const rows = [];
  for await (const one of await openDataset(path, { as: "preferences" })) if ("row" in one) rows.push(one.row);
  expect(rows).toHaveLength(2);
  expect(rows).toMatchObject([{ prompt: messages }, { prompt: messages }]);
});
