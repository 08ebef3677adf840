import {
  AdamW,
  type CompileOptions,
  clipByGlobalNorm,
  compile,
  gather,
  gatherAlong,
  grad,
  input,
  listDevices,
  logSoftmax,
  ParameterSet,
  reshape,
  schedule,
  type Tensor,
  weight,
} from "@tenet/tensor";
import { describe, expect, it } from "vitest";
import { type DecoderGolden, decodeTensor, type GoldenTensor, readDecoderGolden } from "../../test/golden/golden.ts";
import { type ModelConfig, parseConfig } from "../checkpoint/config.ts";
import {
  type DecoderOptions,
  decoder,
  headName,
  linearCrossEntropy,
  loraFrom,
  loraShapes,
  projectionBeside,
  targetLogprobs,
} from "./index.ts";

const peftPrefix = "base_model.model.";

function configOf({ config }: DecoderGolden): ModelConfig {
  return parseConfig({ model_type: "llama", ...config }, "decoder.golden.json");
}

interface StepOptions extends CompileOptions {
  readonly rows: number;
  readonly time: number;
  /** Supervised positions, picked before the output head. */
  readonly supervised: number;
  readonly packed?: boolean;
  readonly checkpointing?: boolean;
  /** The adapter beside matrices that take in no factors. */
  readonly beside?: boolean;
  /** Tokens in rows with empty places, which are longer than `time`. */
  readonly within?: number;
}

/** The golden decoder with its adapter, and a step that gives loss, logits and gradients. */
async function goldenStep(golden: DecoderGolden, options: StepOptions) {
  const { rows, time, supervised, packed, checkpointing, beside, within, ...rest } = options;
  const config = configOf(golden);
  const lora = { rank: golden.lora.r, alpha: golden.lora.lora_alpha };
  const parameters = new ParameterSet(loraShapes(config, lora));
  for (const [name, tensor] of Object.entries(golden.adapter))
    parameters.view(name.slice(peftPrefix.length)).set(decodeTensor(tensor));
  const weights = new Map<string, Tensor>();
  for (const [name, tensor] of Object.entries(golden.weights))
    weights.set(name, weight(name, tensor.shape, { data: decodeTensor(tensor) as Float32Array }));
  const read = (name: string) => weights.get(name)!;

  const program = await compile(() => {
    const length = within ?? time;
    const ofPlaces = (name: string) => input(name, "int32", [rows, length]);
    const ofTokens = (name: string) => input(name, "int32", [rows * time]);
    const tokens = within ? ofTokens("tokens") : ofPlaces("tokens");
    const places: Partial<DecoderOptions> = {
      ...(within && { occupied: { order: ofTokens("order"), slots: ofPlaces("slots") } }),
      ...((packed || within) && {
        ...{ positions: ofPlaces("positions"), segments: ofPlaces("segments"), maxPositions: length },
      }),
    };
    const adapter = loraFrom(config, lora, parameters.tensors);
    const product = (x: Tensor, name: string) => x.matmul(read(name), { transB: true });
    const hidden = decoder(tokens, {
      config,
      weight: read,
      lora: adapter,
      ...(beside ? { project: projectionBeside(config, product, read, adapter) } : {}),
      ...places,
      ...(checkpointing ? { checkpointing } : {}),
    });
    const head = read(headName(config));
    const chosen = gather(hidden, input("chosen", "int32", [supervised]));
    // Two chunks at least, so that their joints are tested as well.
    const loss = linearCrossEntropy(chosen, head, input("targets", "int32", [supervised]), { chunk: 4 }).mean();
    return { loss, logits: hidden.matmul(head, { transB: true }), gradient: parameters.gradient(loss) };
  }, rest);
  return { program, parameters };
}

/** Feeds of a batch whose targets are −100 where nothing is supervised. */
function feedsOf(tokens: GoldenTensor, targets: GoldenTensor) {
  const all = decodeTensor(targets) as Int32Array;
  const chosen = Int32Array.from([...all.keys()].filter((i) => all[i] !== -100));
  return { tokens: decodeTensor(tokens) as Int32Array, chosen, targets: chosen.map((i) => all[i]!) };
}

/** ‖a − b‖ / ‖b‖ */
function relativeError(a: ArrayLike<number>, b: ArrayLike<number>): number {
  expect(a.length).toBe(b.length);
  let [difference, size] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    difference += (a[i]! - b[i]!) ** 2;
    size += b[i]! ** 2;
  }
  return Math.sqrt(difference / size);
}

