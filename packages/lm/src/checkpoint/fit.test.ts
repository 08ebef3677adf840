import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  as,
  failure,
  ggufBytes,
  SMALL_CONFIG,
  SMALL_MODEL,
  SMALL_TENSORS,
  type TensorSpec,
  tensorsOf,
  withFile,
  withFolder,
  writeTensors,
} from "../../test/checkpoint/build.ts";
import { openCheckpoint } from "./index.ts";

interface Case {
  /** What the tensors are made of, beside the small config. */
  of?: Record<string, unknown>;
  /** What config.json says instead. */
  says?: Record<string, unknown>;
  /** Tensors that are there instead, or (undefined) not there. */
  tensors?: Record<string, TensorSpec | undefined>;
  rename?: (name: string) => string;
}

const attention = "model.layers.0.self_attn";
const qwen2 = { model_type: "qwen2" };
const qwen3 = { model_type: "qwen3", head_dim: 2 };
const tied = { tie_word_embeddings: true };
const packed = (...endings: string[]) => ({
  [`${attention}.q_proj.weight`]: undefined,
  ...Object.fromEntries(endings.map((ending) => [`${attention}.q_proj.${ending}`, { shape: [2, 4] }])),
});

async function write(folder: string, { of = {}, says = of, tensors = {}, rename = (name) => name }: Case) {
  const all = Object.entries({ ...tensorsOf({ ...SMALL_CONFIG, ...of }), ...tensors });
  const there = all.filter((entry): entry is [string, TensorSpec] => entry[1] !== undefined);
  const named = Object.fromEntries(there.map(([name, tensor]) => [rename(name), tensor]));
  await writeTensors(join(folder, "model.safetensors"), named);
  await writeFile(join(folder, "config.json"), JSON.stringify({ ...SMALL_CONFIG, ...says }));
}

const opened = (what: Case) =>
  withFolder(async (folder) => {
    await write(folder, what);
    const checkpoint = await openCheckpoint(folder);
    const names = [...checkpoint.tensors.keys()];
    await checkpoint.close();
    return names;
  });

