import type { Architecture } from "./config.ts";

/**
 * Names of the Llama family's tensors: GGUF on the left, Hugging Face on the right; `{n}` is the layer.
 * Source: `gguf/tensor_mapping.py` of llama.cpp and the modelling files of transformers.
 */
const WHOLE: Record<string, string> = {
  token_embd: "model.embed_tokens",
  output_norm: "model.norm",
  output: "lm_head",
};
const PER_LAYER: Record<string, string> = {
  attn_norm: "input_layernorm",
  attn_q: "self_attn.q_proj",
  attn_k: "self_attn.k_proj",
  attn_v: "self_attn.v_proj",
  attn_output: "self_attn.o_proj",
  attn_q_norm: "self_attn.q_norm",
  attn_k_norm: "self_attn.k_norm",
  ffn_norm: "post_attention_layernorm",
  ffn_gate: "mlp.gate_proj",
  ffn_up: "mlp.up_proj",
  ffn_down: "mlp.down_proj",
};

/**
 * The Hugging Face name of a GGUF tensor, or undefined for one that the family's models do not have.
 *
 * @example
 * huggingFaceName("blk.3.attn_q.weight"); // "model.layers.3.self_attn.q_proj.weight"
 */
export function huggingFaceName(name: string): string | undefined {
  const match = /^(?:blk\.(0|[1-9]\d{0,5})\.)?(\w+)\.(weight|bias)$/.exec(name);
  if (match === null) return undefined;
  const [, layer, part, kind] = match;
  const table = layer === undefined ? WHOLE : PER_LAYER;
  if (!Object.hasOwn(table, part!)) return undefined;
  const prefix = layer === undefined ? "" : `model.layers.${layer}.`;
  return `${prefix}${table[part!]}.${kind}`;
}

const STORED_WHOLE = inverse(WHOLE);
const STORED_PER_LAYER = inverse(PER_LAYER);

/**
 * The GGUF name of a tensor that a model of the family has.
 *
 * @example
 * ggufName("model.layers.3.self_attn.q_proj.weight"); // "blk.3.attn_q.weight"
 */
export function ggufName(name: string): string {
  const [, layer, part, kind] = /^(?:model\.layers\.(\d+)\.)?([\w.]+)\.(weight|bias)$/.exec(name) ?? [];
  const stored = (layer === undefined ? STORED_WHOLE : STORED_PER_LAYER).get(part ?? "");
  if (stored === undefined) throw new Error(`"${name}" has no name in GGUF`);
  return `${layer === undefined ? "" : `blk.${layer}.`}${stored}.${kind}`;
}

function inverse(table: Record<string, string>): ReadonlyMap<string, string> {
  return new Map(Object.entries(table).map(([stored, name]) => [name, stored]));
}

/**
 * How many heads' rows a tensor's rows are interleaved in, or undefined when they stand as in Hugging Face.
 *
 * llama.cpp's rotary embedding for the architecture `llama` (Mistral is written as `llama` too) turns neighbouring pairs,
 * Hugging Face's turns the two halves of a head; the converter reorders the rows of q and k instead of the code.
 * Qwen's files keep the order. `name` is the GGUF one.
 */
export function interleavedHeads(
  architecture: Architecture,
  name: string,
  config: { num_attention_heads: number; num_key_value_heads: number },
): number | undefined {
  if (architecture !== "llama" && architecture !== "mistral") return undefined;
  if (/\.attn_q\.(weight|bias)$/.test(name)) return config.num_attention_heads;
  if (/\.attn_k\.(weight|bias)$/.test(name)) return config.num_key_value_heads;
  return undefined;
}

/**
 * The row of a Hugging Face q or k projection to which row `row` of its GGUF counterpart belongs.
 *
 * Within a head of d rows, GGUF's row 2j + s is Hugging Face's row s·d/2 + j. Undoes `LlamaModel.permute` of llama.cpp's
 * `convert_hf_to_gguf.py`.
 */
export function unpermute(row: number, headRows: number): number {
  const within = row % headRows;
  return row - within + (within & 1) * (headRows / 2) + (within >> 1);
}
