export { type Checkpoint, CheckpointMismatchError, Checkpoints } from "./checkpoint.ts";
export { type EncodedReply, encodeReply, TemplateError } from "./encode.ts";
export { NoExamplesError } from "./errors.ts";
export type { BatchGraph, TokenOptions, TokenTerms, Tuning } from "./graph.ts";
export type { MetricEvent } from "./loop.ts";
export {
  completionSequence,
  type Item,
  type PackedBatch,
  PackingError,
  type PackOptions,
  pack,
  rowTimes,
  type Sequence,
} from "./packing.ts";
export type { PreferenceEvaluation } from "./pairs.ts";
export {
  type PreferenceOptions,
  type PreferenceReport,
  type PreferenceResult,
  type PreferenceSettings,
  preferenceLoss,
  preferenceSettingsSchema,
  trainPreference,
} from "./preference.ts";
export {
  openPreferenceModel,
  type PreferenceModel,
  PreferenceModelError,
  type PreferenceModelOptions,
  type ScoreRow,
} from "./preference-model.ts";
export { type LoraSettings, loraSettingsSchema, type TrainingSettings, trainingFields } from "./settings.ts";
export {
  type SftOptions,
  type SftReport,
  type SftResult,
  type SftSettings,
  sftLoss,
  sftSettingsSchema,
  trainSft,
} from "./sft.ts";
export {
  type BuildForward,
  type BuildLoss,
  type Forward,
  type Objective,
  type OptimizerOptions,
  openTrainer,
  type PlaceValues,
  type Sums,
  type Trainer,
  TrainerError,
  type TrainerOptions,
  type Update,
} from "./trainer.ts";
