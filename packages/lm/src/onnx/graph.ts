import {
  and,
  concat,
  type Dim,
  dimAdd,
  equal,
  flattenRows,
  gather,
  input,
  iota,
  reshape,
  rmsNorm,
  sizeOf,
  slice,
  softmax,
  type Tensor,
} from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import {
  attentionBias,
  attentionOutput,
  attentionWindow,
  feedForward,
  headName,
  type LayerContext,
  modulePath,
  plusBias,
  queryKeyValue,
  rotaryTables,
  sees,
} from "../decoder/index.ts";

export interface OnnxWeights {
  /** A checkpoint's vector by its Hugging Face name. */
  weight(name: string): Tensor;
  /** x [rows, in] times the transpose of a matrix [out, in]. */
  product(x: Tensor, name: string): Tensor;
  /** Rows of the embedding: tokens int32 [batch, time] → [batch, time, hidden]. */
  embedding(tokens: Tensor): Tensor;
}

const [batch, time, past] = ["batch_size", "sequence_length", "past_sequence_length"] as const;
const total = dimAdd(past, time);

/** Inputs that hold whole numbers: 64 bits wide in the files that transformers' exporters write. */
export const wideInputs = ["input_ids", "attention_mask", "position_ids"] as const;

/** Names of a layer's cached keys and values, on the way in and out, as transformers.js feeds and reads them. */
export function cacheNames(layer: number) {
  return (["key", "value"] as const).map((part) => ({
    part,
    past: `past_key_values.${layer}.${part}`,
    present: `present.${layer}.${part}`,
  }));
}

/**
 * The decoder as files for transformers.js and ONNX Runtime have it: new tokens behind cached keys and values give logits and what is
 * to be cached. Inputs input_ids, attention_mask, position_ids, past_key_values.N.key and .value; outputs logits
 * [batch, time, vocabulary], present.N.key and .value [batch, key heads, past + time, size].
 * Source of the names: the decoder models on the Hugging Face hub that carry an onnx folder.
 */
export function decoderWithPast(config: ModelConfig, weights: OnnxWeights): Record<string, Tensor> {
  const { num_key_value_heads: keyHeads, head_dim: size, max_position_embeddings: context } = config;
  const tokens = input("input_ids", "int32", [batch, time]);
  // Its second dimension is past + time, which a graph's input cannot say.
  const mask = slice(input("attention_mask", "int32", [batch, "total_sequence_length"]), 1, 0, total);
  const positions = input("position_ids", "int32", [batch, time]);
  const { cos, sin, scale } = rotaryTables(config, context);
  const layers: LayerContext = {
    config,
    weight: weights.weight,
    project: (x, layer, names) =>
      names.map((name) => {
        const y = weights.product(x, `${modulePath(layer, name)}.weight`);
        return plusBias(y, layer, name, { config, weight: weights.weight });
      }),
    cos: gather(cos, positions),
    sin: gather(sin, positions),
  };
  const bias = biasPerWindow(mask);
  const outputs: Record<string, Tensor> = {};
  let x = flattenRows(weights.embedding(tokens)); // [batch · time, hidden]
  for (let layer = 0; layer < config.num_hidden_layers; layer++) {
    const { q, k, v } = queryKeyValue(x, layer, batch, time, layers);
    const [keys, values] = cacheNames(layer).map((names, i) => {
      const cached = input(names.past, "float32", [batch, keyHeads, past, size]);
      const all = concat([cached, i === 0 ? k : v], 2); // [batch, key heads, past + time, size]
      outputs[names.present] = all;
      return all;
    }) as [Tensor, Tensor];
    const attended = attend(q, keys, values, bias(attentionWindow(config, layer)), scale);
    x = feedForward(attentionOutput(x, attended, layer, layers), layer, layers);
  }
  const hidden = rmsNorm(x, weights.weight("model.norm.weight"), config.rms_norm_eps);
  const logits = reshape(weights.product(hidden, headName(config)), [batch, time, config.vocab_size]);
  return { logits, ...outputs };
}

/** Biases of scores [batch, 1, 1, time, past + time], one for each window that layers have: padding is seen by nobody. */
function biasPerWindow(mask: Tensor): (window: number | null) => Tensor {
  const places = reshape(iota(time), [time, 1]).add(sizeOf(past));
  const real = reshape(equal(mask, 1), [batch, 1, 1, 1, total]);
  const made = new Map<number | null, Tensor>();
  return (window) => {
    // Padding stands before a text, so that places are as far apart as positions.
    const near = reshape(sees(places, reshape(iota(total), [1, total]), window), [1, 1, 1, time, total]);
    const bias = made.get(window) ?? attentionBias(and(near, real));
    made.set(window, bias);
    return bias;
  };
}

/** q [batch, heads, time, size] over keys and values [batch, key heads, past + time, size]. */
function attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, scale: number): Tensor {
  const [, heads, , size] = q.shape as [never, number, never, number];
  const keyHeads = keys.dim(1) as number;
  const group = heads / keyHeads;
  const stacked = reshape(q, [batch, keyHeads, -1, size]); // [batch, key heads, group · time, size]
  const perHead = (x: Tensor, width: Dim) => reshape(x, [batch, keyHeads, group, time, width]);
  const scores = perHead(stacked.matmul(keys, { transB: true, alpha: scale }), total);
  const p = reshape(softmax(scores.add(bias)), [batch, keyHeads, stacked.dim(2), total]);
  return reshape(p.matmul(values), q.shape);
}