function expectGradients(
  parameters: ParameterSet,
  gradient: ArrayLike<number>,
  expected: Record<string, GoldenTensor>,
  limit: number,
) {
  expect(parameters.ranges.map((range) => peftPrefix + range.name).sort()).toEqual(Object.keys(expected).sort());
  for (const { name, start, end } of parameters.ranges) {
    const error = relativeError(
      Array.prototype.slice.call(gradient, start, end),
      decodeTensor(expected[peftPrefix + name]!),
    );
    expect(error, name).toBeLessThanOrEqual(limit);
  }
}

describe.each(["tied", "untied"] as const)("decoder with %s head against transformers and PEFT in float64", (head) => {
  const golden = readDecoderGolden(head);

  it.each([
    ["merged", {}],
    ["beside the matrices", { beside: true }],
    ["beside the matrices, with checkpointing", { beside: true, checkpointing: true }],
  ])("gives the loss, the logits and every LoRA gradient, factors %s", async (_, how) => {
    const { batch } = golden;
    const options = { rows: 2, time: 12, supervised: batch.supervised, ...how };
    const { program, parameters } = await goldenStep(golden, options);
    const out = await program.run({ ...parameters.feeds(), ...feedsOf(batch.tokens, batch.targets) });
    expect(Math.abs(out.loss.data[0]! / batch.loss - 1)).toBeLessThanOrEqual(1e-5);
    expect(relativeError(out.logits.data, decodeTensor(batch.logits))).toBeLessThanOrEqual(1e-5);
    expectGradients(parameters, out.gradient.data, batch.gradients, 1e-4);
    await program.dispose();
  });

  it("keeps packed sequences apart", async () => {
    const { row, ...expected } = golden.packed;
    const options = { rows: 1, time: 12, supervised: expected.supervised, packed: true };
    const { program, parameters } = await goldenStep(golden, options);
    const places = {
      positions: decodeTensor(row.positions) as Int32Array,
      segments: decodeTensor(row.segments) as Int32Array,
    };
    const out = await program.run({ ...parameters.feeds(), ...feedsOf(row.tokens, row.targets), ...places });
    expect(Math.abs(out.loss.data[0]! / expected.loss - 1)).toBeLessThanOrEqual(1e-5);
    expectGradients(parameters, out.gradient.data, expected.gradients, 1e-4);
    await program.dispose();
  });

  it.each([
    ["", {}],
    [", with checkpointing", { checkpointing: true }],
  ])("computes nothing of empty places, and the same of the others%s", async (_, how) => {
    const { batch } = golden;
    const [rows, time, within] = [2, 12, 16];
    // Empty in front of one row's tokens and behind them, and in the middle of the other's, between what goes on as if nothing were there.
    const placeOf = (token: number) => {
      const [row, position] = [Math.floor(token / time), token % time];
      return row * within + position + (row === 0 ? 3 : position < 5 ? 0 : 4);
    };
    const order = Int32Array.from({ length: rows * time }, (_, token) => placeOf(token));
    const [slots, positions] = [new Int32Array(rows * within), new Int32Array(rows * within)];
    const segments = new Int32Array(rows * within).fill(-1);
    order.forEach((place, token) => {
      [slots[place], segments[place], positions[place]] = [token, Math.floor(token / time), token % time];
    });
    const { program, parameters } = await goldenStep(golden, {
      rows,
      time,
      within,
      supervised: batch.supervised,
      ...how,
    });
    const places = { order, slots, positions, segments };
    const out = await program.run({ ...parameters.feeds(), ...feedsOf(batch.tokens, batch.targets), ...places });
    expect(Math.abs(out.loss.data[0]! / batch.loss - 1)).toBeLessThanOrEqual(1e-5);
    expect(relativeError(out.logits.data, decodeTensor(batch.logits))).toBeLessThanOrEqual(1e-5);
    expectGradients(parameters, out.gradient.data, batch.gradients, 1e-4);
    await program.dispose();
  });

  it("follows torch.optim.AdamW for 100 steps", async () => {
    const { settings, batches, losses, adapter } = golden.training;
    const feeds = batches.map(({ tokens, targets }) => feedsOf(tokens, targets));
    const programs = new Map<number, Awaited<ReturnType<typeof goldenStep>>>();
    for (const { chosen } of feeds)
      if (!programs.has(chosen.length))
        programs.set(chosen.length, await goldenStep(golden, { rows: 2, time: 12, supervised: chosen.length }));
    const [{ parameters }] = programs.values() as unknown as [{ parameters: ParameterSet }];
    const optimizer = new AdamW(parameters, {
      betas: settings.betas,
      epsilon: settings.eps,
      weightDecay: settings.weight_decay,
    });
    const { warmup_steps: warmup, total_steps: steps } = settings.schedule;
    const rate = schedule({ kind: "cosine", peak: settings.lr, warmup, steps });
    for (let step = 0; step < settings.steps; step++) {
      const batch = feeds[step % feeds.length]!;
      const { program } = programs.get(batch.chosen.length)!;
      const out = await program.run({ ...parameters.feeds(), ...batch });
      expect(Math.abs(out.loss.data[0]! / losses[step]! - 1), `loss of step ${step}`).toBeLessThanOrEqual(1e-4);
      const gradient = out.gradient.data as Float32Array;
      clipByGlobalNorm(gradient, settings.max_grad_norm);
      optimizer.step(gradient, rate(step));
    }
    expectGradients(parameters, parameters.data, adapter, 1e-4);
    for (const { program } of programs.values()) await program.dispose();
  });

  it("gives the same gradients with checkpointing", async () => {
    const { batch } = golden;
    const options = { rows: 2, time: 12, supervised: batch.supervised, checkpointing: true };
    const { program, parameters } = await goldenStep(golden, options);
    const out = await program.run({ ...parameters.feeds(), ...feedsOf(batch.tokens, batch.targets) });
    expectGradients(parameters, out.gradient.data, batch.gradients, 1e-4);
    await program.dispose();
  });

  it("agrees on WebGPU", async ({ skip }) => {
    const report = (await listDevices()).find(({ device }) => device === "webgpu")!;
    if (!report.usable) skip(`no WebGPU here: ${report.reason}`);
    const { batch } = golden;
    const options = { rows: 2, time: 12, supervised: batch.supervised, device: "webgpu" } as const;
    const { program, parameters } = await goldenStep(golden, options);
    const out = await program.run({ ...parameters.feeds(), ...feedsOf(batch.tokens, batch.targets) });
    expect(Math.abs(out.loss.data[0]! / batch.loss - 1)).toBeLessThanOrEqual(1e-3);
    expectGradients(parameters, out.gradient.data, batch.gradients, 1e-3);
    await program.dispose();
  });
});