describe("packed weights are called what they are", () => {
  const remedy = /Use the model's unquantised checkpoint \(safetensors in BF16, F16 or F32\) or a GGUF file of it/;

  it.each<[string, unknown]>([
    ["gptq", { quant_method: "gptq", bits: 4, group_size: 128 }],
    ["awq", { quant_method: "awq", bits: 4 }],
    ["bitsandbytes", { load_in_4bit: true, bnb_4bit_quant_type: "nf4" }],
    ["fp8", { quant_method: "fp8", weight_block_size: [128, 128] }],
    ["compressed-tensors", { quant_method: "compressed-tensors", format: "pack-quantized" }],
    ["mxfp4", { quant_method: "mxfp4" }],
    ["a method of its own", { bits: 3 }],
  ])("quantization_config: %s", async (method, quantization_config) => {
    const error = await failure(opened({ says: { quantization_config } }));
    expect(error.where).toBe("quantization_config");
    if (method.includes(" ")) expect(error.found).toContain('{"bits":3}');
    else expect(error.found).toContain(method);
    expect(error.fix).toMatch(remedy);
  });

  it.each([
    ["compression_config", { compression_config: { quant_method: "compressed-tensors" } }, /compressed-tensors/],
    ["quantization, as MLX writes it", { quantization: { group_size: 64, bits: 4 } }, /MLX/],
  ])("%s", async (_, says, found) => {
    expect((await failure(opened({ says }))).found).toMatch(found);
  });

  it("takes an empty setting for none", async () => {
    expect(await opened({ says: { quantization_config: null } })).toHaveLength(12);
  });

  it.each<[string[], RegExp]>([
    [["qweight", "qzeros", "scales", "g_idx"], /q_proj\.g_idx" \(and 2 more\).*GPTQ or AWQ/],
    [["weight_packed", "weight_scale", "weight_shape"], /compressed-tensors/],
    [["weight", "weight_scale_inv"], /weight_scale_inv".*FP8/],
    [["weight", "weight.absmax", "weight.quant_map"], /weight\.absmax".*bitsandbytes/],
    [["weight", "SCB"], /SCB".*bitsandbytes/],
    [["weight", "scales", "biases"], /MLX/],
    [["weight_blocks", "weight_scales"], /MXFP4/],
  ])("tensors called %j, whatever the config says", async (endings, found) => {
    const error = await failure(opened({ tensors: packed(...endings) }));
    expect(error.message).toMatch(found);
    expect(error.fix).toMatch(remedy);
  });
});

describe("weights are held against the config", () => {
  it("opens every family whose weights are its config's", async () => {
    for (const of of [{}, tied, { attention_bias: true, mlp_bias: true }, qwen2, qwen3, { model_type: "mistral" }])
      expect((await opened({ of })).sort()).toEqual(Object.keys(tensorsOf({ ...SMALL_CONFIG, ...of })).sort());
  });

  it.each<[string, Case, RegExp]>([
    [
      "a transposed matrix",
      { tensors: { "model.layers.0.mlp.up_proj.weight": { shape: [4, 8] } } },
      /up_proj\.weight": expected the shape \[8,4\] \(intermediate_size × hidden_size\), found \[4,8\]\. .*transposed/,
    ],
    [
      "more key heads than the config says",
      { of: { num_key_value_heads: 2 }, says: { num_key_value_heads: 1 } },
      /k_proj\.weight": expected the shape \[2,4\] \(num_key_value_heads · head_dim × hidden_size\), found \[4,4\] \(and 1 more/,
    ],
    [
      "another head size",
      { of: { head_dim: 4 }, says: {} },
      /q_proj\.weight": expected the shape \[4,4\] \(num_attention_heads · head_dim × hidden_size\), found \[8,4\]/,
    ],
    [
      "embeddings with more rows than the vocabulary",
      { of: { vocab_size: 12 }, says: {} },
      /embed_tokens\.weight": .*vocab_size.*found \[12,4\].* vocab_size to 12/,
    ],
    [
      "a head with other rows than the embeddings",
      { tensors: { "lm_head.weight": { shape: [11, 4] } } },
      /lm_head\.weight": .*\[10,4\] \(vocab_size × hidden_size\), found \[11,4\]/,
    ],
    [
      "a norm of another width",
      { tensors: { "model.norm.weight": { shape: [4, 1] } } },
      /norm\.weight": .*\[4\].*\[4,1\]/,
    ],
    [
      "biases that the config denies",
      { of: { attention_bias: true }, says: {} },
      /no tensors but those of the config, found ".*_proj\.bias".*and 3 more.*attention_bias/,
    ],
    [
      "biases that only the config has",
      { of: {}, says: { attention_bias: true } },
      /a tensor ".*q_proj\.bias" .*found none.*and 3 more.*attention_bias/,
    ],
    ["Qwen 2 without its biases", { of: { ...qwen2, attention_bias: false }, says: qwen2 }, /q_proj\.bias/],
    [
      "norms of queries in a family without them",
      { tensors: { [`${attention}.q_norm.weight`]: { shape: [2] } } },
      /found ".*q_norm\.weight".*qwen3/,
    ],
    [
      "Qwen 3 without its norms",
      { of: { ...qwen2, attention_bias: false }, says: { ...qwen3 } },
      /q_norm\.weight" .*found none/,
    ],
    [
      "no head where the config wants one",
      { of: tied, says: {} },
      /"lm_head\.weight".*found none.*tie_word_embeddings/,
    ],
    [
      "another head where the config ties it",
      { of: {}, says: tied, tensors: { "lm_head.weight": { shape: [10, 4], data: new Float32Array(40).fill(7) } } },
      /lm_head\.weight": expected a copy of the embeddings.*tie_word_embeddings.*other numbers \(number 0\)/,
    ],
    ["more layers than the config says", { of: { num_hidden_layers: 2 }, says: {} }, /layers\.1\..*num_hidden_layers/],
    ["fewer layers", { of: {}, says: { num_hidden_layers: 3 } }, /layers\.1\..*found none.*num_hidden_layers/],
    ["experts", { tensors: { "model.layers.0.mlp.experts.0.w1.weight": { shape: [4] } } }, /mixture of experts/],
    [
      "a body without its language model",
      { rename: (n) => n.replace("model.", "") },
      /found .*"embed_tokens\.weight"|AutoModelForCausalLM/,
    ],
    ["a compiled model's names", { rename: (n) => `_orig_mod.${n}` }, /_orig_mod/],
    [
      "factors that were not merged",
      { tensors: { [`${attention}.q_proj.lora_A.weight`]: { shape: [2, 4] } } },
      /adapter/,
    ],
    ["a classifier", { tensors: { "score.weight": { shape: [1, 4] } } }, /found "score\.weight".*classif/],
    ["a tensor nobody knows", { tensors: { "model.layers.0.gate_of_mystery": { shape: [1] } } }, /gate_of_mystery/],
  ])("%s", async (_, what, message) => {
    expect((await failure(opened(what))).message).toMatch(message);
  });

  it("passes over what changes nothing: buffers of the rotary embedding, the head's copy of tied embeddings", async () => {
    const buffers = {
      [`${attention}.rotary_emb.inv_freq`]: { shape: [1] },
      "model.rotary_emb.inv_freq": { shape: [1] },
      "model.embed_tokens.position_ids": { shape: [1, 16] },
    };
    expect(await opened({ tensors: buffers })).toEqual(await opened({}));
    expect(await opened({ of: {}, says: tied })).not.toContain("lm_head.weight");
    const halves = { "lm_head.weight": { shape: [10, 4], dtype: "F16" as const } };
    expect(await opened({ of: {}, says: tied, tensors: halves })).not.toContain("lm_head.weight");
  });

  it("names a missing tensor of a sharded checkpoint beside its index", () =>
    withFolder(async (folder) => {
      await write(folder, {});
      const names = Object.keys(tensorsOf(SMALL_CONFIG)).filter((name) => !name.includes("down_proj"));
      const weight_map = Object.fromEntries(names.map((name) => [name, "model.safetensors"]));
      const index = join(folder, "model.safetensors.index.json");
      await writeFile(index, JSON.stringify({ weight_map }));
      const error = await failure(openCheckpoint(index));
      expect(error.file).toBe(index);
      expect(error.message).toMatch(/down_proj\.weight" .*found none/);
    }));
});

describe("GGUF files too", () => {
  const open = (changes: Record<string, number[] | undefined>, metadata: Record<string, Buffer> = {}) => {
    const all: Record<string, number[] | undefined> = { ...SMALL_TENSORS, ...changes };
    const tensors = Object.entries(all).flatMap(([name, dimensions]) => (dimensions ? [{ name, dimensions }] : []));
    const bytes = ggufBytes({ metadata: { ...SMALL_MODEL, ...metadata }, tensors });
    bytes.fill(Buffer.from(Float32Array.of(1).buffer), bytes.length - 4096);
    return withFile(bytes, async (path) => (await openCheckpoint(path)).close(), "small.gguf");
  };

  it("opens one whose weights are its metadata's, and passes over a buffer", async () => {
    await open({});
    await open({ "output.weight": undefined });
    await open({ "blk.0.attn_rot_embd.weight": [2] });
    await open({ "rope_freqs.weight": [1] });
  });

  it.each<[string, Record<string, number[] | undefined>, RegExp, Record<string, Buffer>?]>([
    ["a transposed matrix", { "blk.0.ffn_up.weight": [8, 4] }, /up_proj\.weight": .*\[8,4\].*found \[4,8\]/],
    ["key heads", { "blk.0.attn_k.weight": [4, 4] }, /k_proj\.weight": expected the shape \[2,4\]/],
    ["a bias in one place", { "blk.0.attn_v.bias": [2] }, /found ".*v_proj\.bias"/],
    ["a missing norm", { "blk.0.ffn_norm.weight": undefined }, /post_attention_layernorm\.weight" .*found none/],
    ["experts", { "blk.0.ffn_gate_inp.weight": [4, 2] }, /mixture of experts/],
    ["the head's rows", { "output.weight": [4, 9] }, /lm_head\.weight": .*\[10,4\].*found \[9,4\]/],
    ["more layers", { "blk.1.attn_norm.weight": [4] }, /layers\.1\./],
    ["factors of frequencies", { "rope_freqs.weight": [3] }, /rope_freqs\.weight".*1.*found 3/],
    [
      "a part of each head rotated",
      {},
      /partial_rotary_factor/,
      { "llama.attention.key_length": as.u32(2), "llama.rope.dimension_count": as.u32(1) },
    ],
    ["an adapter", {}, /an adapter.*PEFT/, { "general.type": as.string("adapter") }],
  ])("refuses %s", async (_, changes, message, metadata) => {
    expect((await failure(open(changes, metadata))).message).toMatch(message);
  });
});
