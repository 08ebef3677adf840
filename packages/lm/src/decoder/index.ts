export { type AttentionOptions, attentionBias, causalAttention, sees } from "./attention.ts";
export { type DecoderOptions, decoder, decoderLayer, placeOf } from "./decoder.ts";
export { type HeadOptions, linearCrossEntropy, SCORE_WEIGHT, scalarHead, targetLogprobs } from "./head.ts";
export {
  attentionOutput,
  feedForward,
  type LayerContext,
  plusBias,
  type QueryKeyValue,
  queryKeyValue,
} from "./layer.ts";
export {
  type AdaptedWeight,
  adaptedLinear,
  adaptedProjection,
  type Lora,
  type LoraConfig,
  type LoraFactors,
  type LoraModule,
  loraFrom,
  loraModule,
  loraModules,
  loraShapes,
  projectionBeside,
} from "./lora.ts";
export {
  attentionWindow,
  hasHeadNorms,
  headName,
  modulePath,
  type Projection,
  projectionShape,
  projections,
  projectionsByInput,
  weightShapes,
} from "./modules.ts";
export { type RotaryTables, rotaryFrequencies, rotaryTables } from "./rotary.ts";
