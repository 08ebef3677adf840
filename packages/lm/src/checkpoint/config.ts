import * as z from "zod";
import { CheckpointError, quote } from "./errors.ts";

/** The model families that can be built. SmolLM2 and many others are `llama`. */
export const ARCHITECTURES = ["llama", "mistral", "qwen2", "qwen3"] as const;
export type Architecture = (typeof ARCHITECTURES)[number];

/** Counts and widths: bounds far above any model's keep a hostile config from asking for endless layers. */
const count = (most: number) => z.int().min(1).max(most);
const tokenId = z
  .int()
  .min(0)
  .max(2 ** 31 - 1);
const positive = z.number().positive();

/** How position angles are stretched for long contexts; names and meanings as in transformers. */
const ropeScaling = z.discriminatedUnion("rope_type", [
  z.object({ rope_type: z.literal("linear"), factor: positive }),
  z.object({
    rope_type: z.literal("dynamic"),
    factor: positive,
    original_max_position_embeddings: positive.optional(),
  }),
  z.object({
    rope_type: z.literal("yarn"),
    factor: positive,
    original_max_position_embeddings: positive.optional(),
    attention_factor: positive.nullish(),
    beta_fast: positive.nullish(),
    beta_slow: positive.nullish(),
    mscale: z.number().nullish(),
    mscale_all_dim: z.number().nullish(),
    truncate: z.boolean().optional(),
  }),
  z.object({
    rope_type: z.literal("llama3"),
    factor: positive,
    low_freq_factor: positive,
    high_freq_factor: positive,
    original_max_position_embeddings: positive,
  }),
  /** Only from GGUF, which stores the result instead of the rule: frequency i is divided by `factors[i]`. */
  z.object({ rope_type: z.literal("frequency_factors"), factors: z.array(positive).max(4096) }),
]);
export type RopeScaling = z.infer<typeof ropeScaling>;

const WIDEST = 2 ** 24;

/** `config.json` as published, in its older and newer forms; what is not named here is ignored. */
const published = z.object({
  hidden_size: count(WIDEST),
  intermediate_size: count(WIDEST),
  num_hidden_layers: count(10_000),
  num_attention_heads: count(WIDEST),
  num_key_value_heads: count(WIDEST).nullish(),
  head_dim: count(WIDEST).nullish(),
  vocab_size: count(WIDEST),
  max_position_embeddings: count(2 ** 31),
  rms_norm_eps: positive.max(1).default(1e-6),
  hidden_act: z.literal("silu").optional(),
  rope_theta: positive.nullish(),
  rope_scaling: z.looseObject({ rope_type: z.string().optional(), type: z.string().optional() }).nullish(),
  rope_parameters: z.looseObject({ rope_type: z.string().optional(), rope_theta: positive.optional() }).nullish(),
  tie_word_embeddings: z.boolean().optional(),
  attention_bias: z.boolean().optional(),
  mlp_bias: z.boolean().optional(),
  /** Rotating a part of each head is not built; 1 is all of it. */
  partial_rotary_factor: z.literal(1).nullish(),
  sliding_window: count(2 ** 31).nullish(),
  use_sliding_window: z.boolean().optional(),
  max_window_layers: z.int().min(0).nullish(),
  bos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  eos_token_id: z.union([tokenId, z.array(tokenId)]).nullish(),
  pad_token_id: z.int().nullish(),
});

/** A model's shape and settings, in transformers' names, with every default filled in. */
export interface ModelConfig {
  model_type: Architecture;
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  vocab_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  rope_theta: number;
  rope_scaling: RopeScaling | null;
  tie_word_embeddings: boolean;
  /** Biases on q, k and v (and, in llama with `attention_bias`, on o). */
  attention_bias: boolean;
  mlp_bias: boolean;
  /** Tokens that attention may look back; null when all. Layers before `max_window_layers` of Qwen always see all. */
  sliding_window: number | null;
  max_window_layers: number | null;
  bos_token_id: number | null;
  /** Any of these ends a generation; `generation_config.json`'s list is included. */
  eos_token_ids: number[];
  pad_token_id: number | null;
}

/**
 * Checks a published config and fills in transformers' defaults for its `model_type`.
 *
 * `raw` is the parsed `config.json`, or one of the same names made from GGUF metadata; `file` is for messages.
 * Throws CheckpointError that names the unknown architecture and the known ones, or the field that is wrong.
 */
