import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parseConfig } from "../src/checkpoint/config.ts";
import { writeSafetensors } from "../src/checkpoint/index.ts";
import { weightShapes } from "../src/decoder/index.ts";

const special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/** GPT-2's printable stand-ins for bytes: those that print stand for themselves, the rest follow from U+0100 on. */
function byteCharacters(): string[] {
  const prints = (byte: number) => (byte > 32 && byte < 127) || (byte > 160 && byte !== 173);
  let next = 256;
  return Array.from({ length: 256 }, (_, byte) => String.fromCodePoint(prints(byte) ? byte : next++));
}

export interface TinyOptions {
  readonly seed?: number;
  readonly config?: Record<string, unknown>;
}

/**
 * Writes a small random Llama with a byte tokenizer and a chat template as a Hugging Face folder. It says printable ASCII
 * at random, and now and then ends: one hidden dimension is constant, so its column of the head is a bias.
 */
export async function writeTinyModel(
  folder: string,
  { seed = 1, config: changes = {} }: TinyOptions = {},
): Promise<string> {
  await mkdir(folder, { recursive: true });
  const family = String(changes.model_type ?? "llama");
  const raw = {
    model_type: family,
    // Some programs go by this and not by the family.
    architectures: [`${family[0]!.toUpperCase()}${family.slice(1)}ForCausalLM`],
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    vocab_size: 256 + special.length,
    max_position_embeddings: 2048,
    rms_norm_eps: 1e-5,
    rope_theta: 10000,
    tie_word_embeddings: false,
    bos_token_id: 256,
    eos_token_id: 256,
    ...changes,
  };
  const config = parseConfig(raw, "config.json");
  let state = seed >>> 0;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 32;
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform());
  const tensors = Object.entries(weightShapes(config)).map(([name, shape]) => {
    const width = shape.at(-1)!;
    const data = Float32Array.from({ length: shape.reduce((a, b) => a * b, 1) }, (_, at) => {
      const [row, column] = [Math.floor(at / width), at % width];
      // Those of queries and keys are not all the same: whoever leaves them out says something else.
      if (/[qk]_norm\.weight$/.test(name)) return 1 + 0.5 * Math.sin(at + 1);
      if (name.endsWith("norm.weight")) return 1;
      if (name.endsWith("embed_tokens.weight")) {
        if (column > 0) return normal();
        // Where the head is the embeddings, its bias is there.
        const said = row === 10 || (row >= 32 && row < 127) || row >= 256;
        return config.tie_word_embeddings ? 8 * Number(said) : 4;
      }
      if (name.endsWith("o_proj.weight") || name.endsWith("down_proj.weight")) return row === 0 ? 0 : normal() * 0.3;
      if (name === "lm_head.weight" && column === 0) return row >= 32 && row < 127 ? 0 : row >= 256 ? -1.5 : -40;
      return normal() * 0.5;
    });
    return { name, dtype: "F32" as const, shape: [...shape], data };
  });
  await writeSafetensors(join(folder, "model.safetensors"), tensors);

  const vocab = Object.fromEntries([...byteCharacters(), ...special].map((token, id) => [token, id]));
  const json = (name: string, value: unknown) => writeFile(join(folder, name), JSON.stringify(value));
  await json("config.json", raw);
  await json("tokenizer.json", {
    version: "1.0",
    added_tokens: special.map((content, i) => ({
      id: 256 + i,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    model: { type: "BPE", dropout: null, unk_token: null, fuse_unk: false, byte_fallback: false, vocab, merges: [] },
  });
  await json("tokenizer_config.json", {
    bos_token: "<|endoftext|>",
    eos_token: "<|endoftext|>",
    tokenizer_class: "PreTrainedTokenizerFast",
    chat_template:
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  });
  return folder;
}
