import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const [hidden, intermediate, vocabulary] = [16, 24, 256 + special.length];

/** GPT-2's stand-ins for bytes: those that print stand for themselves, the rest follow from U+0100 on. */
function byteCharacters(): string[] {
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => {
    const prints = (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
    return String.fromCodePoint(prints ? byte : next++);
  });
}

/**
 * Writes a Llama of one layer with a byte tokenizer and ChatML as a Hugging Face folder. Its weights are noise, but for a
 * hidden dimension that is constant and so a bias of the head: it says printable ASCII and ends after some thirty characters.
 */
export async function writeTinyModel(folder: string): Promise<string> {
  await mkdir(folder, { recursive: true });
  let state = 1;
  const noise = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.sqrt(3) * (state / 2 ** 31 - 1);
  };
  const layer = "model.layers.0";
  const bias = (token: number) => (token >= 32 && token < 127 ? 0 : token >= 256 ? -0.5 : -40);
  const random = (size: number) => () => noise() / Math.sqrt(size);
  /** Leaves the first hidden dimension as it is. */
  const kept = (size: number) => (row: number) => (row === 0 ? 0 : noise() / Math.sqrt(size));
  const tensors: [name: string, shape: number[], value: (row: number, column: number) => number][] = [
    ["model.embed_tokens.weight", [vocabulary, hidden], (_, column) => (column === 0 ? 4 : noise())],
    [`${layer}.input_layernorm.weight`, [hidden], () => 1],
    [`${layer}.post_attention_layernorm.weight`, [hidden], () => 1],
    [`${layer}.self_attn.q_proj.weight`, [hidden, hidden], random(hidden)],
    [`${layer}.self_attn.k_proj.weight`, [hidden / 2, hidden], random(hidden)],
    [`${layer}.self_attn.v_proj.weight`, [hidden / 2, hidden], random(hidden)],
    [`${layer}.self_attn.o_proj.weight`, [hidden, hidden], kept(hidden)],
    [`${layer}.mlp.gate_proj.weight`, [intermediate, hidden], random(hidden)],
    [`${layer}.mlp.up_proj.weight`, [intermediate, hidden], random(hidden)],
    [`${layer}.mlp.down_proj.weight`, [hidden, intermediate], kept(intermediate)],
    ["model.norm.weight", [hidden], () => 1],
    ["lm_head.weight", [vocabulary, hidden], (token, column) => (column === 0 ? bias(token) : noise())],
  ];
  let end = 0;
  const header: Record<string, object> = {};
  const parts = tensors.map(([name, shape, value]) => {
    const width = shape.at(-1)!;
    const count = shape.reduce((a, b) => a * b, 1);
    const data = Float32Array.from({ length: count }, (_, i) => value(Math.floor(i / width), i % width));
    header[name] = { dtype: "F32", shape, data_offsets: [end, end + data.byteLength] };
    end += data.byteLength;
    return new Uint8Array(data.buffer);
  });
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, head, ...parts]));
  const json = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));
  await json("config.json", {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: 1,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 8,
    vocab_size: vocabulary,
    max_position_embeddings: 4096,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    bos_token_id: 256,
    eos_token_id: 256,
  });
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  await json("tokenizer.json", {
    version: "1.0",
    added_tokens: special.map((content, i) => {
      return {
        id: 256 + i,
        content,
        single_word: false,
        lstrip: false,
        rstrip: false,
        normalized: false,
        special: true,
      };
    }),
    normalizer: null,
    pre_tokenizer: bytes,
    post_processor: null,
    decoder: bytes,
    model: {
      ...{ type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, merges: [] },
      vocab: Object.fromEntries([...byteCharacters(), ...special].map((token, id) => [token, id])),
    },
  });
  await json("tokenizer_config.json", {
    bos_token: special[0],
    eos_token: special[0],
    tokenizer_class: "PreTrainedTokenizerFast",
    chat_template:
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  });
  return folder;
}
