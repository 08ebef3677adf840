/** What describes a decoder of the Llama family. */
export interface DecoderConfig {
  readonly vocabSize: number;
  readonly hiddenSize: number;
  readonly intermediateSize: number;
  readonly layers: number;
  readonly heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. */
  readonly kvHeads: number;
  readonly headDim: number;
  readonly ropeTheta: number;
  readonly rmsNormEpsilon: number;
  /** The output head is the embedding table. */
  readonly tiedHead: boolean;
}

/** Modules of a layer that are matrices, by their Hugging Face names. */
export const projections = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"] as const;
export type Projection = (typeof projections)[number];

export function modulePath(layer: number, projection: Projection): string {
  const block =
    projection.endsWith("gate_proj") || projection === "up_proj" || projection === "down_proj" ? "mlp" : "self_attn";
  return `model.layers.${layer}.${block}.${projection}`;
}

/** [out, in] of a projection's weight. */
export function projectionShape(config: DecoderConfig, projection: Projection): [number, number] {
  const { hiddenSize, intermediateSize, heads, kvHeads, headDim } = config;
  const shapes: Record<Projection, [number, number]> = {
    q_proj: [heads * headDim, hiddenSize],
    k_proj: [kvHeads * headDim, hiddenSize],
    v_proj: [kvHeads * headDim, hiddenSize],
    o_proj: [hiddenSize, heads * headDim],
    gate_proj: [intermediateSize, hiddenSize],
    up_proj: [intermediateSize, hiddenSize],
    down_proj: [hiddenSize, intermediateSize],
  };
  return shapes[projection];
}

/** Shapes of all weights of a checkpoint, by their Hugging Face names. */
export function weightShapes(config: DecoderConfig): Record<string, readonly number[]> {
  const { vocabSize, hiddenSize, layers, tiedHead } = config;
  const shapes: Record<string, readonly number[]> = { "model.embed_tokens.weight": [vocabSize, hiddenSize] };
  for (let layer = 0; layer < layers; layer++) {
    shapes[`model.layers.${layer}.input_layernorm.weight`] = [hiddenSize];
    shapes[`model.layers.${layer}.post_attention_layernorm.weight`] = [hiddenSize];
    for (const projection of projections)
      shapes[`${modulePath(layer, projection)}.weight`] = projectionShape(config, projection);
  }
  shapes["model.norm.weight"] = [hiddenSize];
  if (!tiedHead) shapes["lm_head.weight"] = [vocabSize, hiddenSize];
  return shapes;
}
