import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomStream } from "@tenet/data";
import { writeTinyModel } from "@tenet/fixtures";
import { adapterFactors, type LocalModel, loadAdapter, openLocalModel } from "@tenet/lm";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { JudgeError, NoExamplesError } from "./errors.ts";
import { type JudgeOptions, type JudgeResult, type JudgeRow, trainJudge } from "./judge.ts";
import type { MetricEvent } from "./loop.ts";

let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-judge-"));
  model = await openLocalModel(await writeTinyModel(join(folder, "base")), { device: "cpu", cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const letters = ["A", "B"] as const;
const quick = { learningRate: 1e-2, batchSize: 16, lora: { rank: 8, alpha: 16 } };

/** Two words of four small letters, the better of which has an M in the place of one of them. */
function wordPair(item: number): { better: string; worse: string } {
  const stream = randomStream({ seed: 3, stage: "words", item: String(item) });
  const word = (start: number) =>
    Array.from({ length: 4 }, (_, i) => String.fromCharCode(97 + stream.integer(start + i, 26)));
  const [better, worse] = [word(0), word(4)];
  better[stream.integer(8, 4)] = "M";
  return { better: better.join(""), worse: worse.join("") };
}

/** A pair as its question in both orders; p: that the word with the M is right. */
function row(item: number, p = 1): JudgeRow {
  const { better, worse } = wordPair(item);
  const ask = (first: string, second: string) => `Which?\n(A) ${first}\n(B) ${second}\n(`;
  const questions = [
    { prompt: ask(better, worse), p },
    { prompt: ask(worse, better), p: 1 - p },
  ];
  return { id: String(item), questions, weight: 1 };
}

const rows = (count: number, from = 0) => Array.from({ length: count }, (_, i) => row(from + i));

async function train(options: Omit<JudgeOptions, "model" | "seed" | "letters"> & Partial<JudgeOptions>) {
  const run = trainJudge({ model, seed: 1, letters, ...options });
  const events: MetricEvent[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, result: next.value };
    events.push(next.value);
  }
}

/** ℓ_A − ℓ_B of every question, as whoever labels reads it. */
async function differences({ path }: Pick<JudgeResult, "path">, asked: readonly JudgeRow[]): Promise<number[]> {
  const judge = await model.withAdapter({ id: "judge", ...adapterFactors(await loadAdapter(path, model.config)) });
  const requests = asked.flatMap(({ questions }) =>
    questions.map(({ prompt }) => ({ prompt, continuations: [...letters] })),
  );
  const found: number[] = [];
  for await (const { request, scores } of judge.score(requests))
    found[request] = scores[0]!.logprob - scores[1]!.logprob;
  return found;
}

describe("trainJudge", () => {
  it("learns a rule that it finds in pairs it has not seen, wherever they stand", async () => {
    const { result, events } = await train({
      rows: rows(128),
      settings: { ...quick, epochs: 5 },
      folder: join(folder, "rule"),
    });
    const read = await differences(result, rows(64, 1000));
    expect(read.filter((difference, i) => difference > 0 === (i % 2 === 0)).length / read.length).toBeGreaterThan(0.9);
    expect(events.at(-1)!.metrics).toMatchObject({ accuracy: 1, first: 0.5, epoch: 5 });
    expect(result.report).toMatchObject({ pairs: 128, steps: 40, aside: [] });
  });

  it("states the probabilities of soft targets", async () => {
    const soft = (count: number, from = 0) => Array.from({ length: count }, (_, i) => row(from + i, 0.75));
    const settings = { ...quick, epochs: 10, schedule: "linear" as const };
    const { result } = await train({ rows: soft(128), settings, folder: join(folder, "soft") });
    const read = await differences(result, soft(64, 1000));
    const towards = read.map((difference, i) => (i % 2 === 0 ? difference : -difference));
    // ln(0.75 / 0.25)
    expect(towards.reduce((a, b) => a + b) / towards.length).toBeCloseTo(Math.log(3), 0);
  });

  it("reports the loss, accuracy and margin of what a labeller reads, each pair by its weight", async () => {
    // An update that changes nothing leaves the adapter as it begins: without effect.
    const settings = { ...quick, learningRate: 1e-30 };
    const asked = [row(0, 0.9), { ...row(1), weight: 3 }, row(2, 0.5), row(3, 0.2)];
    const { events, result } = await train({ rows: asked, settings, folder: join(folder, "figures") });
    const read = await differences(result, asked);
    const questions = asked.flatMap((one) => one.questions.map(({ p }) => ({ p, weight: one.weight })));
    const loss = questions.map(({ p, weight }, i) => {
      const ln = (x: number) => -Math.log1p(Math.exp(-x));
      return -weight * (p * ln(read[i]!) + (1 - p) * ln(-read[i]!));
    });
    const towards = questions.flatMap(({ p }, i) => (p === 0.5 ? [] : [Math.sign(p - 0.5) * read[i]!]));
    const sum = (values: readonly number[]) => values.reduce((a, b) => a + b, 0);
    const { metrics } = events[0]!;
    expect(metrics.loss).toBeCloseTo(sum(loss) / (2 * 6), 4);
    expect(metrics.margin).toBeCloseTo(sum(towards) / 6, 4);
    expect(metrics.accuracy).toBe(towards.filter((x) => x > 0).length / 6);
    expect(metrics.first).toBe(read.filter((x) => x > 0).length / 8);
    const half = await train({ rows: [row(2, 0.5)], settings, folder: join(folder, "half") });
    expect(half.events[0]!.metrics).not.toHaveProperty("accuracy");
    expect(half.events[0]!.metrics).not.toHaveProperty("margin");
  });

  it("learns the easy pairs once, before the others and whatever the epochs", async () => {
    const settings = { ...quick, batchSize: 4, epochs: 2 };
    const easy = rows(8, 500);
    const { result, events } = await train({ rows: rows(8), warmup: easy, settings, folder: join(folder, "easy") });
    expect(events.map(({ metrics }) => metrics.epoch)).toEqual([0, 0, 0.5, 1, 1.5, 2]);
    expect(result.report).toMatchObject({ pairs: 8, warmupPairs: 8, steps: 6 });
    const alone = await train({ rows: easy, settings: { ...settings, epochs: 1 }, folder: join(folder, "alone") });
    // The same eight pairs in two updates, in another order.
    const tokens = (metrics: readonly MetricEvent[]) => metrics[1]!.metrics.num_tokens;
    expect(tokens(events)).toBe(tokens(alone.events));
  });

  it("continues after an interruption, and ends with the same bytes", async () => {
    const options = { rows: rows(40), settings: { ...quick, epochs: 2, checkpointEvery: 2 } };
    const whole = await train({ ...options, folder: join(folder, "whole") });
    const parts = join(folder, "parts");
    const run = trainJudge({ model, seed: 1, letters, ...options, folder: parts });
    for (let i = 0; i < 3; i++) await run.next();
    await run.return(undefined as never);
    const rest = await train({ ...options, folder: parts });
    expect(rest.events).toEqual(whole.events.slice(2));
    expect(rest.result.report).toEqual(whole.result.report);
    const file = "adapter_model.safetensors";
    expect(await readFile(join(parts, "adapter", file))).toEqual(await readFile(join(whole.result.path, file)));
  });

  it("sets what it cannot use aside, and refuses what it cannot read letters of", async () => {
    const settings = { ...quick, maxLength: 64 };
    const long = { ...row(1), questions: row(1).questions.map(({ p }) => ({ prompt: "x".repeat(80), p })) };
    const useless = [{ ...row(0), weight: 0 }, long];
    const { result } = await train({ rows: [row(2), ...useless], settings, folder: join(folder, "aside") });
    expect(result.report).toMatchObject({
      pairs: 1,
      aside: [
        { id: "0", reason: "its weight is 0" },
        { id: "1", reason: expect.stringMatching(/80 tokens, more than 64/) },
      ],
    });
    const none = join(folder, "none");
    await expect(train({ rows: useless, settings, folder: none })).rejects.toThrow(NoExamplesError);
    await expect(train({ rows: [row(0)], letters: ["AA", "B"], settings, folder: none })).rejects.toThrow(JudgeError);
    const once = { ...row(1), questions: row(1).questions.slice(0, 1) };
    await expect(train({ rows: [row(0), once], settings, folder: none })).rejects.toThrow(/1 questions.*2/);
  });
});
