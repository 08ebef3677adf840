import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeTinyModel } from "@tenet/fixtures";
import { type LocalModel, type LoraConfig, loadAdapter, openLocalModel, SCORE_WEIGHT } from "@tenet/lm";
import { decodeAdamW, type ParameterSet, sessionCounts } from "@tenet/tensor";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { baseIdentity } from "./fingerprint.ts";
import { type LocalTrainer, type LocalTrainerOptions, openLocalTrainer } from "./local-trainer.ts";
import { completionSequence, type Item } from "./packing.ts";
import { type BuildLoss, TrainerError } from "./trainer.ts";

let folder: string;
let model: LocalModel;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tenet-trainer-"));
  model = await openLocalModel(await writeTinyModel(join(folder, "base")), { device: "cpu", cacheDir: folder });
});

afterAll(async () => {
  await model.close();
  await rm(folder, { recursive: true });
});

const lora = { rank: 4, alpha: 8 };

async function withTrainer<T>(
  use: (trainer: LocalTrainer) => Promise<T>,
  options: Partial<LocalTrainerOptions> = {},
): Promise<T> {
  const optimizer = {
    ...({ learningRate: 1e-2, schedule: "constant", warmupSteps: 0, steps: 10 } as const),
    ...({ betas: [0.9, 0.999], epsilon: 1e-8, weightDecay: 0, maxGradNorm: 1 } as const),
  };
  const common = { model, tuning: { lora }, optimizer, seed: 1, times: [64], microBatchTokens: 512 };
  const trainer = await openLocalTrainer({ ...common, ...options });
  try {
    return await use(trainer);
  } finally {
    await trainer.close();
  }
}

/** Examples of unequal lengths; B is zero at first, so something must be in it for the factors' gradients to be seen. */
const examples: Item[] = ["a", "some words", "a much longer answer than that", "seven", "x y"].map((answer, i) => ({
  sequences: [
    completionSequence(encode(`Question ${"?".repeat(i)}`), encode(answer), { weight: Array.from(answer, () => 0.05) }),
  ],
}));

function encode(text: string): number[] {
  return [...Buffer.from(text)];
}

const nll: BuildLoss = (graph) => {
  const { logprobs, correct } = graph.tokens();
  const weight = graph.value("weight");
  return { loss: logprobs.mul(weight).sum().neg(), metrics: { correct: correct.mul(weight).sum() } };
};

function stir(parameters: ParameterSet): void {
  for (let i = 0; i < parameters.size; i++) parameters.data[i]! += 0.05 * Math.sin(i);
}

/** Log-probabilities of the second example's answer, token by token, as generation computes them. */
async function scored(speaker: Pick<LocalModel, "score">): Promise<number[]> {
  for await (const { scores } of speaker.score([{ prompt: "Question ?", continuations: ["some words"] }]))
    return scores[0]!.tokenLogprobs;
  throw new Error("nothing was scored");
}

function expectClose(found: ArrayLike<number>, expected: ArrayLike<number>, tolerance = 1e-4): void {
  expect(found.length).toBe(expected.length);
  for (let i = 0; i < found.length; i++) expect(Math.abs(found[i]! - expected[i]!)).toBeLessThan(tolerance);
}

