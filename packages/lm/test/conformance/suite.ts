import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { CapabilityError, EndpointError, UsageError } from "../../src/language-model/errors.ts";
import type {
  CallOptions,
  Capabilities,
  Completion,
  GenerateRequest,
  GenerateResult,
  LanguageModel,
  ModelEvent,
  Prompt,
  ScoreRequest,
  ScoreResult,
} from "../../src/language-model/types.ts";
import type { TokenModel } from "../../src/local/index.ts";

/** An implementation of LanguageModel to be held to the contract. */
export interface Subject {
  name: string;
  /** Called once before all tests; may start a server. */
  open(): Promise<LanguageModel>;
  /** Called once after all tests. */
  shut?(): Promise<void>;
  /** What the model says of itself; compared with what it then reports. */
  capabilities: Capabilities;
  /** It is a `TokenModel`. */
  tokens?: boolean;
  /** Prompts that it answers with at least 24 tokens, variously at temperature 1. */
  prompts?: string[];
  /** Single next tokens for option scoring, behind raw and behind chat prompts. */
  options?: { raw: string[]; chat: string[] };
  /** Where two ways to the same number may differ (batching, quantisation). Default 1e-6. */
  tolerance?: number;
  /** How far stops and cancellation may lag, in milliseconds. Default 2000. */
  patienceMs?: number;
  /** Tests that do not apply, by name, each with its reason. */
  except?: Record<string, string>;
}

const defaultPrompts = [
  "Tell me a long story about the sea.",
  "Explain at length how bread is made.",
  "Describe a city at night in many words.",
  "List everything that grows in a garden.",
];

/**
 * Holds one implementation to the contract of LanguageModel. A test that does not apply is skipped with its reason in its
 * name, so that a report of a run says what was not tested and why.
 */