describe("linearCrossEntropy", () => {
  const [rows, width, vocabulary] = [7, 5, 11];
  const draw = (length: number, seed: number) => Float32Array.from({ length }, (_, i) => Math.sin(seed + 1.7 * i) * 3);

  it("has the value and gradients of log-softmax and pick, for every chunk size", async () => {
    const hidden = input("hidden", "float32", [rows, width]);
    const head = input("head", "float32", [vocabulary, width]);
    const targets = input("targets", "int32", [rows]);
    const weights = input("weights", "float32", [rows]);
    const plain = () => {
      const logits = hidden.matmul(head, { transB: true });
      return reshape(gatherAlong(logSoftmax(logits), reshape(targets, [rows, 1])), [rows]).neg();
    };
    const outputs = (nll: Tensor) => [nll, ...grad(nll.mul(weights).sum(), [hidden, head])];
    const feeds = {
      hidden: draw(rows * width, 1),
      head: draw(vocabulary * width, 2),
      targets: Int32Array.of(0, 10, 3, 3, 7, 1, 5),
      weights: draw(rows, 3),
    };
    const results = async (nll: () => Tensor) => {
      const program = await compile(() => ({ values: outputs(nll()) }));
      const { values } = await program.run(feeds);
      await program.dispose();
      return values.map(({ data }) => data);
    };
    const expected = await results(plain);
    for (const chunk of [1, 3, 7, 100]) {
      const got = await results(() => linearCrossEntropy(hidden, head, targets, { chunk }));
      got.forEach(
        (data, i) => void expect(relativeError(data, expected[i]!), `output ${i}, chunk ${chunk}`).toBeLessThan(1e-5),
      );
    }
  });

  it("stays finite where a probability underflows", async () => {
    const program = await compile(() => {
      const hidden = input("hidden", "float32", [1, 1]);
      const head = weight("head", [3, 1], { data: Float32Array.of(0, 500, -500) });
      const nll = linearCrossEntropy(hidden, head, input("targets", "int32", [1]));
      return {
        nll,
        logprob: targetLogprobs(hidden, head, input("same", "int32", [1])),
        dx: grad(nll.sum(), [hidden])[0]!,
      };
    });
    const out = await program.run({ hidden: Float32Array.of(1), targets: Int32Array.of(2), same: Int32Array.of(2) });
    expect(out.nll.data[0]).toBe(1000);
    expect(out.logprob.data[0]).toBe(-1000);
    expect(out.dx.data[0]).toBe(1000);
    await program.dispose();
  });
});
