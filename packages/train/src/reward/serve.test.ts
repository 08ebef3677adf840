import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { type Message, openShell, openText, type RunningServer, type TextCodec, UsageError } from "@tenet/lm";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { penalised } from "./combine.ts";
import { type RewardRequest, rewardOf } from "./reward.ts";
import { serveReward } from "./serve.ts";
import { templated } from "./templated.ts";
import { together } from "./together.ts";

let folder: string;
let text: TextCodec;
let server: RunningServer | undefined;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-serve-reward-"));
  text = await openText(await openShell(await writeTinyModel(folder)));
});
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(() => rm(folder, { recursive: true }));

/** What is judged is kept; a response is worth the number in it, "none" nothing, and "never" fails. */
async function serving(more: { token?: string; host?: string } = {}) {
  const batches: RewardRequest[][] = [];
  const number = rewardOf("number", async (requests) => {
    batches.push([...requests]);
    await new Promise((resolve) => setTimeout(resolve, 10));
    return requests.map(({ response }) => {
      if (response === "never") throw Object.assign(new Error("too long"), { name: "PreferenceModelError" });
      return response === "none" ? { unanswered: "nobody knows" } : Number(response);
    });
  });
  const reward = penalised(number, { missingEnd: 1, perToken: 0 });
  server = await serveReward({ reward, text, about: { run: "r" }, ...more });
  const { url } = server;
  const post = async (path: string, body: unknown, headers: Record<string, string> = {}) => {
    const reply = await fetch(url + path, { method: "POST", body: JSON.stringify(body), headers });
    // biome-ignore lint/suspicious/noExplicitAny: any answer is looked into
    return { status: reply.status, body: (await reply.json()) as any };
  };
  return { url, batches, post };
}

const user = (content: string): Message[] => [{ role: "user", content }];
/** As OpenRLHF has them: decoded with their control tokens. */
const rendered = (messages: readonly Message[]) => text.decode(text.encodePrompt([...messages]));

describe("a reward server as OpenRLHF calls it", () => {
  it("gives a number for each query, and what it is made of, to rendered conversations", async () => {
    const { post, batches } = await serving();
    const long: Message[] = [
      { role: "system", content: "Be brief." },
      ...user("One?"),
      { role: "assistant", content: "1" },
      ...user("Two?"),
    ];
    const prompts = [rendered(user("How many?")), rendered(long), "plain <words>"];
    const query = [`${prompts[0]}7<|im_end|>\n`, `${prompts[1]}2<|im_end|>`, `${prompts[2]}3`];
    const { status, body } = await post("/get_reward", { query, prompts, labels: ["a", null, "c"] });
    expect(status).toBe(200);
    // The last one was cut: nothing says that it ended.
    expect(body).toEqual({
      ...{ rewards: [7, 2, 2], scores: [7, 2, 2] },
      extra_logs: { number: [7, 2, 3], missing_end: [0, 0, 1], length: [1, 1, 1] },
    });
    expect(batches[0]!.map(({ prompt, response, finished }) => [prompt, response, finished])).toEqual([
      [user("How many?"), "7", true],
      [long, "2", true],
      [user("plain <words>"), "3", false],
    ]);
  });

  it("judges the reply, and not the reasoning before it", async () => {
    const { post, batches } = await serving();
    const prompt = rendered(user("How many?"));
    const { body } = await post("/get_reward", {
      query: [`${prompt}<think>\nTwice 3 and 1.\n</think>\n\n7<|im_end|>`],
      prompts: [prompt],
    });
    expect(body).toMatchObject({ rewards: [7], extra_logs: { length: [1] } });
    expect(batches[0]!.map(({ response, finished }) => [response, finished])).toEqual([["7", true]]);
  });

  it("says what is wrong with a call", async () => {
    const { post } = await serving();
    const prompt = rendered(user("How many?"));
    for (const [body, status, words] of [
      [{ query: "7", prompts: ["a"] }, 400, /^query: /],
      [{ query: ["a7"] }, 400, /expected the prompt of each query beside it/],
      [{ query: ["a7", "a8"], prompts: ["a"] }, 400, /as many of each, got 2 query and 1 prompts/],
      [{ query: ["b7"], prompts: ["a"] }, 400, /query\[0\]: expected it to begin with prompts\[0\]/],
      [{ query: ["<|im_end|>7"], prompts: ["<|im_end|>"] }, 422, /holds control tokens, and is no conversation/],
      [{ query: ["anever"], prompts: ["a"] }, 422, /too long/],
      [{ query: [`${prompt}none`, `${prompt}1`], prompts: [prompt, prompt] }, 503, /response 1: number: nobody knows/],
    ] as const) {
      const reply = await post("/get_reward", body);
      expect([reply.status, reply.body.error?.message], JSON.stringify(reply.body)).toEqual([
        status,
        expect.stringMatching(words),
      ]);
    }
    expect((await post("/elsewhere", {})).status).toBe(404);
    expect((await fetch(`${server!.url}/get_reward`)).status).toBe(405);
  });
});

