import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
const shape = { hidden: 32, intermediate: 48, layers: 2, heads: 4, keyHeads: 2, headSize: 8, vocabulary: 259 };

/** GPT-2's printable stand-ins for bytes: those that print stand for themselves, the rest follow from U+0100 on. */
function byteCharacters(): string[] {
  const prints = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(prints(byte) ? byte : next++));
}

/**
 * Numbers in [−√3, √3) with variance 1: a linear congruential generator, which the golden scripts repeat in Python, so that
 * both sides have the same weights without a file of them.
 */
export function unitNoise(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.sqrt(3) * (state / 2 ** 31 - 1);
  };
}

/** Writes a small random Llama with a byte tokenizer and ChatML as a Hugging Face folder, and gives its path back. */
export async function writeTinyModel(folder: string, { seed = 1, longest = 2048 } = {}): Promise<string> {
  const { hidden, intermediate, layers, heads, keyHeads, headSize, vocabulary } = shape;
  await mkdir(folder, { recursive: true });
  const shapes: [string, number[]][] = [["model.embed_tokens.weight", [vocabulary, hidden]]];
  for (let layer = 0; layer < layers; layer++) {
    const path = `model.layers.${layer}`;
    shapes.push(
      [`${path}.input_layernorm.weight`, [hidden]],
      [`${path}.post_attention_layernorm.weight`, [hidden]],
      [`${path}.self_attn.q_proj.weight`, [heads * headSize, hidden]],
      [`${path}.self_attn.k_proj.weight`, [keyHeads * headSize, hidden]],
      [`${path}.self_attn.v_proj.weight`, [keyHeads * headSize, hidden]],
      [`${path}.self_attn.o_proj.weight`, [hidden, heads * headSize]],
      [`${path}.mlp.gate_proj.weight`, [intermediate, hidden]],
      [`${path}.mlp.up_proj.weight`, [intermediate, hidden]],
      [`${path}.mlp.down_proj.weight`, [hidden, intermediate]],
    );
  }
  shapes.push(["model.norm.weight", [hidden]], ["lm_head.weight", [vocabulary, hidden]]);
  const noise = unitNoise(seed);
  const parts = shapes.map(([name, dims]) => {
    const deviation = name.includes("embed") ? 1 : 1 / Math.sqrt(dims.at(-1)!);
    const count = dims.reduce((a, b) => a * b, 1);
    return Float32Array.from({ length: count }, () => (name.endsWith("norm.weight") ? 1 : noise() * deviation));
  });
  let end = 0;
  const header = Object.fromEntries(
    shapes.map(([name, dims], i) => {
      const start = end;
      end += parts[i]!.byteLength;
      return [name, { dtype: "F32", shape: dims, data_offsets: [start, end] }];
    }),
  );
  const head = Buffer.from(JSON.stringify(header));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(head.length));
  const body = parts.map(({ buffer }) => new Uint8Array(buffer));
  await writeFile(join(folder, "model.safetensors"), Buffer.concat([length, head, ...body]));

  const json = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));
  await json("config.json", {
    model_type: "llama",
    architectures: ["LlamaForCausalLM"],
    hidden_size: hidden,
    intermediate_size: intermediate,
    num_hidden_layers: layers,
    num_attention_heads: heads,
    num_key_value_heads: keyHeads,
    head_dim: headSize,
    vocab_size: vocabulary,
    max_position_embeddings: longest,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    bos_token_id: 256,
    eos_token_id: 256,
  });
  const bytes = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  await json("tokenizer.json", {
    version: "1.0",
    added_tokens: special.map((content, i) => ({
      ...{ id: 256 + i, content, single_word: false, lstrip: false, rstrip: false, normalized: false, special: true },
    })),
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
