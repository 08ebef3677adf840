// LoRA r = 16 on all projections of SmolLM2-135M's shapes, random weights, 8 × 256 tokens: forward, backward, AdamW.
// --checkpointing computes activations anew in the backward pass.
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  decoder,
  headName,
  type LoraConfig,
  linearCrossEntropy,
  loraFrom,
  loraShapes,
  type ModelConfig,
  weightShapes,
} from "@tenet/lm";
import { AdamW, compile, input, ParameterSet, reshape, type Tensor, weight } from "@tenet/tensor";
import { serveContestant } from "../contestant.ts";

const config: ModelConfig = {
  model_type: "llama",
  vocab_size: 49152,
  hidden_size: 576,
  intermediate_size: 1536,
  num_hidden_layers: 30,
  num_attention_heads: 9,
  num_key_value_heads: 3,
  head_dim: 64,
  max_position_embeddings: 8192,
  rms_norm_eps: 1e-5,
  rope_theta: 100000,
  rope_scaling: null,
  tie_word_embeddings: true,
  attention_bias: false,
  mlp_bias: false,
  sliding_window: null,
  max_window_layers: null,
  bos_token_id: 1,
  eos_token_ids: [2],
  pad_token_id: 2,
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

/** Random weights in a file that is mapped, as a checkpoint's are; the file goes once the process has ended. */
function writeWeights(): ReadonlyMap<string, Tensor> {
  const folder = mkdtempSync(join(tmpdir(), "tenet-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "weights.f32");
  const file = openSync(path, "w");
  const weights = new Map<string, Tensor>();
  let offset = 0;
  for (const [name, shape] of Object.entries(weightShapes(config))) {
    const data = new Float32Array(shape.reduce((a, b) => a * b, 1));
    const values = name.endsWith("norm.weight") ? data.fill(1) : fillRandom(data, 0.02);
    writeSync(file, values, 0, values.byteLength, offset);
    weights.set(name, weight(name, shape as number[], { path, offset }));
    offset += Math.ceil(values.byteLength / 65536) * 65536;
  }
  closeSync(file);
  return weights;
}

await serveContestant({
  build: async ({ threads }) => {
    const weights = writeWeights();
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
          checkpointing: process.argv.includes("--checkpointing"),
        });
        const loss = linearCrossEntropy(hidden, weights.get(headName(config))!, reshape(targets, [rows * time])).mean();
        return { loss, gradient: parameters.gradient(loss) };
      },
      { threads, ...(process.env.PROFILE ? { profile: process.env.PROFILE } : {}) },
    );
    const optimizer = new AdamW(parameters, { learningRate: 1e-4 });
    const draw = (length: number, salt: number) =>
      Int32Array.from({ length }, (_, i) => ((i * 7919 + salt) * 104729) % config.vocab_size);
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
