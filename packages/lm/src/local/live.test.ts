import { describe, expect, it } from "vitest";
import { type GenerateRequest, type GenerateResult, resolveSampling } from "../language-model/index.ts";
import type { Job } from "./generate.ts";
import { liveGeneration } from "./live.ts";

/** 1,000 positions of memory, and a decoder that takes one turn of the program for each reply and tells what met in which run. */
function machine() {
  const runs: { slots: number; prompts: string[][] }[] = [];
  const job = (request: GenerateRequest, position: number): Job => {
    const sampling = resolveSampling(request.sampling);
    return { request, position, sampling, tokens: [1, 2], room: sampling.maxTokens };
  };
  const room = (positions: number) => {
    const slots = Math.min(4, Math.floor(1000 / positions));
    return { slots, positions: 1000 / slots };
  };
  async function* run(arrivals: () => readonly Job[], slots: number): AsyncGenerator<GenerateResult> {
    const prompts: string[][] = [];
    runs.push({ slots, prompts });
    const waiting: Job[] = [];
    for (;;) {
      const arrived = arrivals();
      if (arrived.length > 0) prompts.push(arrived.map(({ request }) => String(request.prompt)));
      waiting.push(...arrived);
      const next = waiting.shift();
      if (!next) return;
      const usage = { promptTokens: 2, completionTokens: 1 };
      const text = `to ${String(next.request.prompt)}`;
      yield { request: next.position, completion: { text, finishReason: "stop", usage, index: 0 } };
      await new Promise((resolve) => setImmediate(resolve));
    }
  }
  const generate = liveGeneration({ job, room, run });
  const ask = async (prompt: string, maxTokens: number, signal?: AbortSignal) => {
    for await (const { completion } of generate([{ prompt, sampling: { maxTokens } }], signal ? { signal } : {}))
      return completion.text;
    return undefined;
  };
  return { runs, ask };
}

describe("callers that come and go", () => {
  it("those who come together begin together", async () => {
    const { runs, ask } = machine();
    const names = ["a", "b", "c", "d", "e", "f"];
    const first = names.slice(0, 3).map((name) => ask(name, 100));
    const later = new Promise((resolve) => setImmediate(resolve)).then(() =>
      Promise.all(names.slice(3).map((name) => ask(name, 100))),
    );
    expect([...(await Promise.all(first)), ...(await later)]).toEqual(names.map((name) => `to ${name}`));
    expect(runs).toEqual([{ slots: 4, prompts: [names] }]);
  });

  it("one that may become longer than memory was shared out for waits, goes before those behind it, and has its room", async () => {
    const { runs, ask } = machine();
    await Promise.all([ask("a", 100), ask("b", 200), ask("long", 800), ask("c", 100)]);
    expect(runs).toEqual([
      { slots: 4, prompts: [["a", "b"]] },
      { slots: 1, prompts: [["long", "c"]] },
    ]);
  });

  it("one that has gone keeps nobody waiting", async () => {
    const { runs, ask } = machine();
    const gone = new AbortController();
    const asked = [ask("a", 100), ask("long", 800, gone.signal), ask("b", 100)];
    gone.abort(new Error("gone"));
    const [a, long, b] = await Promise.allSettled(asked);
    expect([a, b].map((one) => one!.status)).toEqual(["fulfilled", "fulfilled"]);
    expect(long).toMatchObject({ status: "rejected", reason: { message: "gone" } });
    expect(runs).toEqual([{ slots: 4, prompts: [["a", "b"]] }]);
  });
});