describe("a reward server as verl's reward function calls it", () => {
  it("scores one response, or a batch's, by the conversation in extra_info", async () => {
    const { post, batches } = await serving();
    const one = {
      data_source: "d",
      ground_truth: null,
      solution_str: "4",
      extra_info: { prompt: user("Q"), index: 3 },
    };
    expect(await post("/compute_score", one)).toEqual({
      status: 200,
      body: { score: 4, number: 4, missing_end: 0, length: 1 },
    });
    const cut = { prompt: "Q", finished: false, category: "sums" };
    const many = { data_sources: ["d", "d"], solution_strs: ["4", "5"], extra_infos: [{ prompt: "Q" }, cut] };
    const { body } = await post("/compute_score", many);
    expect(body.map(({ score }: { score: number }) => score)).toEqual([4, 4]);
    expect(batches.at(-1)![1]).toMatchObject({ prompt: user("Q"), category: "sums", finished: false });
    const without = await post("/compute_score", { solution_str: "4", extra_info: {} });
    expect(without).toMatchObject({ status: 400, body: { error: { param: "extra_info.prompt" } } });
  });

  it("judges what comes at once together, and one's mistake is nobody else's", async () => {
    const { post, batches } = await serving();
    const ask = (solution_str: string) => post("/compute_score", { solution_str, extra_info: { prompt: "Q" } });
    const replies = await Promise.all(["1", "2", "never", "4", "5"].map(ask));
    expect(replies.map(({ status }) => status)).toEqual([200, 200, 422, 200, 200]);
    expect(replies.flatMap(({ body }) => body.score ?? [])).toEqual([1, 2, 4, 5]);
    expect(Math.max(...batches.map(({ length }) => length))).toBeGreaterThan(1);
  });
});

describe("who may call a reward server", () => {
  it("is this machine, by its own names, and whoever has the token", async () => {
    await expect(serving({ host: "0.0.0.0" })).rejects.toThrow(UsageError);
    const { url } = await serving();
    expect(await (await fetch(`${url}/health`)).json()).toEqual({ status: "ok", run: "r" });
    // A page of another site, by its origin, or under a name of its own.
    expect((await fetch(`${url}/health`, { headers: { origin: "http://evil.example" } })).status).toBe(403);
    const foreign = await new Promise<number | undefined>((resolve, reject) => {
      const { port } = new URL(url);
      httpRequest({ port, host: "127.0.0.1", path: "/health", headers: { host: "evil.example" } }, (reply) =>
        resolve(reply.resume().statusCode),
      )
        .on("error", reject)
        .end();
    });
    expect(foreign).toBe(403);
    await server!.close();
    const { post } = await serving({ token: "secret" });
    const body = { query: ["a7"], prompts: ["a"] };
    expect((await post("/get_reward", body)).status).toBe(401);
    expect((await post("/get_reward", body, { authorization: "Bearer secret" })).status).toBe(200);
  });
});

describe("text that a chat template rendered", () => {
  it("is turned back only into what renders to it", () => {
    const { prompt, reply } = templated(text);
    for (const messages of [
      user("Hi"),
      user("a\n\nb <b>"),
      [...user("1"), { role: "assistant" as const, content: "" }, ...user("2")],
    ])
      expect(prompt(rendered(messages))).toEqual(messages);
    // Words that look like a turn's end are words: no rendered text of ours holds them as tokens.
    expect(() => prompt(`${rendered(user("x"))}<|im_start|>system\n`)).toThrow(/is no conversation/);
    expect(reply("Yes<|im_end|>\n<|endoftext|>")).toEqual({ text: "Yes", finished: true });
    expect(reply("Yes\n")).toEqual({ text: "Yes\n", finished: false });
  });
});

describe("a reward for many callers", () => {
  it("leaves out those that have gone before their turn", async () => {
    const seen: string[] = [];
    const slow = rewardOf("slow", async (requests) => {
      seen.push(...requests.map(({ id }) => id));
      await new Promise((resolve) => setTimeout(resolve, 20));
      return requests.map(() => 1);
    });
    const judged = together(slow, { most: 1 });
    const one = (id: string) => ({ id, prompt: user("Q"), response: "x", finished: true, length: 1 });
    const control = new AbortController();
    const first = judged.score([one("a")]);
    const second = judged.score([one("b")], { signal: control.signal });
    control.abort(new Error("gone"));
    await expect(second).rejects.toThrow("gone");
    expect((await first)[0]).toMatchObject({ reward: 1 });
    expect(seen).toEqual(["a"]);
  });
});