export function parseConfig(raw: Record<string, unknown>, file: string): ModelConfig {
  const type = raw.model_type;
  if (!ARCHITECTURES.includes(type as Architecture)) {
    throw new CheckpointError({
      file,
      where: "the architecture (model_type)",
      expected: `one of ${ARCHITECTURES.join(", ")} (SmolLM2 is llama)`,
      found: quote(type),
      fix: "Use a model of one of these families.",
    });
  }
  const model_type = type as Architecture;
  const config = check(published, raw, file);
  const heads = config.num_attention_heads;
  const keyValueHeads = config.num_key_value_heads ?? heads;
  const headDim = config.head_dim ?? (model_type === "qwen3" ? 128 : config.hidden_size / heads);
  demand(heads % keyValueHeads === 0, file, "num_key_value_heads", `a divisor of ${heads} heads`, keyValueHeads);
  demand(headDim % 2 === 0, file, "head_dim (hidden_size / num_attention_heads)", "an even number", headDim);
  const qwen = model_type === "qwen2" || model_type === "qwen3";
  const windowed = qwen ? config.use_sliding_window === true : model_type === "mistral";
  // A missing window is transformers' default; an explicit null is none.
  const window = config.sliding_window === undefined ? 4096 : config.sliding_window;
  const bos = [config.bos_token_id ?? []].flat()[0] ?? null;
  return {
    model_type,
    hidden_size: config.hidden_size,
    intermediate_size: config.intermediate_size,
    num_hidden_layers: config.num_hidden_layers,
    num_attention_heads: heads,
    num_key_value_heads: keyValueHeads,
    head_dim: headDim,
    vocab_size: config.vocab_size,
    max_position_embeddings: config.max_position_embeddings,
    rms_norm_eps: config.rms_norm_eps,
    ...parseRope(config, file),
    tie_word_embeddings: config.tie_word_embeddings ?? false,
    attention_bias: config.attention_bias ?? model_type === "qwen2",
    mlp_bias: config.mlp_bias ?? false,
    sliding_window: windowed ? window : null,
    max_window_layers: windowed && qwen ? (config.max_window_layers ?? 28) : null,
    bos_token_id: bos,
    eos_token_ids: [config.eos_token_id ?? []].flat(),
    // Some configs say -1 for none.
    pad_token_id: config.pad_token_id != null && config.pad_token_id >= 0 ? config.pad_token_id : null,
  };
}

/** transformers 5 writes `rope_parameters`; before, `rope_theta` stood alone and `rope_scaling` said `type` at first. */
function parseRope(config: z.infer<typeof published>, file: string): Pick<ModelConfig, "rope_theta" | "rope_scaling"> {
  const rope_theta = config.rope_parameters?.rope_theta ?? config.rope_theta ?? 10_000;
  const scaling: Record<string, unknown> | null | undefined = config.rope_parameters ?? config.rope_scaling;
  const rope_type = scaling?.rope_type ?? scaling?.type ?? "default";
  if (rope_type === "default") return { rope_theta, rope_scaling: null };
  const field = config.rope_parameters ? "rope_parameters" : "rope_scaling";
  const known = ropeScaling.options.map((option) => option.shape.rope_type.value);
  demand(
    known.includes(rope_type as never),
    file,
    `${field}.rope_type`,
    `one of default, ${known.join(", ")}`,
    rope_type,
  );
  return { rope_theta, rope_scaling: check(ropeScaling, { ...scaling, rope_type }, file, field) };
}

/** Parses with a schema; the first issue becomes a CheckpointError. */
export function check<S extends z.ZodType>(schema: S, raw: unknown, file: string, field?: string): z.infer<S> {
  const result = schema.safeParse(raw);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  let found = raw;
  for (const key of issue.path) found = (found as Record<PropertyKey, unknown> | undefined)?.[key];
  const where = [...(field === undefined ? [] : [field]), ...issue.path].join(".");
  throw new CheckpointError({
    file,
    ...(where === "" ? {} : { where }),
    expected: issue.message
      .replace(/^(Invalid (input|option)|Too (big|small)): expected /, "")
      .replace(/, received .*/, ""),
    found: found === undefined ? "nothing" : quote(found),
    fix: "Compare it with the model's published config.",
  });
}

function demand(ok: boolean, file: string, where: string, expected: string, found: unknown): void {
  if (!ok) throw new CheckpointError({ file, where, expected, found: quote(found), fix: "Correct the config." });
}
