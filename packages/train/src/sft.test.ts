import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ExampleRow, rowId } from "@tenet/data";
import { unitNoise, writeTinyModel } from "@tenet/fixtures";
import { type LocalModel, loadAdapter, loraShapes, openLocalModel, saveAdapter } from "@tenet/lm";
import { ParameterSet } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { trainingChild } from "../test/training-child.ts";
import { CheckpointMismatchError } from "./checkpoint.ts";
import { encodeReply } from "./encode.ts";
import { NoExamplesError } from "./errors.ts";
import type { MetricEvent } from "./loop.ts";
import { type SftOptions, type SftResult, sftSettingsSchema, trainSft } from "./sft.ts";

interface Golden {
  settings: { batchSize: number; epochs: number; learningRate: number; schedule: "linear"; warmupSteps: number };
  lora: { rank: number; alpha: number };
  rows: { prompt: string; completion: string }[];
  steps: { loss: number; grad_norm: number; learning_rate: number; num_tokens: number; epoch: number }[];
  /** All factors, float32 in base64. */
  adapter: string;
}

let folder: string;
let base: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-sft-"));
  base = await writeTinyModel(join(folder, "base"));
  model = await openLocalModel(base, { device: "cpu", cacheDir: join(base, "cache") });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

function example(prompt: string, completion: string, weight = 1): ExampleRow {
  const id = rowId("example", prompt, completion, weight);
  return { id, origin: { parents: [] }, prompt: [{ role: "user", content: prompt }], completion, weight };
}

const numbers = Array.from({ length: 24 }, (_, i) => example(`Say ${i}`, `It is ${i}`));

async function train(
  options: Omit<SftOptions, "model" | "seed">,
): Promise<{ events: MetricEvent[]; result: SftResult }> {
  const run = trainSft({ model, seed: 1, ...options });
  const events: MetricEvent[] = [];
  for (let next = await run.next(); ; next = await run.next()) {
    if (next.done) return { events, result: next.value };
    events.push(next.value);
  }
}

const floats = (base64: string) => new Float32Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer);

