import type { ModelConfig } from "../checkpoint/config.ts";

/** Modules of a layer that are matrices, by their Hugging Face names. */
export const projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;
export type Projection = (typeof projections)[number];

/** Those that take the same input. */
export const projectionsByInput: readonly (readonly [Projection, ...Projection[]])[] = [
  ["q_proj", "k_proj", "v_proj"],
  ["o_proj"],
  ["gate_proj", "up_proj"],
  ["down_proj"],
];

export function modulePath(layer: number, projection: Projection): string {
  return `model.layers.${layer}.${isMlp(projection) ? "mlp" : "self_attn"}.${projection}`;
}

function isMlp(projection: Projection): boolean {
  return projection === "gate_proj" || projection === "up_proj" || projection === "down_proj";
}

/** [out, in] of a projection's weight. */
export function projectionShape(config: ModelConfig, projection: Projection): [number, number] {
  const { hidden_size: hidden, intermediate_size: intermediate, head_dim: size } = config;
  const queries = config.num_attention_heads * size;
  const keys = config.num_key_value_heads * size;
  const shapes: Record<Projection, [number, number]> = {
    q_proj: [queries, hidden],
    k_proj: [keys, hidden],
    v_proj: [keys, hidden],
    o_proj: [hidden, queries],
    gate_proj: [intermediate, hidden],
    up_proj: [intermediate, hidden],
    down_proj: [hidden, intermediate],
  };
  return shapes[projection];
}

/** Whether a projection adds a bias: Llama and Qwen 3 by their settings, Qwen 2 on q, k and v, Mistral nowhere. */
export function hasBias(config: ModelConfig, projection: Projection): boolean {
  const { model_type: family, attention_bias, mlp_bias } = config;
  if (isMlp(projection)) return mlp_bias && family === "llama";
  if (projection === "o_proj") return attention_bias && (family === "llama" || family === "qwen3");
  return attention_bias && family !== "mistral";
}

/** Whether queries and keys pass a norm of their own before they are rotated. */
export function hasHeadNorms(config: ModelConfig): boolean {
  return config.model_type === "qwen3";
}

/** How many tokens a layer's queries look back, themselves included; null where they see everything before them. */
export function attentionWindow(config: ModelConfig, layer: number): number | null {
  return layer >= (config.max_window_layers ?? 0) ? config.sliding_window : null;
}

/** The output head's name: the embedding table where they are tied. */
export function headName(config: ModelConfig): string {
  return config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
}

/** Shapes of all weights of a checkpoint, by their Hugging Face names. */
export function weightShapes(config: ModelConfig): Record<string, readonly number[]> {
  const { vocab_size: vocabulary, hidden_size: hidden, head_dim: size } = config;
  const shapes: Record<string, readonly number[]> = { "model.embed_tokens.weight": [vocabulary, hidden] };
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const path = `model.layers.${layer}`;
    shapes[`${path}.input_layernorm.weight`] = [hidden];
    shapes[`${path}.post_attention_layernorm.weight`] = [hidden];
    if (hasHeadNorms(config))
      for (const norm of ["q_norm", "k_norm"]) shapes[`${path}.self_attn.${norm}.weight`] = [size];
    for (const projection of projections) {
      const [out, width] = projectionShape(config, projection);
      shapes[`${modulePath(layer, projection)}.weight`] = [out, width];
      if (hasBias(config, projection)) shapes[`${modulePath(layer, projection)}.bias`] = [out];
    }
  }
  shapes["model.norm.weight"] = [hidden];
  if (!config.tie_word_embeddings) shapes["lm_head.weight"] = [vocabulary, hidden];
  return shapes;
}
