import { readFileSync } from "node:fs";
import { numel } from "@tenet/tensor";

/** A tensor as decoder.py stores it: base64 of little-endian numbers. */
export interface GoldenTensor {
  dtype: "float32" | "float64" | "int32";
  shape: number[];
  data: string;
}

export type GoldenTensors = Record<string, GoldenTensor>;

/** Labels are Hugging Face's (the token at t, predicted at t - 1); targets are what position t should predict; -100 is unsupervised. */
export interface GoldenBatch {
  tokens: GoldenTensor;
  labels: GoldenTensor;
  targets: GoldenTensor;
}

/** `loss` is the mean over the supervised positions. */
export interface GoldenResult {
  supervised: number;
  loss: number;
  logits: GoldenTensor;
  gradients: GoldenTensors;
}

export interface DecoderGolden {
  config: {
    vocab_size: number;
    hidden_size: number;
    intermediate_size: number;
    num_hidden_layers: number;
    num_attention_heads: number;
    num_key_value_heads: number;
    head_dim: number;
    max_position_embeddings: number;
    rms_norm_eps: number;
    rope_theta: number;
    hidden_act: "silu";
    attention_bias: boolean;
    mlp_bias: boolean;
    tie_word_embeddings: boolean;
  };
  lora: { r: number; lora_alpha: number; target_modules: string[] };
  /** Named as in a Hugging Face checkpoint. */
  weights: GoldenTensors;
  /** Named as in PEFT's adapter file. */
  adapter: GoldenTensors;
  batch: GoldenBatch & GoldenResult;
  packed: GoldenResult & {
    row: { tokens: GoldenTensor; targets: GoldenTensor; positions: GoldenTensor; segments: GoldenTensor };
    sequences: GoldenBatch[];
  };
  training: {
    settings: {
      steps: number;
      batches: number;
      lr: number;
      betas: [number, number];
      eps: number;
      weight_decay: number;
      max_grad_norm: number;
      schedule: { name: "cosine"; warmup_steps: number; total_steps: number };
    };
    batches: GoldenBatch[];
    losses: number[];
    grad_norms: number[];
    learning_rates: number[];
    /** The LoRA weights after the last step. */
    adapter: GoldenTensors;
    /** The same run by transformers in float32: how far honest rounding strays. */
    float32: { losses: number[]; largest_weight_difference: number };
  };
}

export function readDecoderGolden(head: "tied" | "untied"): DecoderGolden {
  return JSON.parse(readFileSync(new URL(`decoder.${head}.golden.json`, import.meta.url), "utf8"));
}

/** The numbers of a stored tensor. Throws when their count is not what the shape says. */
export function decodeTensor(tensor: GoldenTensor): Float32Array | Float64Array | Int32Array {
  const bytes = new Uint8Array(Buffer.from(tensor.data, "base64")).buffer;
  const Numbers = { float32: Float32Array, float64: Float64Array, int32: Int32Array }[tensor.dtype];
  const numbers = new Numbers(bytes);
  const expected = numel(tensor.shape);
  if (numbers.length !== expected)
    throw new Error(`shape ${tensor.shape} needs ${expected} numbers, got ${numbers.length}`);
  return numbers;
}
