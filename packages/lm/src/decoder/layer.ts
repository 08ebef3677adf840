import { type Dim, dimMul, reshape, rmsNorm, rotary, silu, type Tensor, transpose } from "@tenet/tensor";
import type { ModelConfig } from "../checkpoint/index.ts";
import { hasBias, hasHeadNorms, modulePath, type Projection } from "./modules.ts";
import { collect, type HeadPlaces, spread } from "./occupied.ts";

/** What the parts of a layer share; the training and the generation graph each make one. */
export interface LayerContext {
  readonly config: ModelConfig;
  /** A checkpoint's weight by its Hugging Face name. */
  weight(name: string): Tensor;
  /** x [rows, in] through some matrices of a layer, biases and adapters included: [rows, out] each. */
  project(x: Tensor, layer: number, names: readonly Projection[]): Tensor[];
  /** Of the positions at hand, unscaled: [batch or 1, time, head_dim / 2]. */
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** Where the residual stream has no rows of empty places. */
  readonly occupied?: HeadPlaces | undefined;
}

/** What a projection gives, with its bias where it has one. y [rows, out] */
export function plusBias(
  y: Tensor,
  layer: number,
  name: Projection,
  { config, weight }: Pick<LayerContext, "config" | "weight">,
): Tensor {
  return hasBias(config, name) ? y.add(weight(`${modulePath(layer, name)}.bias`)) : y;
}

export interface QueryKeyValue {
  /** [batch, heads, time, head_dim] */
  readonly q: Tensor;
  /** [batch, key and value heads, time, head_dim] */
  readonly k: Tensor;
  readonly v: Tensor;
}

/** What a layer attends with, q and k rotated to their positions. x [batch · time or tokens, hidden] is the residual stream. */
export function queryKeyValue(x: Tensor, layer: number, batch: Dim, time: Dim, context: LayerContext): QueryKeyValue {
  const { config, cos, sin, occupied } = context;
  const { num_attention_heads: heads, num_key_value_heads: keyHeads, head_dim: size } = config;
  const perHead = (value: Tensor, count: number, normName?: string) => {
    // Of one position a row the heads stand as they should.
    const split = reshape(
      value,
      occupied ? [value.dim(0), count, size] : time === 1 ? [batch, count, 1, size] : [batch, time, count, size],
    );
    const normed = normName && hasHeadNorms(config) ? norm(split, `self_attn.${normName}`, layer, context) : split;
    if (occupied) return spread(normed, occupied);
    return time === 1 ? normed : transpose(normed, [0, 2, 1, 3]);
  };
  const [q, k, v] = context.project(norm(x, "input_layernorm", layer, context), layer, ["q_proj", "k_proj", "v_proj"]);
  return {
    q: rotary(perHead(q!, heads, "q_norm"), cos, sin),
    k: rotary(perHead(k!, keyHeads, "k_norm"), cos, sin),
    v: perHead(v!, keyHeads),
  };
}

/** x + o_proj(attended): x [batch · time or tokens, hidden], attended [batch, heads, time, head_dim]. */
export function attentionOutput(x: Tensor, attended: Tensor, layer: number, context: LayerContext): Tensor {
  const [, heads, time, size] = attended.shape;
  const { occupied } = context;
  const whole = time === 1 ? attended : transpose(attended, [0, 2, 1, 3]);
  const ordered = occupied ? collect(attended, occupied) : whole;
  const joined = reshape(ordered, [x.dim(0), dimMul(heads!, size!)]);
  return x.add(context.project(joined, layer, ["o_proj"])[0]!);
}

/** x + down(silu(gate(n)) · up(n)), n = norm(x): the gated feed-forward network (SwiGLU, arXiv 2002.05202). x [rows, hidden]. */
export function feedForward(x: Tensor, layer: number, context: LayerContext): Tensor {
  const normed = norm(x, "post_attention_layernorm", layer, context);
  const [gate, up] = context.project(normed, layer, ["gate_proj", "up_proj"]);
  return x.add(context.project(silu(gate!).mul(up!), layer, ["down_proj"])[0]!);
}

function norm(x: Tensor, name: string, layer: number, { config, weight }: LayerContext): Tensor {
  return rmsNorm(x, weight(`model.layers.${layer}.${name}.weight`), config.rms_norm_eps);
}