export function conformance(subject: Subject): void {
  const { capabilities: can, tolerance = 1e-6, patienceMs = 2000 } = subject;
  const options = subject.options ?? { raw: [" A", " B"], chat: ["A", "B"] };
  const texts = subject.prompts ?? defaultPrompts;
  const wrap = (text: string): Prompt => (can.chat ? [{ role: "user", content: text }] : text);
  const prompts = texts.map(wrap);
  const greedy = { temperature: 0, maxTokens: 24 };
  let model: LanguageModel;

  const test = (name: string, run: () => Promise<void>, needs: Record<string, boolean> = {}) => {
    const missing = Object.entries(needs).filter(([, has]) => !has);
    const reason =
      subject.except?.[name] ?? (missing.length > 0 ? `it has no ${missing.map(([n]) => n).join(", ")}` : undefined);
    if (reason) it.skip(`${name} (skipped: ${reason})`, () => {});
    else it(name, run);
  };
  const generate = (requests: GenerateRequest[], callOptions?: CallOptions) =>
    collect(model.generate(requests, callOptions));
  const one = async (request: GenerateRequest): Promise<Completion> => (await generate([request]))[0]!.completion;
  const score = async (requests: ScoreRequest[]): Promise<ScoreResult[]> =>
    (await collect(model.score(requests))).sort((a, b) => a.request - b.request);

  describe(`${subject.name} keeps the contract of LanguageModel`, () => {
    beforeAll(async () => {
      model = await subject.open();
    });
    afterAll(async () => {
      await model?.close();
      await subject.shut?.();
    });

    test("is what it says it is", async () => {
      expect(await model.capabilities()).toEqual(can);
      expect(await model.capabilities()).toEqual(can);
      expect(model.id).not.toBe("");
    });

    test("yields nothing for an empty batch", async () => {
      expect(await generate([])).toEqual([]);
      expect(await score([])).toEqual([]);
    });

    test("answers every request of a batch once", async () => {
      const results = await generate(prompts.map((prompt) => ({ prompt, sampling: { maxTokens: 8 } })));
      expect(results.map(({ request }) => request).sort()).toEqual(prompts.map((_, i) => i));
      for (const { completion } of results) {
        expect(completion.index).toBe(0);
        expect(completion.text).not.toBe("");
      }
    });

    test("gives n samples, numbered, and not all the same", async () => {
      const results = await generate(
        prompts.slice(0, 2).map((prompt) => ({ prompt, sampling: { n: 4, maxTokens: 16 } })),
      );
      for (const request of [0, 1]) {
        const own = results.filter((result) => result.request === request).map(({ completion }) => completion);
        expect(own.map(({ index }) => index).sort()).toEqual([0, 1, 2, 3]);
        expect(new Set(own.map(({ text }) => text)).size).toBeGreaterThan(1);
      }
    });

    test(
      "gives the same for the same seed and other things for others",
      async () => {
        const draw = async (seed: number) =>
          byIndex(await generate([{ prompt: prompts[0]!, key: "k", sampling: { seed, n: 4, maxTokens: 16 } }]));
        const first = await draw(1);
        expect(await draw(1)).toEqual(first);
        const others = [await draw(2), await draw(3), await draw(4), await draw(5)];
        expect(new Set([first, ...others].map((texts) => texts.join("\n"))).size).toBeGreaterThan(1);
      },
      { "reproducible seeds": can.seed },
    );

    test(
      "does not let a sample depend on its batch, its place in it, or n",
      async () => {
        const requests = prompts.map((prompt, i) => ({
          prompt,
          key: `item ${i}`,
          sampling: { seed: 5, maxTokens: 16 },
        }));
        const forward = await generate(requests);
        const backward = await generate([...requests].reverse());
        const textOf = (results: typeof forward, request: number) =>
          results.find((result) => result.request === request)!.completion.text;
        for (let i = 0; i < requests.length; i++)
          expect(textOf(backward, requests.length - 1 - i)).toBe(textOf(forward, i));
        const alone = await generate([{ ...requests[2]!, sampling: { ...requests[2]!.sampling, n: 3 } }]);
        expect(byIndex(alone)[0]).toBe(textOf(forward, 2));
      },
      { "reproducible seeds": can.seed },
    );

    test("is greedy at temperature 0", async () => {
      const draw = () => generate([{ prompt: prompts[0]!, sampling: { ...greedy, n: 2, seed: 3 } }]);
      const [first, second] = byIndex(await draw());
      expect(second).toBe(first);
      expect(byIndex(await draw())[0]).toBe(first);
    });

    test("ends at maxTokens, and says so", async () => {
      const completion = await one({ prompt: prompts[0]!, sampling: { ...greedy, maxTokens: 5 } });
      expect(completion.finishReason).toBe("length");
      expect(completion.usage.completionTokens).toBe(5);
      const longer = await one({ prompt: prompts[0]!, sampling: { ...greedy, maxTokens: 9 } });
      expect(longer.text.startsWith(completion.text)).toBe(true);
    });

    test("ends before a stop string, also one inside or across tokens", async () => {
      const { text } = await one({ prompt: prompts[0]!, sampling: greedy });
      const middle = Math.floor(text.length / 2);
      for (const stop of [[text.slice(middle, middle + 1)], [text.slice(middle, middle + 5), "\u0001never"]]) {
        const stopped = await one({ prompt: prompts[0]!, sampling: { ...greedy, stop } });
        expect(stopped.text).toBe(text.slice(0, text.indexOf(stop[0]!)));
        expect(stopped.finishReason).toBe("stop");
      }
      const free = await one({ prompt: prompts[0]!, sampling: { ...greedy, stop: ["\u0001never"] } });
      expect(free.text).toBe(text);
    });

    test("reports usage that adds up", async () => {
      const before = model.usage();
      const results = await generate(prompts.map((prompt) => ({ prompt, sampling: { n: 2, maxTokens: 7 } })));
      const after = model.usage();
      const sum = (pick: (completion: Completion) => number) => results.reduce((all, r) => all + pick(r.completion), 0);
      expect(after.completionTokens - before.completionTokens).toBe(sum((c) => c.usage.completionTokens));
      expect(after.promptTokens - before.promptTokens).toBe(sum((c) => c.usage.promptTokens));
      expect(after.completions - before.completions).toBe(results.length);
      for (const { completion } of results) {
        expect(completion.usage.promptTokens).toBeGreaterThan(0);
        expect(completion.usage.completionTokens).toBeGreaterThan(0);
        expect(completion.usage.completionTokens).toBeLessThanOrEqual(7);
      }
    });

    test("stops at once when the signal aborts, and never looks finished", async () => {
      const aborter = new AbortController();
      const reason = new Error("enough");
      const many = Array.from({ length: 200 }, (_, i) => ({
        prompt: wrap(`${texts[i % texts.length]} (${i})`),
        sampling: { maxTokens: 24 },
      }));
      let seen = 0;
      const started = Date.now();
      const loop = (async () => {
        for await (const { completion } of model.generate(many, { signal: aborter.signal })) {
          if (aborter.signal.aborted) continue;
          expect(completion.finishReason).not.toBe("cancelled");
          if (++seen === 3) aborter.abort(reason);
        }
      })();
      await expect(loop).rejects.toBe(reason);
      expect(seen).toBe(3);
      // The first three had to be made; what is bounded is the time after.
      expect(Date.now() - started).toBeLessThan(patienceMs + 10_000);
      await quiet(model, patienceMs);
    });

    test("does nothing under a signal that has aborted already", async () => {
      const before = model.usage();
      const signal = AbortSignal.abort(new Error("too late"));
      await expect(generate([{ prompt: prompts[0]! }], { signal })).rejects.toThrow("too late");
      expect(model.usage()).toEqual(before);
    });

    test("stops working when its consumer leaves", async () => {
      const many = Array.from({ length: 100 }, (_, i) => ({
        prompt: wrap(`${texts[0]} (${i})`),
        sampling: { maxTokens: 16 },
      }));
      for await (const _ of model.generate(many)) break;
      await quiet(model, patienceMs);
      expect((await one({ prompt: prompts[0]!, sampling: { maxTokens: 4 } })).text).not.toBe("");
    });

    test(
      "streams text that adds up to the completion, stop strings held back",
      async () => {
        const { text } = await one({ prompt: prompts[0]!, sampling: greedy });
        const middle = Math.floor(text.length / 2);
        const events: ModelEvent[] = [];
        const results = await generate(
          [
            { prompt: prompts[0]!, sampling: greedy },
            { prompt: prompts[0]!, sampling: { ...greedy, stop: [text.slice(middle, middle + 4)] } },
          ],
          { stream: true, onEvent: (event) => void events.push(event) },
        );
        for (const { request, completion } of results) {
          const pieces = events.filter((event) => event.type === "text" && event.request === request);
          expect(pieces.map((event) => (event.type === "text" ? event.text : "")).join("")).toBe(completion.text);
          expect(completion.text.length).toBeGreaterThan(0);
        }
      },
      { streaming: can.streaming },
    );

    test("takes any Unicode and gives well-formed text", async () => {
      const odd = [
        "Füße, naïveté 🌊👩‍👩‍👧 日本語 العربية हिन्दी",
        "a\u0000b\u200d\ufeffc",
        "\ud83d\ude00".repeat(20),
        "   \n\t ",
      ];
      const results = await generate(odd.map((text) => ({ prompt: wrap(text), sampling: { maxTokens: 8 } })));
      expect(results).toHaveLength(odd.length);
      for (const { completion } of results) expect(completion.text).not.toMatch(/\p{Cs}/u);
    });

    test("answers a very long prompt or refuses it with a typed error", async () => {
      const prompt = wrap("All work and no play makes a dull day. ".repeat(6000));
      await one({ prompt, sampling: { maxTokens: 4 } }).then(
        (completion) => expect(completion.usage.promptTokens).toBeGreaterThan(10_000),
        (error) => expect(error instanceof UsageError || error instanceof EndpointError).toBe(true),
      );
      expect((await one({ prompt: prompts[0]!, sampling: { maxTokens: 4 } })).text).not.toBe("");
    });

    test("refuses mistakes before doing anything", async () => {
      const before = model.usage();
      const mistakes: GenerateRequest[] = [
        { prompt: "" },
        { prompt: [] },
        { prompt: [{ role: "robot" as "user", content: "x" }] },
        { prompt: prompts[0]!, sampling: { temperature: -1 } },
        { prompt: prompts[0]!, sampling: { topP: 0 } },
        { prompt: prompts[0]!, sampling: { maxTokens: 0 } },
        { prompt: prompts[0]!, sampling: { stop: [""] } },
        { prompt: prompts[0]!, sampling: { tmperature: 1 } as object },
      ];
      for (const mistake of mistakes)
        await expect(generate([{ prompt: prompts[0]! }, mistake])).rejects.toBeInstanceOf(UsageError);
      expect(model.usage()).toEqual(before);
    });

    test("says which sampling it lacks instead of leaving it out", async () => {
      const lacking = [
        [can.topK, { topK: 5 }],
        [can.minP, { minP: 0.1 }],
        [can.minTokens, { minTokens: 2 }],
        [can.repetitionPenalty, { repetitionPenalty: 1.2 }],
      ] as const;
      for (const [has, sampling] of lacking) {
        const answer = one({ prompt: prompts[0]!, sampling: { ...sampling, maxTokens: 4 } });
        if (has) expect((await answer).usage.completionTokens).toBeLessThanOrEqual(4);
        else await expect(answer).rejects.toBeInstanceOf(CapabilityError);
      }
    });

    test(
      "reports log-probabilities of the tokens it said",
      async () => {
        const completion = await one({ prompt: prompts[0]!, sampling: { ...greedy, maxTokens: 6, logprobs: 1 } });
        const tokens = completion.tokens!;
        expect(tokens).toHaveLength(6);
        expect(tokens.map(({ text }) => text).join("")).toBe(completion.text);
        for (const { text, logprob, top } of tokens) {
          expect(logprob).toBeLessThanOrEqual(1e-6);
          expect(top).toHaveLength(1);
          expect(top![0]!.text).toBe(text); // greedy takes the likeliest
        }
        expect((await one({ prompt: prompts[0]!, sampling: { maxTokens: 4 } })).tokens).toBeUndefined();
      },
      { "log-probabilities": can.topLogprobs !== null },
    );

    for (const kind of ["raw", "chat"] as const) {
      const how = can.score[kind];
      const ask = (text: string): Prompt => (kind === "raw" ? text : [{ role: "user", content: text }]);
      test(
        `scores options behind ${kind} prompts`,
        async () => {
          const requests = texts.map((text) => ({ prompt: ask(text), continuations: options[kind] }));
          const results = await score(requests);
          expect(results.map(({ request }) => request)).toEqual(requests.map((_, i) => i));
          for (const { scores } of results) {
            expect(scores).toHaveLength(options[kind].length);
            for (const { logprob } of scores) expect(logprob).toBeLessThanOrEqual(1e-6);
          }
          const reversed = await score([{ prompt: ask(texts[0]!), continuations: [...options[kind]].reverse() }]);
          const logprobs = (result: ScoreResult) => result.scores.map(({ logprob }) => logprob);
          logprobs(reversed[0]!)
            .reverse()
            .forEach((logprob, i) => {
              expect(Math.abs(logprob - logprobs(results[0]!)[i]!)).toBeLessThanOrEqual(tolerance);
            });
        },
        { [`scores of ${kind} prompts`]: can[kind] && how !== "none" },
      );
    }

    test("refuses to score what it cannot", async () => {
      const kinds = (["raw", "chat"] as const).filter((kind) => can[kind] && can.score[kind] === "none");
      for (const kind of kinds) {
        const prompt: Prompt = kind === "raw" ? texts[0]! : [{ role: "user", content: texts[0]! }];
        await expect(score([{ prompt, continuations: [" A"] }])).rejects.toBeInstanceOf(CapabilityError);
      }
    });

    test(
      "scores any continuation as the sum over its tokens",
      async () => {
        const continuations = [" Once upon a time", " there", " naïve 日本語 🌊 end"];
        const [result] = await score([{ prompt: texts[0]!, continuations }]);
        result!.scores.forEach(({ logprob, tokenLogprobs, tokens, upperBound }, i) => {
          expect(logprob).toBeCloseTo(
            tokenLogprobs.reduce((a, b) => a + b, 0),
            8,
          );
          expect(tokens).toHaveLength(tokenLogprobs.length);
          if (i < 2) expect(tokens.join("")).toBe(continuations[i]);
          expect(upperBound).toBeUndefined();
        });
      },
      { "scores of any continuation": can.score.raw === "continuations" },
    );

    test(
      "scores its own words as it said them",
      async () => {
        const said = await one({ prompt: texts[0]!, sampling: { ...greedy, maxTokens: 6, logprobs: 0 } });
        const [result] = await score([{ prompt: texts[0]!, continuations: [said.text] }]);
        const sum = said.tokens!.reduce((all, { logprob }) => all + logprob, 0);
        expect(Math.abs(result!.scores[0]!.logprob - sum)).toBeLessThanOrEqual(tolerance * 6);
      },
      { "scores of any continuation": can.score.raw === "continuations", "raw prompts": can.raw },
    );

    const tokenTests = { "texts by their tokens": subject.tokens === true };
    test(
      "reads tokens as the text that they are of",
      async () => {
        const reader = model as TokenModel;
        const { text } = reader;
        const asked = <P>(some: P[]) => some.map((prompt, i) => ({ prompt, key: `${i}`, sampling: { maxTokens: 12 } }));
        const byRequest = (results: GenerateResult[]) => results.toSorted((a, b) => a.request - b.request);
        const tokens = texts.map((one) => ({ tokens: text.encodePrompt(one) }));
        const said = byRequest(await collect(reader.generate(asked(texts))));
        expect(byRequest(await collect(reader.generate(asked(tokens))))).toEqual(said);

        const behind = [" there", " naïve 日本語 🌊 end"];
        const scored = await collect(
          reader.score([
            { prompt: texts[0]!, continuations: behind },
            { prompt: tokens[0]!, continuations: behind.map((one) => ({ tokens: text.encode(one) })) },
          ]),
        );
        const [ofTexts, ofTokens] = scored.toSorted((a, b) => a.request - b.request);
        ofTokens!.scores.forEach((score, i) => {
          expect(score.tokens).toEqual(ofTexts!.scores[i]!.tokens);
          expect(Math.abs(score.logprob - ofTexts!.scores[i]!.logprob)).toBeLessThanOrEqual(tolerance);
        });
      },
      tokenTests,
    );

    test(
      "refuses tokens that are none of its vocabulary before doing anything",
      async () => {
        const reader = model as TokenModel;
        const before = model.usage();
        const [known] = reader.text.encode("a") as [number];
        for (const wrong of [-1, 0.5, Number.NaN, 1e300, can.topLogprobs!]) {
          const told = new RegExp(
            `token 1 of .* request 1 is ${String(wrong).replace("+", ".")}: expected a whole number`,
          );
          const [fine, other] = [{ tokens: [known] }, { tokens: [known, wrong] }];
          await expect(collect(reader.generate([{ prompt: fine }, { prompt: other }]))).rejects.toThrow(told);
          const behind = { prompt: fine, continuations: [fine] };
          await expect(collect(reader.score([behind, { ...behind, prompt: other }]))).rejects.toThrow(told);
          await expect(collect(reader.score([behind, { ...behind, continuations: [other] }]))).rejects.toThrow(told);
        }
        await expect(collect(reader.generate([{ prompt: { tokens: [] } }]))).rejects.toBeInstanceOf(UsageError);
        expect(model.usage()).toEqual(before);
      },
      tokenTests,
    );

    test("refuses calls once closed", async () => {
      const closed = model;
      await closed.close();
      await expect(collect(closed.generate([{ prompt: prompts[0]! }]))).rejects.toBeInstanceOf(UsageError);
      await expect(collect(closed.score([{ prompt: texts[0]!, continuations: ["x"] }]))).rejects.toBeInstanceOf(
        UsageError,
      );
    });
  });
}

async function collect<T>(results: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const result of results) all.push(result);
  return all;
}

function byIndex(results: { completion: Completion }[]): string[] {
  return results
    .map(({ completion }) => completion)
    .sort((a, b) => a.index - b.index)
    .map(({ text }) => text);
}

/** Waits until the model's sums stand still, and fails when they do not. */
async function quiet(model: LanguageModel, patienceMs: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, patienceMs / 2));
  const settled = model.usage().completions;
  await new Promise((resolve) => setTimeout(resolve, patienceMs / 2));
  expect(model.usage().completions).toBe(settled);
}
