export { type AttentionOptions, causalAttention } from "./attention.ts";
export {
  type DecoderConfig,
  modulePath,
  type Projection,
  projectionShape,
  projections,
  weightShapes,
} from "./config.ts";
export { type DecoderOptions, decoder, headName } from "./decoder.ts";
export { type HeadOptions, linearCrossEntropy, targetLogprobs } from "./head.ts";
export { type AdaptedWeight, adaptedLinear, type Lora, type LoraConfig, loraFrom, loraShapes } from "./lora.ts";
