import { describe, expect, it } from "vitest";
import { failure } from "../../test/checkpoint/build.ts";
import { parseConfig } from "./config.ts";

const base = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 128,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 100,
  max_position_embeddings: 256,
  rms_norm_eps: 1e-5,
};
const parse = (more: object = {}) => parseConfig({ ...base, ...more }, "config.json");
const fails = (more: object) => failure((async () => parse(more))());

describe("a published config", () => {
  it("gets transformers' defaults", () => {
    expect(parse()).toMatchObject({ num_key_value_heads: 4, head_dim: 16, rope_theta: 10_000, rope_scaling: null });
    expect(parse()).toMatchObject({ tie_word_embeddings: false, attention_bias: false, eos_token_ids: [] });
    expect(parse({ model_type: "qwen2" }).attention_bias).toBe(true);
    expect(parse({ model_type: "qwen3" }).head_dim).toBe(128);
    expect(parse({ model_type: "mistral" }).sliding_window).toBe(4096);
    expect(parse({ model_type: "mistral", sliding_window: null }).sliding_window).toBeNull();
  });

  it("uses Qwen's window only where it says so", () => {
    const qwen = { model_type: "qwen2", sliding_window: 512, max_window_layers: 1 };
    expect(parse(qwen)).toMatchObject({ sliding_window: null, max_window_layers: null });
    expect(parse({ ...qwen, use_sliding_window: true })).toMatchObject({ sliding_window: 512, max_window_layers: 1 });
  });

  it("reads rope settings in their older and newer forms", () => {
    const llama3 = {
      rope_type: "llama3",
      factor: 8,
      low_freq_factor: 1,
      high_freq_factor: 4,
      original_max_position_embeddings: 8192,
    };
    expect(parse({ rope_theta: 5e5, rope_scaling: llama3 })).toMatchObject({ rope_theta: 5e5, rope_scaling: llama3 });
    expect(parse({ rope_scaling: { type: "linear", factor: 2 } }).rope_scaling).toEqual({
      rope_type: "linear",
      factor: 2,
    });
    expect(parse({ rope_parameters: { rope_type: "default", rope_theta: 1e6 } })).toMatchObject({
      rope_theta: 1e6,
      rope_scaling: null,
    });
    expect(parse({ rope_parameters: { rope_theta: 7, ...llama3 } })).toMatchObject({
      rope_theta: 7,
      rope_scaling: llama3,
    });
  });

  it("collects token ids", () => {
    expect(parse({ bos_token_id: 1, eos_token_id: [2, 3], pad_token_id: -1 })).toMatchObject({
      bos_token_id: 1,
      eos_token_ids: [2, 3],
      pad_token_id: null,
    });
  });
});

describe("a wrong config", () => {
  it.each<[object, RegExp]>([
    [{ model_type: "gpt_neox" }, /one of llama, mistral, qwen2, qwen3 .*found "gpt_neox"/],
    [{ model_type: undefined }, /found undefined/],
    [{ hidden_size: "64" }, /hidden_size: expected number, found "64"/],
    [{ hidden_size: undefined }, /hidden_size: expected/],
    [{ num_hidden_layers: 1e9 }, /num_hidden_layers.*<=10000, found 1000000000/],
    [{ num_hidden_layers: 0 }, /num_hidden_layers/],
    [{ num_attention_heads: 2.5 }, /num_attention_heads: expected int/],
    [{ num_key_value_heads: 3 }, /num_key_value_heads: expected a divisor of 4 heads, found 3/],
    [{ hidden_size: 66 }, /head_dim .*an even number, found 16.5/],
    [{ hidden_act: "gelu" }, /hidden_act/],
    [{ rms_norm_eps: -1 }, /rms_norm_eps/],
    [
      { rope_scaling: { rope_type: "longrope" } },
      /rope_scaling.rope_type: expected one of default, linear.*found "longrope"/,
    ],
    [{ rope_scaling: { rope_type: "linear" } }, /rope_scaling.factor: expected number, found nothing/],
    [{ rope_scaling: { rope_type: "linear", factor: -2 } }, /rope_scaling.factor/],
  ])("%j", async (more, message) => {
    expect((await fails(more)).message).toMatch(message);
  });
});
