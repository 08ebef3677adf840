export { collectCache } from "./cache-folders.ts";
export { type Family, families, sharedBeginning } from "./families.ts";
export type { DecodeStatistics } from "./generate.ts";
export { mostSpare, type Speaking, speakingBytes, weightBytes } from "./memory.ts";
export { type LocalAdapter, type LocalFactors, type LocalModel, type LocalOptions, openLocalModel } from "./model.ts";
export { arithmetics, type TrainingFormat, type WeightFormat } from "./quantize.ts";
export { encodeScore, type ScoreJob } from "./score.ts";
export type { TokenModel } from "./token-model.ts";
