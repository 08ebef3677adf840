/**
 * SmolLM2-135M's shapes with random weights, in a file that every contestant reads: what is computed is the same, and takes as long, whatever the
 * weights say. For steps of training, and for machines that have no model.
 */
import { closeSync, existsSync, mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type LoraConfig, loraShapes, type ModelConfig, openCheckpoint, weightShapes } from "@tenet/lm";
import { numel } from "@tenet/tensor";

export const config: ModelConfig = {
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
export const lora: LoraConfig = { rank: 16, alpha: 32 };

/** Where a tensor lies in the file, in bytes, and its shape. */
export interface Place {
  readonly offset: number;
  readonly shape: readonly number[];
}

/** One training step of LoRA: the weights' file and all that is in it, the adapter's factors too. */
export interface TrainStepTask {
  readonly weights: string;
  readonly places: Readonly<Record<string, Place>>;
}

/** Norms are one, B is zero, A as PEFT draws it, the rest has the deviation that Llama starts from. */
function fill(name: string, data: Float32Array, next: () => number): Float32Array {
  if (name.endsWith("norm.weight")) return data.fill(1);
  if (name.includes("lora_B")) return data;
  const deviation = name.includes("lora_A") ? 1 / Math.sqrt(3 * config.hidden_size) : 0.02;
  for (let i = 0; i < data.length; i++) data[i] = next() * deviation;
  return data;
}

/** Writes tensors in the format safetensors; returns where each begins. */
function writeRandom(path: string, shapes: Readonly<Record<string, readonly number[]>>): Record<string, Place> {
  let state = 0x9e3779b9;
  // Uniform, of variance 1, from a small generator: which values they are does not matter here.
  const next = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state / 2 ** 31 - 1) * Math.sqrt(3);
  };
  let end = 0;
  const entries = Object.entries(shapes).map(([name, shape]) => {
    const start = end;
    end += 4 * numel(shape);
    return { name, shape, start, end };
  });
  const described = entries.map(({ name, shape, start, end }) => [
    name,
    { dtype: "F32", shape, data_offsets: [start, end] },
  ]);
  const json = JSON.stringify(Object.fromEntries(described));
  // Padded, so that every tensor begins at a multiple of 64 bytes.
  const header = Buffer.from(json.padEnd(Math.ceil((8 + json.length) / 64) * 64 - 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  const file = openSync(path, "w");
  writeSync(file, Buffer.concat([length, header]));
  const places: Record<string, Place> = {};
  for (const { name, shape, start, end } of entries) {
    const data = fill(name, new Float32Array((end - start) / 4), next);
    const offset = 8 + header.length + start;
    writeSync(file, data, 0, data.byteLength, offset);
    places[name] = { offset, shape };
  }
  closeSync(file);
  return places;
}

/** The file goes when this process ends. */
export async function trainStepTask(): Promise<TrainStepTask> {
  const folder = mkdtempSync(join(tmpdir(), "tenet-bench-"));
  process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
  const weights = join(folder, "model.safetensors");
  return { weights, places: writeRandom(weights, { ...weightShapes(config), ...loraShapes(config, lora) }) };
}

/** A model's words without its weights: a folder of its configuration and its tokenizer, a few megabytes. */
export async function writeWords(model: string, folder: string): Promise<void> {
  const checkpoint = await openCheckpoint(model);
  try {
    const { tokenizer, config: tokenizerConfig } = await checkpoint.tokenizer();
    const { eos_token_ids, rope_scaling, sliding_window, max_window_layers, ...rest } = config;
    mkdirSync(folder, { recursive: true });
    const write = (name: string, value: object) => writeFileSync(join(folder, name), JSON.stringify(value));
    const named = { tokenizer_class: "PreTrainedTokenizerFast", chat_template: checkpoint.chatTemplate };
    write("config.json", { ...rest, eos_token_id: eos_token_ids[0], architectures: ["LlamaForCausalLM"] });
    write("tokenizer.json", tokenizer);
    write("tokenizer_config.json", { ...tokenizerConfig, ...named });
  } finally {
    await checkpoint.close();
  }
}

/** Gives such a folder random weights, unless it has some. */
export function addWeights(folder: string): void {
  const path = join(folder, "model.safetensors");
  if (!existsSync(path)) writeRandom(path, weightShapes(config));
}
