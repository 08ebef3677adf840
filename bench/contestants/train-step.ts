// LoRA r = 16 on all projections of SmolLM2-135M's shapes, random weights, 8 × 256 tokens: forward, backward, AdamW.
import {
  type DecoderConfig,
  decoder,
  headName,
  type LoraConfig,
  linearCrossEntropy,
  loraFrom,
  loraShapes,
  weightShapes,
} from "@tenet/lm";
import { AdamW, compile, input, ParameterSet, reshape, type Tensor, weight } from "@tenet/tensor";
import { serveContestant } from "../contestant.ts";

export const config: DecoderConfig = {
  vocabSize: 49152,
  hiddenSize: 576,
  intermediateSize: 1536,
  layers: Number(process.env.LAYERS ?? 30),
  heads: 9,
  kvHeads: 3,
  headDim: 64,
  ropeTheta: 100000,
  rmsNormEpsilon: 1e-5,
  tiedHead: true,
};
const lora: LoraConfig = { rank: 16, alpha: 32 };
const [rows, time] = [8, 256];

/** Uniform values with a standard deviation, from a small generator: which values they are does not matter here. */
function fillRandom(data: Float32Array, deviation: number): Float32Array {
  let state = 0x9e3779b9;
  for (let i = 0; i < data.length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    data[i] = (state / 2 ** 31 - 1) * deviation * Math.sqrt(3);
  }
  return data;
}

await serveContestant({
  build: async ({ threads }) => {
    const weights = new Map<string, Tensor>();
    for (const [name, shape] of Object.entries(weightShapes(config))) {
      const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
      weights.set(
        name,
        weight(name, shape, { data: name.endsWith("norm.weight") ? data.fill(1) : fillRandom(data, 0.02) }),
      );
    }
    const parameters = new ParameterSet(loraShapes(config, lora));
    for (const { name, shape } of parameters.ranges)
      if (name.includes("lora_A")) fillRandom(parameters.view(name), 1 / Math.sqrt(3 * shape[1]!));
    const step = await compile(
      () => {
        const tokens = input("tokens", "int32", [rows, time]);
        const targets = input("targets", "int32", [rows, time]);
        const hidden = decoder(tokens, {
          config,
          weight: (name) => weights.get(name)!,
          lora: loraFrom(config, lora, parameters.tensors),
          checkpointing: process.env.CHECKPOINTING === "1",
        });
        const loss = linearCrossEntropy(hidden, weights.get(headName(config))!, reshape(targets, [rows * time])).mean();
        return { loss, gradient: parameters.gradient(loss) };
      },
      { threads, ...(process.env.PROFILE ? { profile: process.env.PROFILE } : {}) },
    );
    const optimizer = new AdamW(parameters, { learningRate: 1e-4 });
    const draw = (length: number, salt: number) =>
      Int32Array.from({ length }, (_, i) => ((i * 7919 + salt) * 104729) % config.vocabSize);
    return {
      flops: step.flops(),
      round: async () => {
        const batch = { tokens: draw(rows * time, 1), targets: draw(rows * time, 5) };
        const { loss, gradient } = await step.run({ ...parameters.feeds(), ...batch });
        optimizer.step(gradient.data as Float32Array);
        return { loss: loss.data[0]! };
      },
    };
  },
});