describe("trainSft", () => {
  it("follows TRL's SFTTrainer with PEFT: losses within 0.1 % at every step, and the same adapter", async () => {
    const golden = JSON.parse(await readFile(new URL("sft.golden.json", import.meta.url), "utf8")) as Golden;
    const start = new ParameterSet(loraShapes(model.config, golden.lora));
    const noise = unitNoise(2);
    for (const { name, shape } of start.ranges)
      if (name.endsWith("lora_A.weight")) {
        const values = start.view(name);
        for (let i = 0; i < values.length; i++) values[i] = noise() / Math.sqrt(shape[1]!);
      }
    const from = join(folder, "golden-start");
    await saveAdapter(from, { lora: golden.lora, parameters: start, baseModel: undefined, config: model.config });

    const { events, result } = await train({
      rows: golden.rows.map(({ prompt, completion }) => example(prompt, completion)),
      settings: { ...golden.settings, lora: golden.lora, shuffle: false, microBatchTokens: 512 },
      from,
      folder: join(folder, "golden"),
    });
    expect(events.length).toBe(golden.steps.length);
    for (const [i, expected] of golden.steps.entries()) {
      const { metrics } = events[i]!;
      expect(Math.abs(metrics.loss! / expected.loss - 1)).toBeLessThan(1e-3);
      expect(Math.abs(metrics.grad_norm! / expected.grad_norm - 1)).toBeLessThan(1e-3);
      expect(metrics.learning_rate).toBeCloseTo(expected.learning_rate, 9);
      expect(metrics.num_tokens).toBe(expected.num_tokens);
      expect(metrics.epoch).toBeCloseTo(expected.epoch, 6);
    }
    const expected = floats(golden.adapter);
    const { data } = (await loadAdapter(result.path, model.config)).parameters;
    let [error, norm] = [0, 0];
    for (const [i, value] of expected.entries()) {
      error += (data[i]! - value) ** 2;
      norm += (value - start.data[i]!) ** 2;
    }
    // Against how far training went from its start.
    expect(Math.sqrt(error / norm)).toBeLessThan(1e-3);
  });

  it("learns, and the adapter says so in generation", async () => {
    const { events, result } = await train({
      rows: numbers,
      settings: { epochs: 15, batchSize: 8, learningRate: 2e-2 },
      folder: join(folder, "learns"),
    });
    expect(events.at(-1)!.metrics.loss).toBeLessThan(0.3 * events[0]!.metrics.loss!);
    expect(result.report).toMatchObject({ examples: 24, steps: 45, aside: [], truncated: 0, stoppedEarly: false });
    const speaker = await openLocalModel(base, { adapter: result.path, device: "cpu", cacheDir: join(base, "cache") });
    const prompt = [{ role: "user" as const, content: "Say 7" }];
    for await (const { completion } of speaker.generate([{ prompt, sampling: { temperature: 0, maxTokens: 12 } }])) {
      expect(completion.text).toMatch(/^It is/);
      // The end of the turn was learnt with the words.
      expect(completion.finishReason).toBe("stop");
    }
    await speaker.close();
  });

  it("continues after kill −9 between and inside steps, and ends with the same bytes", async () => {
    const undisturbed = join(folder, "undisturbed");
    const killed = join(folder, "killed");
    const report = await child(undisturbed);
    expect(await child(killed, { lines: 3, delay: 0 })).toBeUndefined();
    expect(await child(killed, { lines: 2, delay: 15 })).toBeUndefined();
    expect({ ...report, path: "" }).toEqual({ ...(await child(killed)), path: "" });
    for (const file of ["adapter_model.safetensors", "adapter_config.json"])
      expect(await readFile(join(killed, "adapter", file))).toEqual(await readFile(join(undisturbed, "adapter", file)));
  }, 120_000);

  it("stops when told to, and continues from there", async () => {
    const abort = new AbortController();
    const options = { rows: numbers, settings: { batchSize: 4, learningRate: 1e-2 }, seed: 1, model };
    const run = trainSft({ ...options, folder: join(folder, "aborted"), signal: abort.signal });
    await run.next();
    await run.next();
    abort.abort(new Error("enough"));
    await expect(run.next()).rejects.toThrow("enough");
    const rest = await train({ ...options, folder: join(folder, "aborted") });
    expect(rest.events.map(({ step }) => step)).toEqual([3, 4, 5, 6]);
    const whole = await train({ ...options, folder: join(folder, "not-aborted") });
    expect(rest.events).toEqual(whole.events.slice(2));
  });

  it("refuses a folder with another training's checkpoints", async () => {
    const options = { rows: numbers.slice(0, 4), folder: join(folder, "other"), settings: {} };
    await train(options);
    await expect(train({ ...options, settings: { learningRate: 1e-3 } })).rejects.toThrow(CheckpointMismatchError);
    await expect(train({ ...options, rows: numbers.slice(0, 3) })).rejects.toThrow(/data was/);
    // How often it is saved changes nothing of the outcome.
    await train({ ...options, settings: { checkpointEvery: 1 } });
  });

  it("stops early and keeps the weights of the lowest validation loss", async () => {
    const options = {
      rows: numbers.slice(0, 8),
      // Unlike what is learnt: the better one is known, the worse is the other.
      validation: [example("Say 99", "zzzz zzzz zzzz"), example("Say 98", "yyyy yyyy yyyy")],
      settings: { epochs: 12, batchSize: 8, learningRate: 5e-2, evaluateEvery: 1, patience: 2 },
      folder: join(folder, "early"),
    };
    const { events, result } = await train(options);
    const losses = events.map(({ metrics }) => metrics.eval_loss!);
    const lowest = losses.indexOf(Math.min(...losses));
    expect(events.length).toBe(lowest + 3);
    expect(events.length).toBeLessThan(12);
    expect(result.report.best).toEqual({ step: lowest + 1, loss: losses[lowest] });
    expect(result.report.stoppedEarly).toBe(true);
    // What was kept gives that loss.
    const speaker = await openLocalModel(base, { adapter: result.path, device: "cpu", cacheDir: join(base, "cache") });
    let [sum, count] = [0, 0];
    for (const { prompt, completion } of options.validation) {
      const { prompt: before, completion: tokens } = encodeReply(model.text, prompt, completion);
      const text = { prompt, continuations: [completion] };
      for await (const { scores } of speaker.score([text])) sum -= scores[0]!.logprob;
      const closing = model.text.decode([...before, ...tokens.slice(0, -1)], { skipSpecial: false });
      expect(closing.endsWith(completion)).toBe(true);
      count += tokens.length;
    }
    // The end of the turn is not among the scored tokens: its loss is missing.
    expect(sum / count).toBeLessThan(losses[lowest]!);
    expect(sum / count).toBeGreaterThan(losses[lowest]! * 0.7);
    await speaker.close();
  });

  it("sets rows aside with the reason, or cuts them where asked to", async () => {
    const rows = [
      ...numbers.slice(0, 2),
      example("Say it all", "word ".repeat(40)),
      example("long ".repeat(40), "short"),
      example("Say nothing", "never", 0),
    ];
    const settings = { maxLength: 100 };
    const aside = await train({ rows, settings, folder: join(folder, "aside") });
    expect(aside.result.report.aside.map(({ id }) => id)).toEqual(rows.slice(2).map(({ id }) => id));
    expect(aside.result.report.aside[0]!.reason).toMatch(/prompt and completion have \d+ \+ 201 tokens, more than 100/);
    expect(aside.result.report.aside[2]!.reason).toBe("its weight is 0");
    const cut = await train({ rows, settings: { ...settings, tooLong: "truncate" }, folder: join(folder, "cut") });
    expect(cut.result.report).toMatchObject({ examples: 3, truncated: 1 });
    expect(cut.result.report.tokens).toBe(aside.result.report.tokens + 100);
    await expect(train({ rows: rows.slice(2), settings, folder: join(folder, "none") })).rejects.toThrow(
      NoExamplesError,
    );
  });

  it("weighs examples: one of weight 2 counts like two", async () => {
    const [a, b] = [example("Say a", "the letter a"), example("Say b", "b")];
    const doubled = [example("Say a", "the letter a", 2), b];
    const settings = { batchSize: 3, shuffle: false };
    const [weighted, repeated] = [
      await train({ rows: doubled, settings, folder: join(folder, "weighted") }),
      await train({ rows: [a, a, b], settings, folder: join(folder, "repeated") }),
    ];
    for (const name of ["loss", "grad_norm"])
      expect(weighted.events[0]!.metrics[name]).toBeCloseTo(repeated.events[0]!.metrics[name]!, 4);
    const plain = await train({ rows: [a, b], settings, folder: join(folder, "plain") });
    expect(Math.abs(plain.events[0]!.metrics.loss! - weighted.events[0]!.metrics.loss!)).toBeGreaterThan(1e-3);
  });

  it("makes batches of tokens where asked to", async () => {
    const settings = { batchTokens: 80, shuffle: false };
    const { events } = await train({ rows: numbers.slice(0, 6), settings, folder: join(folder, "tokens") });
    const tokens = events.map(({ metrics }) => metrics.num_tokens!);
    const sizes = tokens.map((sum, i) => sum - (tokens[i - 1] ?? 0));
    expect(sizes.every((size) => size <= 80)).toBe(true);
    expect(sizes.length).toBe(3);
  });

  it("has a setting of its own for each name it is given", () => {
    expect(sftSettingsSchema.parse({})).toMatchObject({ epochs: 1, schedule: "constant", weights: "lora" });
    expect(() => sftSettingsSchema.parse({ learningrate: 1 })).toThrow(/learningrate/);
  });
});