describe("Trainer", () => {
  it("computes the same loss and gradient however a batch is cut and packed", async () => {
    const results: { loss: number; gradNorm: number }[] = [];
    for (const options of [{}, { microBatchTokens: 64 }, { times: [128] }, { checkpointing: true }])
      await withTrainer(async (trainer) => {
        stir(trainer.parameters);
        const objective = trainer.objective(nll);
        const alone = [];
        for (const example of examples) alone.push((await objective.evaluate([example])).loss);
        const sums = await objective.accumulate(examples);
        expect(sums.loss).toBeCloseTo(
          alone.reduce((a, b) => a + b),
          4,
        );
        expect(await objective.evaluate(examples)).toEqual({
          loss: expect.closeTo(sums.loss, 4),
          correct: expect.closeTo(sums.correct!, 4),
        });
        results.push({ ...sums, ...(await trainer.update()) });
      }, options);
    for (const { loss, gradNorm } of results) {
      expect(loss).toBeCloseTo(results[0]!.loss, 4);
      expect(Math.abs(gradNorm / results[0]!.gradNorm - 1)).toBeLessThan(1e-4);
    }
  });

  it.each([
    ["laid out once or for each", null],
    ["of an item or of several, and apart where layers look back over a window", 16],
  ])("computes the same for replies whether what they begin with is %s", async (_, window) => {
    const config = { ...model.config, sliding_window: window };
    const windowed = { config, weight: (name: string) => model.weight(name) } as LocalModel;
    const prompt = encode("What does the question ask for, at some length?");
    const values = (answer: string) => ({ weight: Array.from(answer, (_, i) => 0.02 * (i + 1)) });
    const pairs = [
      ["yes", "no, it does not"],
      ["yes, and no", "yes, or no"],
      ["a", "b"],
    ].map((answers): Item => {
      return { sequences: answers.map((answer) => completionSequence(prompt, encode(answer), values(answer))) };
    });
    const single = pairs.flatMap(({ sequences }) => sequences.map((sequence): Item => ({ sequences: [sequence] })));
    const results: { places: number; loss: number; logprobs: number[]; gradient: Float32Array }[] = [];
    for (const [calls, sequencesPerItem] of [
      [[pairs], 2],
      [[single], 1],
      // By itself a sequence has nothing to share a beginning with.
      [single.map((item) => [item]), 1],
    ] as const)
      await withTrainer(
        async (trainer) => {
          stir(trainer.parameters);
          const objective = trainer.objective(nll);
          const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
          const found = { places: 0, loss: 0, logprobs: [] as number[] };
          for (const items of calls) {
            found.loss += (await objective.accumulate(items)).loss;
            const { logprobs } = await forward.run(items);
            found.logprobs.push(...logprobs!.flat().flatMap((row) => [...row]));
            found.places += trainer.pack(items).reduce((sum, { tokenCount }) => sum + tokenCount, 0);
          }
          await trainer.update();
          // AdamW's first step shows signs alone; its first moment holds the gradient.
          const gradient = decodeAdamW((await trainer.state()).optimizer).firstMoment.map((moment) => 10 * moment);
          results.push({ ...found, gradient });
        },
        { model: windowed, sequencesPerItem, shareBeginnings: true, times: [128] },
      );
    const [ofItems, ofSeveral, apart] = results as [(typeof results)[0], (typeof results)[0], (typeof results)[0]];
    const saved = (found: { places: number }) => apart.places - found.places;
    expect(saved(ofItems)).toBe(window === null ? pairs.length * prompt.length + "yes, ".length : 0);
    if (window === null) expect(saved(ofSeveral)).toBeGreaterThan(saved(ofItems));
    else expect(saved(ofSeveral)).toBe(0);
    for (const together of [ofItems, ofSeveral]) {
      expect(together.loss).toBeCloseTo(apart.loss, 5);
      expectClose(together.logprobs, apart.logprobs, 1e-5);
      expectClose(together.gradient, apart.gradient, 1e-5);
    }
  });

  it("no example sees another: its log-probabilities do not change with its neighbours", async () => {
    await withTrainer(async (trainer) => {
      const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
      const together = (await forward.run(examples)).logprobs!;
      for (const [i, example] of examples.entries())
        expectClose(together[i]![0]!, (await forward.run([example])).logprobs![0]![0]!, 1e-5);
      const reversed = (await forward.run([...examples].reverse())).logprobs!;
      expectClose(reversed[0]![0]!, together[4]![0]!, 1e-5);
    });
  });

  it("shares its factors with generation, which speaks with what training has reached", async () => {
    await withTrainer(async (trainer) => {
      const speaker = await model.withAdapter(trainer.adapter("live"));
      const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
      const objective = trainer.objective(nll);
      const before = await scored(speaker as LocalModel);
      for (let i = 0; i < 3; i++) {
        await objective.accumulate(examples);
        await trainer.update();
      }
      const after = await scored(speaker as LocalModel);
      expectClose((await forward.run(examples)).logprobs![1]![0]!, after);
      expect(Math.max(...after.map((value, i) => Math.abs(value - before[i]!)))).toBeGreaterThan(0.1);
      // Factors of zero are the base itself: a reference under the same program.
      const zero = await trainer.frozen();
      zero.parameters.data.fill(0);
      expectClose((await forward.run(examples, zero)).logprobs![1]![0]!, await scored(model));
    });
  });

  it("continues from a saved state bit by bit", async () => {
    await withTrainer(async (trainer) => {
      const objective = trainer.objective(nll);
      const steps = async (count: number) => {
        const seen = [];
        for (let i = 0; i < count; i++)
          seen.push({ ...(await objective.accumulate(examples)), ...(await trainer.update()) });
        return seen;
      };
      await steps(2);
      const state = await trainer.state();
      const first = { steps: await steps(3), parameters: trainer.parameters.data.slice() };
      await trainer.restore(state);
      expect(trainer.step).toBe(2);
      expect({ steps: await steps(3), parameters: trainer.parameters.data.slice() }).toEqual(first);
      await expect(trainer.restore({ ...state, parameters: state.parameters.subarray(4) })).rejects.toThrow(
        TrainerError,
      );
    });
  });

  it("refuses to update from nothing, and to save between accumulating and updating", async () => {
    await withTrainer(async (trainer) => {
      await expect(trainer.update()).rejects.toThrow(/nothing was accumulated/);
      await trainer.objective(nll).accumulate(examples);
      await expect(trainer.state()).rejects.toThrow(/call update/);
      await trainer.update();
      expect((await trainer.state()).parameters.byteLength).toBe(4 * trainer.parameters.size);
    });
  });

  it("begins from an earlier stage's adapter, and refuses one of another shape", async () => {
    const path = join(folder, "earlier");
    const saved = await withTrainer(async (trainer) => {
      stir(trainer.parameters);
      await trainer.save(path);
      return trainer.parameters.data.slice();
    });
    await withTrainer(async ({ parameters }) => expect(parameters.data).toEqual(saved), { from: path });
    await withTrainer(
      async ({ parameters }) => {
        expect(parameters.data.slice(0, saved.length)).toEqual(saved);
        expect(parameters.view(SCORE_WEIGHT).some((value) => value !== 0)).toBe(true);
      },
      { from: path, tuning: { lora, head: true } },
    );
    for (const tuning of [{ lora: { rank: 2, alpha: 8 } }, { lora: { rank: 4, alpha: 16 } }, {}])
      await expect(withTrainer(async () => {}, { from: path, tuning })).rejects.toThrow(TrainerError);
  });

  it("gives pairs their sums and their own values, and heads their scores", async () => {
    const pairs: Item[] = [0, 1, 2].map((i) => ({
      sequences: [examples[i]!.sequences[0]!, examples[i + 1]!.sequences[0]!],
      values: { p: 0.25 * i },
    }));
    await withTrainer(
      async (trainer) => {
        const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs, scores: graph.scores() }));
        const { logprobs, scores } = await forward.run(pairs);
        const sum = (values: Float32Array) => values.reduce((a, b) => a + b, 0);
        const objective = trainer.objective((graph) => {
          const sums = graph.perSequence(graph.tokens().logprobs); // [pairs, 2]
          const difference = sums
            .slice(1, 0, 1)
            .sub(sums.slice(1, 1, 2))
            .reshape(["items"]);
          const score = graph.perSequence(graph.scores()).sum();
          return { loss: difference.mul(graph.item("p")).sum(), metrics: { score, pairs: graph.item("p").sum() } };
        });
        const found = await objective.evaluate(pairs);
        const expected = logprobs!.reduce((total, [a, b], i) => total + 0.25 * i * (sum(a!) - sum(b!)), 0);
        expect(found.loss).toBeCloseTo(expected, 3);
        expect(found.pairs).toBeCloseTo(0.75, 6);
        expect(found.score).toBeCloseTo(
          scores!.reduce((total, [a, b]) => total + sum(a!) + sum(b!), 0),
          3,
        );
        expect((await objective.accumulate(pairs)).loss).toBeCloseTo(expected, 3);
        expect((await trainer.update()).gradNorm).toBeGreaterThan(0);
      },
      { tuning: { lora, head: true }, sequencesPerItem: 2 },
    );
  });

  it("trains all weights from the base's on, and saves a checkpoint that says the same", async () => {
    const path = join(folder, "full");
    const base = await scored(model);
    const trained = await withTrainer(
      async (trainer) => {
        const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
        const logprobs = async () => (await forward.run(examples)).logprobs![1]![0]!;
        expectClose(await logprobs(), base);
        const objective = trainer.objective(nll);
        const before = await objective.accumulate(examples);
        await trainer.update();
        expect((await objective.evaluate(examples)).loss).toBeLessThan(before.loss);
        expect(() => trainer.adapter("none")).toThrow(TrainerError);
        await trainer.saveWeights(path);
        return logprobs();
      },
      { tuning: {} },
    );
    const reopened = await openLocalModel(path, { device: "cpu", cacheDir: folder });
    expectClose(await scored(reopened), trained);
    await reopened.close();
  });

  it("saves what PEFT's loader takes", async () => {
    const path = join(folder, "saved");
    await withTrainer(
      async (trainer) => {
        await trainer.save(path);
        const { parameters, lora: found, baseModel } = await loadAdapter(path, model.config);
        expect([found.rank, found.alpha, baseModel]).toEqual([4, 8, model.id]);
        expect(parameters.data).toEqual(trainer.parameters.data);
      },
      { tuning: { lora, head: true } },
    );
  });

  it("leaves no session open, and keeps two of a graph whatever lengths rows have", async () => {
    const before = sessionCounts().open;
    const at = (item: Item, length: number): Item => {
      const [sequence] = item.sequences;
      return { sequences: [{ ...sequence!, tokens: Int32Array.from({ length }, (_, i) => 65 + (i % 20)) }] };
    };
    await withTrainer(
      async (trainer) => {
        const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
        const objective = trainer.objective(nll);
        const lengths = [60, 120, ...Array.from({ length: 18 }, () => 190), 250, 60];
        const found: unknown[] = [];
        for (const length of lengths) {
          const items = [at(examples[0]!, length)];
          found.push((await forward.run(items)).logprobs);
        }
        await objective.accumulate([examples[0]!]);
        // Of four lengths three: the one before last was wanted a moment ago.
        expect(sessionCounts().open - before).toBe(3 + 1);
        expect(found.at(-1)).toEqual(found[0]);
      },
      { times: undefined },
    );
    expect(sessionCounts().open).toBe(before);
  });

  it("learns over a base in 8 bits nearly as over float32, and its passes are of one arithmetic", async () => {
    const base = join(folder, "base");
    const coarse = await openLocalModel(base, { device: "cpu", cacheDir: folder, trainedOn: "int8" });
    const gradientOf = async (options: Partial<LocalTrainerOptions>) =>
      withTrainer(async (trainer) => {
        stir(trainer.parameters);
        const objective = trainer.objective(nll);
        const { loss } = await objective.accumulate(examples);
        const forward = trainer.forward((graph) => ({ logprobs: graph.tokens().logprobs }));
        const { logprobs } = await forward.run(examples);
        const seen = logprobs!.flat().reduce((sum, row) => sum + row.reduce((a, b) => a - 0.05 * b, 0), 0);
        expect(seen).toBeCloseTo(loss, 4);
        return { loss, gradient: trainer.gradient().slice(), identity: await baseIdentity(options.model ?? model) };
      }, options);
    try {
      const exact = await gradientOf({});
      const eight = await gradientOf({ model: coarse });
      const again = await gradientOf({ model: coarse, checkpointing: true });
      const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, value, i) => sum + value * b[i]!, 0);
      const size = (a: Float32Array) => Math.sqrt(dot(a, a));
      const cosine = dot(exact.gradient, eight.gradient) / size(exact.gradient) / size(eight.gradient);
      expect(cosine).toBeGreaterThan(0.99);
      expect(cosine).toBeLessThan(1 - 1e-7);
      expect(Math.abs(size(eight.gradient) / size(exact.gradient) - 1)).toBeLessThan(0.05);
      expect(Math.abs(eight.loss / exact.loss - 1)).toBeLessThan(0.01);
      expectClose(again.gradient, eight.gradient, 1e-4);
      expect(eight.identity).not.toBe(exact.identity);
    } finally {
      await coarse.close();
    }
  });

  it.each<[string, LoraConfig, LoraConfig?]>([
    ["another scale", { ...lora, rslora: true }],
    ["modules that the new one lacks", { ...lora, targets: ["q_proj", "v_proj"] }, { ...lora, targets: ["q_proj"] }],
    ["ranks of its own", { ...lora, modules: { "model.layers.0.self_attn.q_proj": { rank: 2, alpha: 8 } } }],
  ])("does not begin from an adapter with %s", async (name, before, after = lora) => {
    const path = join(folder, name);
    await withTrainer((trainer) => trainer.save(path), { tuning: { lora: before } });
    const opened = withTrainer(async () => undefined, { tuning: { lora: after }, from: path });
    await expect(opened).rejects.toThrow(/Give both stages the same lora settings/);
    // With its own settings it does, factor by factor.
    await withTrainer(
      async (trainer) =>
        expect(trainer.parameters.data).toEqual((await loadAdapter(path, model.config)).parameters.data),
      { tuning: { lora: before }, from: path },
    );
  });
});
