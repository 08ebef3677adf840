import type { ModelConfig } from "../checkpoint/config.ts";
import { CheckpointError } from "../checkpoint/errors.ts";
import { rotaryFrequencies, yarnFactor } from "../decoder/rotary.ts";
import type { GgufWriteType } from "./encode.ts";
import type { GgufMetadata } from "./write.ts";

/** Numbers of `general.file_type`. Source: `llama_ftype` in llama.h of llama.cpp. */
const FILE_TYPES: Record<GgufWriteType, number> = { F32: 0, F16: 1, Q4_0: 2, Q8_0: 7, Q4_K: 14, BF16: 32 };

export interface GgufSettings {
  readonly metadata: GgufMetadata;
  /** What each frequency is divided by [head_dim / 2], where the scaling rule is written as what it comes to. */
  readonly frequencyFactors: Float32Array | undefined;
  /** What the format cannot say, a sentence each. */
  readonly notices: readonly string[];
}

/** The architecture under which llama.cpp runs a family: a Mistral is a `llama` there. */
export function ggufArchitecture({ model_type }: Pick<ModelConfig, "model_type">): "llama" | "qwen2" | "qwen3" {
  return model_type === "mistral" ? "llama" : model_type;
}

/**
 * The metadata that a model's config comes to; `file` is for messages.
 *
 * llama.cpp looks at a whole context where a family looks at a window, and knows no "dynamic" scaling: the context is then cut to
 * the length up to which both are the same, and that is noticed. Throws CheckpointError for a config that its runtime cannot compute.
 * Source of the keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
 */
export function ggufSettings(config: ModelConfig, type: GgufWriteType, file: string): GgufSettings {
  const architecture = ggufArchitecture(config);
  const refuse = (where: string, expected: string, found: string): never => {
    const fix = "Export merged safetensors instead, which other runtimes take.";
    throw new CheckpointError({ file, where, expected, found, fix });
  };
  if (architecture === "qwen3" && config.attention_bias)
    refuse("attention_bias", "a Qwen 3 without biases: llama.cpp reads none for this family", "true");
  if (architecture === "qwen2" && !config.attention_bias)
    refuse("attention_bias", "a Qwen 2 with biases: llama.cpp asks for them in this family", "false");
  const notices: string[] = [];
  const context = contextOf(config, notices);
  const u32 = (value: number) => ({ type: "u32", value }) as const;
  const f32 = (value: number) => ({ type: "f32", value }) as const;
  const { scaling, frequencyFactors } = scalingOf(config, architecture, refuse);
  const own: GgufMetadata = {
    vocab_size: u32(config.vocab_size),
    context_length: u32(context),
    embedding_length: u32(config.hidden_size),
    block_count: u32(config.num_hidden_layers),
    feed_forward_length: u32(config.intermediate_size),
    "attention.head_count": u32(config.num_attention_heads),
    "attention.head_count_kv": u32(config.num_key_value_heads),
    "attention.key_length": u32(config.head_dim),
    "attention.value_length": u32(config.head_dim),
    "attention.layer_norm_rms_epsilon": f32(config.rms_norm_eps),
    "rope.dimension_count": u32(config.head_dim),
    "rope.freq_base": f32(config.rope_theta),
    ...scaling,
  };
  const keyed = Object.entries(own).map(([key, entry]) => [`${architecture}.${key}`, entry] as const);
  return {
    metadata: {
      "general.architecture": { type: "string", value: architecture },
      "general.type": { type: "string", value: "model" },
      "general.file_type": u32(FILE_TYPES[type]),
      ...(type.startsWith("Q") ? { "general.quantization_version": u32(2) } : {}),
      ...Object.fromEntries(keyed),
    },
    frequencyFactors,
    notices,
  };
}

/** Tokens up to which llama.cpp computes what the family does. */
function contextOf(config: ModelConfig, notices: string[]): number {
  const { max_position_embeddings: longest, sliding_window: window } = config;
  if (window === null || window >= longest) return longest;
  notices.push(
    `llama.cpp looks back at all of a text where this model looks at ${window} tokens: the file's context is ${window}, not ${longest}`,
  );
  return window;
}

type Refuse = (where: string, expected: string, found: string) => never;

function scalingOf(
  config: ModelConfig,
  architecture: string,
  refuse: Refuse,
): { scaling: GgufMetadata; frequencyFactors: Float32Array | undefined } {
  const { rope_scaling: rope, max_position_embeddings: longest } = config;
  const none = { scaling: {}, frequencyFactors: undefined };
  switch (rope?.rope_type) {
    case undefined:
    // Up to the model's own context, which the file has, the frequencies are the plain ones.
    case "dynamic":
      return none;
    case "linear":
      return {
        ...none,
        scaling: {
          "rope.scaling.type": { type: "string", value: "linear" },
          "rope.scaling.factor": { type: "f32", value: rope.factor },
        },
      };
    case "yarn": {
      if (rope.truncate === false) refuse("rope_scaling.truncate", "true, as llama.cpp rounds", "false");
      const attention = attentionFactor(rope);
      return {
        ...none,
        scaling: {
          "rope.scaling.type": { type: "string", value: "yarn" },
          "rope.scaling.factor": { type: "f32", value: rope.factor },
          "rope.scaling.original_context_length": {
            type: "u32",
            value: rope.original_max_position_embeddings ?? longest,
          },
          ...(attention === 1 ? {} : { "rope.scaling.attn_factor": { type: "f32", value: attention } }),
          ...(rope.beta_fast ? { "rope.scaling.yarn_beta_fast": { type: "f32", value: rope.beta_fast } } : {}),
          ...(rope.beta_slow ? { "rope.scaling.yarn_beta_slow": { type: "f32", value: rope.beta_slow } } : {}),
        },
      };
    }
    case "llama3":
    case "frequency_factors": {
      if (architecture !== "llama")
        refuse("rope_scaling", "none, linear or yarn: llama.cpp has these for Qwen", rope.rope_type);
      const plain = rotaryFrequencies({ ...config, rope_scaling: null }, 1);
      const scaled = rotaryFrequencies(config, 1);
      return { ...none, frequencyFactors: Float32Array.from(plain, (frequency, i) => frequency / scaled[i]!) };
    }
  }
}

/** What llama.cpp multiplies YaRN's own 0.1·ln(factor) + 1 by, to come to what the config asks for. */
function attentionFactor(rope: Extract<ModelConfig["rope_scaling"], { rope_type: "yarn" }>): number {
  return yarnFactor(rope) / yarnFactor({ rope_type: "yarn", factor: rope.factor });
}