/** The training in a process of its own, killed or to the end. */
const child = (into: string, kill?: { lines: number; delay: number }) =>
  trainingChild<SftResult>("sft-child.ts", [base, into], kill);

describe("encodeReply", () => {
  it("starts exactly as generation does, and ends the turn", () => {
    const prompt = [
      { role: "system" as const, content: "Be brief." },
      { role: "user" as const, content: "Hello" },
    ];
    for (const reply of ["Hi", "\n two lines\n", " leading", "<|im_end|> is text"]) {
      const encoded = encodeReply(model.text, prompt, reply);
      expect(encoded.prompt).toEqual(model.text.encodePrompt(prompt));
      expect(model.text.decode(encoded.completion.slice(0, -1), { skipSpecial: false })).toBe(reply);
      expect(model.text.endIds.has(encoded.completion.at(-1)!)).toBe(true);
      expect(model.text.tokenText(encoded.completion.at(-1)!)).toBe("<|im_end|>");
    }
  });

  it("gives the tokens of the whole conversation, rendered at once", () => {
    const prompt = [{ role: "user" as const, content: "Hello" }];
    const { prompt: before, completion } = encodeReply(model.text, prompt, "Hi there.");
    const next = [
      ...prompt,
      { role: "assistant" as const, content: "Hi there." },
      { role: "user" as const, content: "?" },
    ];
    const whole = model.text.encodePrompt(next);
    expect(whole.slice(0, before.length + completion.length)).toEqual([...before, ...completion]);
  });
});
