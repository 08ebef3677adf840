export { gae, groupAdvantages, leaveOneOut, tokenRewards, whiten } from "./advantages.ts";
export {
  type BestOfNOptions,
  type BestOfNResult,
  type BestOfNSettings,
  bestOfN,
  bestOfNSettingsSchema,
  trainBestOfN,
} from "./best-of-n.ts";
export { type Checkpoint, CheckpointMismatchError, Checkpoints } from "./checkpoint.ts";
export { type Measured, type Obstacle, obstacle, type Price, paid, prices } from "./choice.ts";
export { Constraint, type ConstraintSettings, type ConstraintState, constraintSettingsSchema } from "./constraint.ts";
export {
  type CostEvaluation,
  type CostModelOptions,
  type CostModelReport,
  type CostModelResult,
  type CostModelSettings,
  type CostTerms,
  costLoss,
  costModelSettingsSchema,
  orderOf,
  trainCostModel,
} from "./cost-model.ts";
export { DivergenceError } from "./divergence.ts";
export { type DpoOptions, type DpoSettings, dpoSettingsSchema, NoPairsError, trainDpo } from "./dpo.ts";
export { type EncodedReply, encodeReply, endOfReply, TemplateError } from "./encode.ts";
export { JudgeError, NoExamplesError } from "./errors.ts";
export { baseIdentity, contentsFingerprint, weightsFingerprint } from "./fingerprint.ts";
export type { BatchGraph, TokenOptions, TokenTerms, Tuning } from "./graph.ts";
export { type GrpoOptions, type GrpoSettings, grpoSettingsSchema, trainGrpo } from "./grpo.ts";
export {
  type JudgeOptions,
  type JudgeReport,
  type JudgeResult,
  type JudgeRow,
  type JudgeSettings,
  judgeSettingsSchema,
  trainJudge,
} from "./judge.ts";
export { adaptKl, type KlEstimator, type KlTarget, k3, klEstimate } from "./kl.ts";
export { type LocalTrainer, openLocalTrainer } from "./local-trainer.ts";
export type { MetricEvent, ShownRollout } from "./loop.ts";
export {
  type DpoTerms,
  dpoLoss,
  klLoss,
  type PolicyTerms,
  policyLoss,
  sftLoss,
  unlikelihoodLoss,
  type ValueTerms,
  valueLoss,
} from "./losses.ts";
export { type TrainingPlan, trainingBytes } from "./memory.ts";
export {
  type Alarm,
  cutOffShare,
  type IterationMetrics,
  type MonitorLimits,
  type MonitorRule,
  monitorLimits,
  monitorRules,
  taughtNothing,
} from "./monitor-rules.ts";
export { openForward, openTrainer, speakerOf } from "./open-trainer.ts";
export {
  completionSequence,
  type Item,
  type PackedBatch,
  PackingError,
  type PackOptions,
  pack,
  type Sequence,
} from "./packing.ts";
export type { PreferenceEvaluation } from "./pairs.ts";
export {
  type PolicyTrainingSettings,
  policySettingsSchema,
  type TrainPolicyOptions,
  trainPolicy,
} from "./policy.ts";
export {
  type OnlineOptions,
  type PolicyOptions,
  type PolicyReport,
  type PolicyResult,
  sharesPrompts,
} from "./policy-options.ts";
export { type PpoOptions, type PpoSettings, ppoSettingsSchema, trainPpo } from "./ppo.ts";
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
export { scoredBy, scoringForward } from "./remote-scores.ts";
export { type EngineModelOptions, engineModel } from "./remote-trainer.ts";
export { type ResumingOptions, resumed, resuming } from "./resuming.ts";
export * from "./reward/index.ts";
export { type RlooOptions, type RlooSettings, rlooSettingsSchema, trainRloo } from "./rloo.ts";
export { type RolloutOptions, rollout, type Sample } from "./rollout.ts";
export { keptAsNow, type SelectionOptions, type SelectionReport } from "./selection.ts";
export { equalityBounds, openSelfTest, type SelfTest, type TrainingCompared } from "./self-test/index.ts";
export {
  type LoraSettings,
  loraSettingsSchema,
  type TrainingSettings,
  trainingFields,
  trainingPlan,
} from "./settings.ts";
export {
  type SftOptions,
  type SftReport,
  type SftResult,
  type SftSettings,
  sftSettingsSchema,
  trainSft,
} from "./sft.ts";
export { type LossTerm, type Step, takeStep } from "./terms.ts";
export {
  type BuildForward,
  type BuildLoss,
  type Forward,
  type Objective,
  type OptimizerOptions,
  type PlaceValues,
  type RemoteModel,
  type Sums,
  type TrainableModel,
  type Trainer,
  TrainerError,
  type TrainerOptions,
  type TrainerState,
  type Update,
} from "./trainer.ts";
