/** Config changes of every shape that is written. */
export const shapes: Record<string, Record<string, unknown>> = {
  llama: {},
  "llama, tied": { tie_word_embeddings: true },
  "llama, biases": { attention_bias: true, mlp_bias: true },
  "llama, llama3 scaling": {
    rope_scaling: {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 32,
    },
  },
  "llama, linear scaling": { rope_scaling: { rope_type: "linear", factor: 4 } },
  "llama, yarn": {
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, attention_factor: 1.3 },
  },
  qwen2: { model_type: "qwen2" },
  "qwen2, tied": { model_type: "qwen2", tie_word_embeddings: true },
  "qwen2, yarn": {
    model_type: "qwen2",
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32, beta_fast: 16 },
  },
  qwen3: { model_type: "qwen3", head_dim: 16 },
  "qwen3, tied": { model_type: "qwen3", head_dim: 16, tie_word_embeddings: true },
  "qwen3, yarn": {
    model_type: "qwen3",
    head_dim: 16,
    rope_scaling: { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32 },
  },
  "qwen3, linear scaling": { model_type: "qwen3", head_dim: 16, rope_scaling: { rope_type: "linear", factor: 2 } },
  "mistral, tied": { model_type: "mistral", sliding_window: null, tie_word_embeddings: true },
  "mistral, linear scaling": {
    model_type: "mistral",
    sliding_window: null,
    rope_scaling: { rope_type: "linear", factor: 4 },
  },
  mistral: { model_type: "mistral", sliding_window: null },
};

/** The plain shape of each family. */
export const familyShapes = ["llama", "qwen2", "qwen3", "mistral"].map((name) => [name, shapes[name]!] as const);
