import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { withReasoning } from "@tenet/data";
import { writeTalkingModel } from "@tenet/fixtures";
import { type LocalModel, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { promptsOf } from "../test/prompts.ts";
import { type Said, saying, speakingAs } from "../test/saying.ts";
import { bestOfN } from "./best-of-n.ts";
import { penalised, rewardOf } from "./reward/index.ts";
import { trainRloo } from "./rloo.ts";
import { rewardRequest, rollout } from "./rollout.ts";

const cpu = { device: "cpu", threads: 1 } as const;
let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-rollout-"));
  await writeTalkingModel(folder);
  model = await openLocalModel(folder, { ...cpu, cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const reasoned = withReasoning("It hurts, so it may be broken.", "Rest.");

/** Samples of one prompt. A character is a token of this model. */
const samplesOf = (...said: Said[]) =>
  rollout(saying(said, model.text), promptsOf("Say", 1), {
    ...{ text: model.text, seed: 1, iteration: 0, samplesPerPrompt: said.length, maxTokens: 100, temperature: 1 },
  });

async function ended<Event, Result>(training: AsyncGenerator<Event, Result>) {
  const events: Event[] = [];
  for (let next = await training.next(); ; next = await training.next()) {
    if (next.done) return { events, result: next.value };
    events.push(next.value);
  }
}

it("reads each prompt once, however many replies it has", async () => {
  const read: unknown[] = [];
  const text = new Proxy(model.text, {
    get: (target, key) =>
      key === "encodePrompt"
        ? (prompt: Parameters<typeof target.encodePrompt>[0]) => {
            read.push(prompt);
            return target.encodePrompt(prompt);
          }
        : Reflect.get(target, key, target),
  });
  const options = { text, seed: 1, iteration: 0, samplesPerPrompt: 4, maxTokens: 100, temperature: 1 };
  const samples = await rollout(saying([{ text: "Rest." }], model.text), promptsOf("Say", 3), options);
  expect(samples.map(({ promptTokens }) => promptTokens)).toEqual(
    samples.map(({ prompt }) => model.text.encodePrompt([...prompt.prompt])),
  );
  expect(samples).toHaveLength(12);
  // Besides, how a reply ends is read off a conversation.
  expect(read.filter((prompt) => samples.some((sample) => sample.prompt.prompt === prompt))).toHaveLength(3);
});

describe("reasoning before a reply", () => {
  it("is learnt with it, and is no part of its text or its length", async () => {
    const samples = await samplesOf({ text: reasoned }, { text: "Rest." }, { text: "Rest.", cut: true });
    expect(samples.map(({ response, completion, length }) => [response, completion, length])).toEqual([
      ["Rest.", reasoned, 6],
      ["Rest.", "Rest.", 6],
      ["Rest.", "Rest.", 5],
    ]);
    expect(samples[0]!.tokens).toHaveLength(reasoned.length + 1);
    const [behind, plain] = samples.map((sample) => rewardRequest(sample));
    expect(behind).toEqual(plain);
  });

  it("that no reply follows leaves a reply of no length", async () => {
    const [cut, over] = await samplesOf({ text: "<think>\nIt hurts, so", cut: true }, { text: "<think>Hm.</think>" });
    expect([cut!.response, cut!.length, cut!.tokens.length]).toEqual(["", 0, 20]);
    expect([over!.response, over!.length]).toEqual(["", 1]);
  });

  it("is told from the reply where several tokens make one character", async () => {
    const [sample] = await samplesOf({ text: withReasoning("痛い, 骨折かもしれない 🦴.", "休む.") });
    // Three bytes of each of two characters, the full stop and the end.
    expect([sample!.response, sample!.length]).toEqual(["休む.", 3 + 3 + 1 + 1]);
  });

  it("is learnt without an end mark that was spelled behind the reply", async () => {
    const [sample] = await samplesOf({ text: `${reasoned}<|im_end|>\nuser` });
    expect([sample!.completion, sample!.length]).toEqual([reasoned, 6]);
  });

  it("is not what a length penalty presses on, nor what the metrics of length tell", async () => {
    const one = rewardOf("one", (requests) => requests.map(() => 1));
    const training = trainRloo({
      model: speakingAs(model, [{ text: reasoned }, { text: "Rest now." }]),
      ...{ prompts: promptsOf("Say", 2), seed: 1, folder: join(folder, "rloo"), ...cpu },
      reward: penalised(one, { missingEnd: 0, perToken: 0.1 }),
      settings: {
        ...{ iterations: 1, promptsPerIteration: 2, samplesPerPrompt: 2, epochs: 1, minibatches: 1, maxTokens: 80 },
        lora: { rank: 2, alpha: 4 },
      },
      selection: {
        ...{ prompts: promptsOf("Watch", 2), every: 1, sampling: { temperature: 1, maxTokens: 80 } },
        ...{ violates: (requests) => requests.map(() => false), digest: "none" },
      },
    });
    const { events } = await ended(training);
    const { metrics, rollouts } = events.at(-1)!;
    // Six tokens and ten: of the reasoned reply those behind the reasoning.
    expect(metrics).toMatchObject({ "val/response_length": 8, "reward/length": 8, "validation/tokens": 6 });
    expect(metrics["objective/scores"]).toBeCloseTo(1 - 0.1 * 8, 9);
    expect(metrics["reward/length_correlation"]).toBeCloseTo(-1, 9);
    expect(rollouts!.map(({ response, tokens }) => [response, tokens])).toEqual([
      ["Rest.", 6],
      ["Rest now.", 10],
      ["Rest.", 6],
      ["Rest now.", 10],
    ]);
  });

  it("is what best-of-n learns before the reply that it chose", async () => {
    const { result } = await ended(
      bestOfN({
        model: speakingAs(model, [{ text: "No." }, { text: reasoned }]),
        ...{ prompts: promptsOf("Say", 2), seed: 1, folder: join(folder, "best"), ...cpu },
        reward: rewardOf("rest", (requests) => requests.map(({ response }) => Number(response === "Rest."))),
        settings: { n: 2, maxTokens: 80 },
      }),
    );
    expect(result.rows.map(({ completion }) => completion)).toEqual([reasoned, reasoned]);
  });
});
