import { ARCHITECTURES } from "./config.ts";
import type { GgufHeader, GgufValue } from "./gguf-header.ts";

/**
 * The `config.json` that a GGUF file's metadata stand for, under transformers' names, for `parseConfig`.
 *
 * `frequencyFactors` are the numbers of the tensor `rope_freqs.weight` where the file has one (Llama 3.1 and later):
 * GGUF stores what its scaling rule comes to for each frequency instead of the rule.
 * Types are left to `parseConfig`. Source of the keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function configFromGguf(header: GgufHeader, frequencyFactors?: Float32Array): Record<string, unknown> {
  const { metadata, tensors } = header;
  const architecture = metadata.get("general.architecture");
  if (!ARCHITECTURES.includes(architecture as never)) return { model_type: architecture };
  const get = (key: string): GgufValue | undefined => metadata.get(`${architecture}.${key}`);
  const tokens = metadata.get("tokenizer.ggml.tokens");
  const vocabulary = tensors.get("token_embd.weight")?.shape[0] ?? get("vocab_size");
  const headDim = get("attention.key_length") ?? get("rope.dimension_count");
  const rotated = get("rope.dimension_count") ?? headDim;
  const ends = ["eos", "eot", "eom"].map((end) => metadata.get(`tokenizer.ggml.${end}_token_id`));
  return {
    model_type: architecture,
    hidden_size: get("embedding_length"),
    intermediate_size: get("feed_forward_length"),
    num_hidden_layers: get("block_count"),
    num_attention_heads: get("attention.head_count"),
    num_key_value_heads: get("attention.head_count_kv"),
    head_dim: headDim,
    partial_rotary_factor: typeof rotated === "number" && typeof headDim === "number" ? rotated / headDim : undefined,
    vocab_size: vocabulary ?? (Array.isArray(tokens) ? tokens.length : undefined),
    max_position_embeddings: get("context_length"),
    // A float32 in the file: 1e-5 reads 0.000009999999747378752.
    rms_norm_eps: tidy(get("attention.layer_norm_rms_epsilon")),
    rope_theta: get("rope.freq_base"),
    rope_scaling: ropeScaling(get, frequencyFactors),
    tie_word_embeddings: !tensors.has("output.weight"),
    // Qwen 2 always has them: a file without is not taken for a model without.
    attention_bias: tensors.has("blk.0.attn_q.bias") || undefined,
    mlp_bias: tensors.has("blk.0.ffn_up.bias"),
    sliding_window: get("attention.sliding_window") ?? null,
    bos_token_id: metadata.get("tokenizer.ggml.bos_token_id"),
    eos_token_id: [...new Set(ends.filter((id) => id !== undefined))],
    pad_token_id: metadata.get("tokenizer.ggml.padding_token_id"),
  };
}

function ropeScaling(get: (key: string) => GgufValue | undefined, factors: Float32Array | undefined) {
  if (factors !== undefined) return { rope_type: "frequency_factors", factors: [...factors] };
  const rope_type = get("rope.scaling.type") ?? "none";
  if (rope_type === "none") return null;
  const factor = get("rope.scaling.factor");
  const times = get("rope.scaling.attn_factor");
  // llama.cpp multiplies by it what YaRN has by itself; transformers takes the product.
  const own = typeof factor === "number" && factor > 1 ? 0.1 * Math.log(factor) + 1 : 1;
  return {
    rope_type,
    factor,
    original_max_position_embeddings: get("rope.scaling.original_context_length"),
    attention_factor: typeof times === "number" ? times * own : times,
    beta_fast: tidy(get("rope.scaling.yarn_beta_fast")),
    beta_slow: tidy(get("rope.scaling.yarn_beta_slow")),
  };
}

/** The shortest decimal that is this float32, as a person wrote it. */
function tidy(value: GgufValue | undefined): GgufValue | undefined {
  return typeof value === "number" ? Number(value.toPrecision(7)) : value;
}
