export {
  type Ablation,
  AblationError,
  ablations,
  compareAblations,
  type PartEffect,
  type PartResult,
} from "./ablate.ts";
export {
  type Advice,
  type AdviceRule,
  advise,
  type Criteria,
  type Criterion,
  criteria,
  type Judged,
  type LabelName,
  type SwitchName,
  unanswered,
} from "./advise.ts";
export {
  type AdvisedChange,
  type AdvisedRecipe,
  adviseRecipe,
  type RecipeAdvice,
  type RecipeCriteria,
  switchSettings,
} from "./advise-recipe.ts";
export {
  type CheckpointNote,
  checkpointsReached,
  chosenCheckpoint,
  type OpenCheckpoints,
  openCheckpoints,
  type StoredCheckpoint,
  storedCheckpoints,
} from "./checkpoints.ts";
export { diffRuns, type RunDiff } from "./diff-runs.ts";
export { type EndpointReached, endpointsReached } from "./endpoints-reached.ts";
export {
  estimateRun,
  type RoleEstimate,
  type RunEstimate,
  resolvedRecipe,
  type StageEstimate,
} from "./estimate.ts";
export type { RunEvent, StageStatus } from "./events.ts";
export { type VerifiedEvidence, verifyEvidence } from "./evidence-pack.ts";
export { baseDifference, baseHere, type ExportBase } from "./export-base.ts";
export { type PartProof, proofLines } from "./export-proof.ts";
export { type ExportedRun, type ExportPart, type ExportRunOptions, exportParts, exportRun } from "./export-run.ts";
export { type UnsetKey, unsetKeys, unsetKeyText } from "./keys.ts";
export { dataWarnings } from "./look.ts";
export { type MemoryEstimate, type ShapeOf, shapesHere } from "./memory.ts";
export { type OpenRecipe, openRecipe, type RecipeChanges } from "./open.ts";
export type { AuditReport } from "./parts/audit.ts";
export { baselineAnswers } from "./parts/baselines.ts";
export { neutralTextsSchema, type Recipe, recipeSchema } from "./recipe.ts";
export { type RunOptions, runSpec, StageNameError, startRun, type TenetRun } from "./run.ts";
export { launchOptions, versionsApart } from "./run-engine.ts";
export { type OpenReward, openRunReward } from "./run-reward.ts";
export { type EngineSettings, engineSchema } from "./schema/engine.ts";
export { GateError, NothingLeftError } from "./stages/index.ts";
export { WaitError } from "./wait.ts";
export { warningsOf } from "./warnings.ts";
